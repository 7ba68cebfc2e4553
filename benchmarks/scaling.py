"""What a bundle costs against frame size, batch, threads, animals and the video's length: ``scaling.py BUNDLE``.

    PYTHONPATH=tests python benchmarks/scaling.py BUNDLE --only size batch threads

Five sweeps; in each, one thing changes and all else stays as it is by default:

- size: frames of several heights, 4:3, drawn and encoded;
- batch: frames at a time;
- threads: of each session;
- animals: in a drawn video, for models of several animals (``--max-animals`` is as many);
- length: frames of one video, up to 60,000 with ``--length 6000 60000``: the rate, and the memory in use after a tenth
  of them and at the last one, from a process of its own.

Every point is the whole analysis of a video, from opening it to the last result file. The points of a sweep take turns,
so that a busy machine slows all alike: compare within a sweep, never between two. What a network was trained for does
not matter here; what it finds does, and stands beside the figures. Appends a line per point to
``benchmarks/results/scaling.jsonl``; a later run leaves out finished sweeps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clips import drawn_video, first_frames
from record import lines, measured_here, record
from sentences import in_sentences
from turns import in_own_process, rounded, table, take_turns, tell

from rigpose.analyzers.run_options import RunOptions
from rigpose.bench.memory import peak_bytes, resident_bytes
from rigpose.bench.source import VideoSource
from rigpose.bundles.bundle import Bundle
from rigpose.load import load
from rigpose.progress import Advance
from rigpose.sessions.devices import usable_cores
from rigpose.videos.analysis import AnalysisOptions, analyze_video

NAME = "scaling"
SWEEPS = {
    "size": [240, 360, 480, 720],
    "batch": [1, 2, 4, 8, 16],
    "threads": sorted({1, max(1, usable_cores() // 2), usable_cores()}),
    "animals": [1, 2, 3, 5, 10],
    "length": [600, 6000],
}
HEADER = ("bundle", "sweep", "value", "frames/s", "ms per frame", "processor ms per frame", "found", "MB", "MB grown")


def main() -> None:
    """Measure what is asked for, or print the table."""
    options = _arguments()
    if options.one:
        tell(long_run(json.loads(options.one)))
        return
    if not options.markdown:
        for sweep in options.only:
            run_sweep(sweep, options)
    newest = {(line["bundle"], line["sweep"], line["value"], line["precision"]): line for line in lines(NAME)}
    print(table(HEADER, [row(line) for line in newest.values()]))


def run_sweep(sweep: str, options: argparse.Namespace) -> None:
    """Measure a sweep unless it is there."""
    bundle = Bundle.open(options.bundle)
    if sweep == "animals" and len(bundle.manifest.model.individuals) < 2:
        print(f"animals: {bundle.path.name} finds one animal; left out")
        return
    values = getattr(options, sweep)
    case = {
        "bundle": bundle.path.name, "checksum": bundle.checksum, "sweep": sweep, "backend": options.backend,
        "precision": options.precision, "height": options.height, "frames": options.frames,
    }  # fmt: skip
    if not options.again and all(measured_here(NAME, {**case, "value": value}) for value in values):
        print(f"{sweep}: measured already (--again repeats it)")
        return
    if sweep == "length":
        for value in values:
            told = {**case, "value": value, "path": str(bundle.path), "cache": str(options.cache)}
            record(NAME, {**case, "value": value, **in_own_process(__file__, told)})
        return
    points = {value: point(bundle, sweep, value, options) for value in values}
    turns = take_turns({str(value): turn for value, turn in points.items()}, options.repeats)
    for value in values:
        each = turns[str(value)]
        found = {key: rounded([turn[key] for turn in each]) for key in each[0]}
        record(NAME, {**case, "value": value, **found, "cores": usable_cores()})


def point(bundle: Bundle, sweep: str, value: int, options: argparse.Namespace) -> Callable[[], dict[str, float]]:
    """One value of a sweep as something that can take its turn."""
    chosen = {"size": options.height, "batch": 8, "threads": None, "animals": 3, sweep: value}
    height = chosen["size"]
    video = drawn_video(
        options.cache, height=height, width=height * 4 // 3 // 2 * 2, frames=options.frames, animals=chosen["animals"]
    )
    analyzer = load(
        bundle,
        device=options.device,
        threads=chosen["threads"],
        backend=options.backend,
        precision=options.precision,
        options=RunOptions(max_animals=value if sweep == "animals" else None),
    )

    def turn() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            asked = AnalysisOptions(batch=chosen["batch"], destination=Path(folder), save_csv=False, tracking=None)
            wall, cpu = time.perf_counter(), time.process_time()
            found = analyze_video(analyzer, video, identity=analyzer.identity(), options=asked)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {"frames_per_second": found.frames / wall, "cpu_ms": 1000 * cpu / found.frames}

    if sweep == "animals":
        return lambda: {**turn(), "animals_found": animals_found(analyzer, video)}
    return turn


def animals_found(analyzer: Any, video: Path) -> float:
    """Animals per frame in the first frames of a video."""
    frames = []
    for frame in VideoSource.of(video).frames():
        frames.append(frame.image)
        if len(frames) == 8:
            break
    return statistics.mean(len(poses) for poses in analyzer.predict(frames))


def long_run(case: dict[str, Any]) -> dict[str, Any]:
    """Rate and memory of one long video, in this process."""
    frames, height = case["value"], case["height"]
    cache = Path(case["cache"])
    seed = drawn_video(cache, height=height, width=height * 4 // 3 // 2 * 2, frames=case["frames"])
    video = first_frames(seed, frames, cache)
    analyzer = load(case["path"], device="cpu", backend=case["backend"], precision=case["precision"])
    resident: list[int] = []

    @contextmanager
    def watching(_description: str, _total: int | None, _unit: str) -> Iterator[Advance]:
        def advance(count: int, note: str = "") -> None:
            del note
            resident.extend([resident_bytes() or 0] * count)

        yield advance

    with tempfile.TemporaryDirectory() as folder:
        asked = AnalysisOptions(destination=Path(folder), save_csv=False, tracking=None)
        cpu = time.process_time()
        found = analyze_video(analyzer, video, identity=analyzer.identity(), options=asked, show=watching)
        cpu = time.process_time() - cpu
    return {
        "frames_per_second": [round(found.frames_per_second, 2)],
        "cpu_ms": [round(1000 * cpu / found.frames, 3)],
        "frames_done": found.frames,
        "resident_bytes": [resident[found.frames // 10], resident[found.frames - 1]],
        "peak_bytes": peak_bytes(),
    }


def row(line: dict[str, Any]) -> list[Any]:
    """Of the table."""
    if "reason" in line:
        return [line["bundle"], line["sweep"], line["value"], line["reason"], *[None] * 5]
    rate = statistics.median(line["frames_per_second"])
    memory: list[int] = line.get("resident_bytes", [])
    return [
        line["bundle"], line["sweep"], line["value"], rate, 1000 / rate, statistics.median(line["cpu_ms"]),
        statistics.median(line["animals_found"]) if "animals_found" in line else None,
        round(memory[1] / 1e6) if memory else None, round((memory[1] - memory[0]) / 1e6, 1) if memory else None,
    ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--only", nargs="+", choices=[*SWEEPS], default=["size", "batch", "threads", "animals"])
    for sweep, values in SWEEPS.items():
        parser.add_argument(f"--{sweep}", nargs="+", type=int, default=values, help="values (default: %(default)s)")
    parser.add_argument(
        "--height", type=int, default=240, help="of frames, where it does not change (default: %(default)s)"
    )
    parser.add_argument("--frames", type=int, default=64, help="of each video (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each point (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument("--backend", default="onnxruntime", help="default: %(default)s")
    parser.add_argument("--precision", default="fp32", help="default: %(default)s")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "rigpose-benchmarks", help="for videos")
    parser.add_argument("--again", action="store_true", help="also what was measured at this commit")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines so far")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.bundle and not options.markdown and not options.one:
        parser.error("give a BUNDLE, or --markdown")
    return options


if __name__ == "__main__":
    in_sentences(main)
