"""What a frame takes on its way through a cluster, and what the cluster adds: ``cluster.py BUNDLE [--video VIDEO...]``.

    python benchmarks/cluster.py BUNDLE                                  # stages, for the scaling model
    python benchmarks/cluster.py BUNDLE --video a.mp4 b.mp4 --only overhead

- stages: everything that a frame goes through, each alone; see ``cluster_stages.py``.
- overhead: the same videos by ``rigpose analyze`` alone and on a cluster that is this machine, on the same cores,
  taking turns: time and processor time of all processes from the first frame to the last table, and apart from them
  what comes before: loading the model, and Ray's start.

Without ``--video`` stages are measured on two drawn ones: 640x480 in MPEG-4, as an example of videos that are small on
the disk, and 1280x1024 in Motion JPEG, as cameras write them that compress each frame alone.

Pin it to the cores that it shall have (``taskset -c 0``). Appends to ``benchmarks/results/cluster.jsonl``;
``cluster_page.py`` makes the scaling model of its newest stages. Compare turns of one line with each other and nothing
else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
from clips import drawn_video
from cluster_stages import stages
from record import lines, record
from sentences import in_sentences
from turns import in_own_process, ratio, table, take_turns, tell

from rigpose.cluster.analysis import ClusterModel, analyze_on_cluster
from rigpose.load import load
from rigpose.progress import Advance
from rigpose.sessions.devices import usable_cores
from rigpose.videos.analysis import AnalysisOptions, analyze_videos
from rigpose.videos.video import Video

NAME = "cluster"


def main() -> None:
    """Measure what is asked for, or print the tables."""
    options = _arguments()
    if options.one:
        tell(one_run(json.loads(options.one)))
        return
    if not options.markdown:
        if not options.video:
            options.video = drawn(options.cache)
        if "stages" in options.only:
            for video in options.video:
                record(NAME, stages(options.bundle, video, options))
        if "overhead" in options.only:
            record(NAME, overhead(options))
    found = lines(NAME)
    print(stages_table([line for line in found if "stages" in line]))
    print(overhead_table([line for line in found if "overhead" in line]))


def drawn(cache: Path) -> list[Path]:
    """Two videos of three animals, made if the cache lacks them."""
    large = drawn_video(cache, height=1024, width=1280, frames=300)
    single = large.with_suffix(".avi")
    if not single.exists():
        part = single.with_name(f".{single.name}")
        with Video(large) as source:
            rate, size = source.frames_per_second, (source.width, source.height)
            writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"MJPG"), rate, size)
            for frame in source.frames():
                writer.write(frame.image)
        writer.release()
        part.rename(single)
    return [drawn_video(cache, height=480, width=640, frames=600), single]


def overhead(options: argparse.Namespace) -> dict[str, Any]:
    """A plain analysis and one on a local cluster, in turn."""
    case = {
        "bundle": str(options.bundle.resolve()), "videos": [str(video.resolve()) for video in options.video],
        "batch": options.batch, "backend": options.backend, "precision": options.precision,
    }  # fmt: skip
    ways = ("plain", "cluster")
    turns = take_turns({way: _turn({**case, "way": way}) for way in ways}, options.repeats)
    sides = {way: {key: [turn[key] for turn in each] for key in each[0]} for way, each in turns.items()}
    plain, cluster = (sides[way] for way in ways)
    return {
        "overhead": {way: {key: values for key, values in sides[way].items() if key != "digest"} for way in ways},
        "time_ratio": ratio(cluster["seconds"], plain["seconds"]),
        "processor_ratio": ratio(cluster["cpu_seconds"], plain["cpu_seconds"]),
        "same_tables": len({json.dumps(digest) for side in sides.values() for digest in side["digest"]}) == 1,
        "bundle": options.bundle.name, "videos": [video.name for video in options.video], "batch": options.batch,
        "backend": options.backend, "precision": options.precision, "cores": usable_cores(), "ray": version("ray"),
    }  # fmt: skip


def _turn(case: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    def turn() -> dict[str, Any]:
        facts = in_own_process(__file__, case)
        if "reason" in facts:
            raise SystemExit(f"{case['way']}: {facts['reason']}")
        print(f"{case['way']}: {facts['seconds']:.2f} s, started in {facts['start_seconds']:.2f} s")
        return facts

    return turn


def one_run(case: dict[str, Any]) -> dict[str, Any]:
    """An analysis in this process: its start, and the time from the first frame to the last table."""
    videos, marks = [Path(video) for video in case["videos"]], list[tuple[float, float]]()
    frames = 0

    def each(outcome: Any) -> None:
        nonlocal frames
        frames += outcome.frames
        marks.append((time.perf_counter(), processor_seconds()))

    with tempfile.TemporaryDirectory() as folder:
        asked = AnalysisOptions(batch=case["batch"], destination=Path(folder))
        begun = time.perf_counter()
        if case["way"] == "plain":
            analyzer = load(case["bundle"], device="cpu", backend=case["backend"], precision=case["precision"])
            marks.append((time.perf_counter(), processor_seconds()))
            analyze_videos(analyzer, videos, identity=analyzer.identity(), options=asked, each=each)
        else:

            def nothing(count: int, note: str = "") -> None:
                del count, note

            @contextmanager
            def watching(_description: str, _total: int | None, unit: str) -> Iterator[Advance]:
                if unit == "frames":
                    marks.append((time.perf_counter(), processor_seconds()))
                yield nothing

            model = ClusterModel(
                Path(case["bundle"]), device="cpu", backend=case["backend"], precision=case["precision"]
            )
            analyze_on_cluster("local", model, videos, options=asked, each=each, warn=print, show=watching)
        ended = time.perf_counter()
        made = {
            path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.suffix in {".h5", ".csv"}
        }
    (first, cpu_first), (last, cpu_last) = marks[0], marks[-1]
    return {
        "start_seconds": round(first - begun, 3),
        "seconds": round(last - first, 3),
        "end_seconds": round(ended - last, 3),
        "cpu_seconds": round(cpu_last - cpu_first, 3),
        "frames": frames,
        "digest": {name: hashlib.sha256(data).hexdigest() for name, data in made.items()},
    }


def processor_seconds() -> float:
    """Of this process and all below it that are there, and those that they have waited for."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    tick = os.sysconf("SC_CLK_TCK")
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        number = int(path.parent.name)
        parents[number], seconds[number] = int(fields[1]), sum(map(int, fields[11:15])) / tick

    def below(number: int) -> bool:
        while number in parents:
            if number == os.getpid():
                return True
            number = parents[number]
        return False

    return sum(spent for number, spent in seconds.items() if below(number))


def stages_table(found: list[dict[str, Any]]) -> str:
    """One row per line."""
    names = ("decode", "network", "group", "tables", "seek", "gap")
    header = (
        "bundle",
        "video",
        *(f"{name} [ms]" for name in names),
        "merge [us]",
        "result [B]",
        "read [B]",
        "written [B]",
    )
    rows = []
    for line in found:
        middle = {name: statistics.median(values) for name, values in line["stages"].items()}
        moved = (round(middle[name]) for name in ("result", "read", "written"))
        rows.append([line["bundle"], line["video"], *(1e3 * middle[n] for n in names), 1e6 * middle["merge"], *moved])
    return table(header, rows)


def overhead_table(found: list[dict[str, Any]]) -> str:
    """One row per line; the cluster over the plain run."""
    header = (
        "bundle",
        "videos",
        "frames",
        "time",
        "from",
        "to",
        "processor time",
        "start [s]",
        "plain start [s]",
        "same",
    )
    rows = []
    for line in found:
        sides, times = line["overhead"], line["time_ratio"]
        starts = (statistics.median(sides[way]["start_seconds"]) for way in ("cluster", "plain"))
        rows.append(
            [
                line["bundle"], len(line["videos"]), sides["plain"]["frames"][0], times["median"], times["min"],
                times["max"], line["processor_ratio"]["median"], *starts, line["same_tables"],
            ]
        )  # fmt: skip
    return table(header, rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--video", type=Path, nargs="+", default=[])
    parser.add_argument("--only", nargs="+", choices=("stages", "overhead"), default=["stages"])
    parser.add_argument("--frames", type=int, default=64, help="through the network (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="frames at a time (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="turns (default: %(default)s)")
    parser.add_argument("--backend", default="onnxruntime", help="default: %(default)s")
    parser.add_argument("--precision", default="fp32", help="default: %(default)s")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "rigpose-benchmarks", help="for videos")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the lines so far")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.markdown and not options.one and not options.bundle:
        parser.error("give a BUNDLE, or --markdown")
    return options


if __name__ == "__main__":
    in_sentences(main)
