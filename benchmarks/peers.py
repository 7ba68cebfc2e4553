"""The same weights and the same video through rigpose, DeepLabCut 3 and DeepLabCut-Live, taking turns in one run.

    RIGPOSE_DEEPLABCUT_PYTHON=PYTHON python benchmarks/peers.py BUNDLE PROJECT --shuffle 1 --video VIDEO --live

BUNDLE is what ``rigpose export`` made of the shuffle; ``PYTHON`` has DeepLabCut 3, which analyses with the snapshot
that the bundle was made of. PROJECT is written to by DeepLabCut where ``--live`` exports it for DeepLabCut-Live: take a
copy. Two scopes, which are compared within themselves alone, both after all loading, per frame:

- video: all frames, in batches, decoded from the file: ``rigpose analyze`` against ``analyze_videos``;
- live: one frame at a time, decoded from the file: ``predict`` against DeepLabCut-Live's ``get_pose``.

Rates by the clock are of a moment; ratios are made turn by turn, and processor time is beside them. Of rigpose it is
the whole call, from opening the video to the last result file; of DeepLabCut its inference alone, without building
networks and writing files, so that what is left out is to its advantage. Beside every ratio stands how far rigpose's
poses lie from DeepLabCut's, over keypoints that DeepLabCut is sure of. DeepLabCut-Live is installed by pip below
``--cache`` when it is asked for the first time (about 6 GB with its torch; ``--torch-from PYTHON`` takes another
environment's). sleap-nn cannot run these weights; see ``sleap_peer.py``. Appends to ``benchmarks/results/peers.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from clips import first_frames
from deeplabcut_peer import PYTHON, version_of
from deeplabcut_videos import read_animals
from live_environment import VERSION, live_python
from record import lines, measured_here, processor, record
from sentences import in_sentences
from turns import beside, ratio, rounded, table, take_turns
from ways import open_way

from rigpose.bundles.bundle import Bundle
from rigpose.files.results import read_results
from rigpose.load import BundleAnalyzer
from rigpose.measures.drift import drift
from rigpose.poses import Poses
from rigpose.videos.analysis import AnalysisOptions, analyze_video
from rigpose.videos.video import Video

NAME = "peers"
WAYS = ("onnxruntime fp32", "openvino fp32", "openvino bf16", "openvino int8")
THEIRS = {"video": "deeplabcut", "live": "deeplabcut-live"}
HEADER = (
    "bundle", "scope", "threads", "rigpose", "times as fast", "from", "to", "less processor time", "p99 [px]",
    "compared", "lost", "frames/s", "theirs", "processor",
)  # fmt: skip


def main() -> None:
    """Measure what is asked for, or print the table."""
    options = _arguments()
    if options.markdown:
        print(table(HEADER, [row for line in newest() for row in rows(line)]))
        return
    if not os.environ.get(PYTHON):
        raise SystemExit(f"set {PYTHON} to a Python that has DeepLabCut 3")
    bundle = Bundle.open(options.bundle)
    case = {
        "bundle": bundle.path.name, "checksum": bundle.checksum, "video": options.video.name,
        "frames": options.frames, "batch": options.batch, "threads": options.threads, "ways": options.ways,
        "live": options.live,
    }  # fmt: skip
    if not options.again and measured_here(NAME, case):
        print("measured already (--again repeats it)")
    else:
        line = {**case, **measure(bundle, options)}
        record(NAME, line)
    print(table(HEADER, [row for line in newest() for row in rows(line)]))


def measure(bundle: Bundle, options: argparse.Namespace) -> dict[str, Any]:
    """All turns of both scopes, and how far the poses lie apart."""
    with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
        folder = Path(text)
        clip = first_frames(options.video, options.frames, folder)
        loaded = {way: open_way(bundle, way, options.threads) for way in options.ways}
        request = deeplabcut_request(bundle, options, clip, folder)
        theirs = stack.enter_context(beside(os.environ[PYTHON], "deeplabcut_speed_peer.py", str(request)))
        video: dict[str, Callable[[], dict[str, Any]]] = {"deeplabcut": lambda: answer(theirs)}
        live: dict[str, Callable[[], dict[str, Any]]] = {}
        for way, analyzer in loaded.items():
            video[way] = lambda analyzer=analyzer, way=way: analysed(analyzer, clip, folder / way, options.batch)
            live[way] = lambda analyzer=analyzer: frame_by_frame(analyzer, clip)
        scopes = {"video": take_turns(video, options.repeats)}
        found: dict[str, Any] = {
            "poses": {way: apart(folder / "deeplabcut", folder / way, loaded[way]) for way in options.ways}
        }
        if options.live:
            python = live_python(options.cache, torch_from=options.torch_from)
            request = live_request(options, clip, folder)
            peer = stack.enter_context(beside(str(python), "deeplabcut_live_peer.py", str(request)))
            scopes["live"] = take_turns({"deeplabcut-live": lambda: answer(peer), **live}, options.repeats)
            found["deeplabcut_live"] = VERSION
    return {
        **found,
        "architecture": bundle.manifest.model.architecture,
        "deeplabcut": version_of("deeplabcut"),
        "scopes": {scope: summed_up(turns, THEIRS[scope]) for scope, turns in scopes.items()},
    }


def deeplabcut_request(bundle: Bundle, options: argparse.Namespace, clip: Path, folder: Path) -> Path:
    """What DeepLabCut shall do."""
    made_of = bundle.manifest.provenance
    (folder / "deeplabcut").mkdir()
    request = {
        "config": str(options.project / "config.yaml"), "shuffle": options.shuffle, "video": str(clip),
        "snapshots": [made_of.snapshot, made_of.detector], "destination": str(folder / "deeplabcut"),
        "batch": options.batch, "threads": options.threads, "export": options.live,
    }  # fmt: skip
    path = folder / "deeplabcut.json"
    path.write_text(json.dumps(request))
    return path


def live_request(options: argparse.Namespace, clip: Path, folder: Path) -> Path:
    """What DeepLabCut-Live shall do: run what DeepLabCut exported last."""
    exported = options.project.glob(f"exported-models-pytorch/*shuffle-{options.shuffle}/*.pt")
    model = max(exported, key=lambda path: path.stat().st_mtime)
    request = {"model": str(model), "video": str(clip), "threads": options.threads, "poses": str(folder / "live.npy")}
    path = folder / "live.json"
    path.write_text(json.dumps(request))
    return path


def answer(peer: Any) -> dict[str, Any]:
    """One turn of another process."""
    rate = peer.turn()
    return {"rate": rate, **json.loads(peer.hear("facts"))}


def analysed(analyzer: BundleAnalyzer, clip: Path, folder: Path, batch: int) -> dict[str, Any]:
    """One turn of ours in batches: the whole call, with its files."""
    options = AnalysisOptions(batch=batch, overwrite=True, destination=folder, save_csv=False)
    wall, cpu = time.perf_counter(), time.process_time()
    found = analyze_video(analyzer, clip, identity=analyzer.identity(), options=options)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"rate": found.frames / wall, "cpu_ms": 1000 * cpu / found.frames, "whole_call_seconds": wall}


def frame_by_frame(analyzer: BundleAnalyzer, clip: Path) -> dict[str, Any]:
    """One turn of ours frame by frame."""
    each: list[float] = []
    wall, cpu = time.perf_counter(), time.process_time()
    with Video(clip) as video:
        for frame in video.frames():
            begun = time.perf_counter()
            analyzer.predict(frame.image)
            each.append(1000 * (time.perf_counter() - begun))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    p50, p99 = np.percentile(each, [50, 99])
    return {"rate": len(each) / wall, "cpu_ms": 1000 * cpu / len(each), "p50_ms": float(p50), "p99_ms": float(p99)}


def apart(theirs: Path, ours: Path, analyzer: BundleAnalyzer) -> dict[str, Any]:
    """How far our poses lie from DeepLabCut's."""
    return asdict(drift(*(poses_of(folder, analyzer) for folder in (theirs, ours))))


def poses_of(folder: Path, analyzer: BundleAnalyzer) -> list[Poses]:
    """Of every frame, from result files of either side."""
    if len(analyzer.spec.individuals) < 2 and not analyzer.spec.unique_keypoints:
        (path,) = folder.glob("*.h5")
        found = read_results(path)
        return [Poses(xy, score) for xy, score in zip(found.xy, found.score, strict=True)]
    frames = read_animals(folder)
    none = Poses.empty(len(analyzer.spec.keypoints))
    count = max(frames, default=-1) + 1
    return [Poses.from_array(frames[i]) if len(frames.get(i, ())) else none for i in range(count)]


def summed_up(turns: dict[str, list[dict[str, Any]]], theirs: str) -> dict[str, Any]:
    """Per contestant its turns and, of ours, the ratios to theirs."""
    made: dict[str, Any] = {}
    for name, each in turns.items():
        made[name] = {key: rounded([turn[key] for turn in each]) for key in each[0]}
    for name in turns.keys() - {theirs}:
        made[name]["times_as_fast"] = ratio(made[name]["rate"], made[theirs]["rate"])
        made[name]["less_processor_time"] = ratio(made[theirs]["cpu_ms"], made[name]["cpu_ms"])
    return made


def newest() -> list[dict[str, Any]]:
    """The newest line of each bundle, batch, number of threads and processor."""
    keys = ("bundle", "batch", "threads")
    return [*{(*(line[key] for key in keys), processor(line)): line for line in lines(NAME)}.values()]


def rows(line: dict[str, Any]) -> list[list[Any]]:
    """A row for each scope and way of a line."""
    made = []
    for scope, sides in line["scopes"].items():
        theirs = _median(sides[THEIRS[scope]]["rate"])
        for way in line["ways"]:
            fast, moved = sides[way]["times_as_fast"], line["poses"][way]
            made.append([
                line["bundle"], scope, line["threads"], way, fast["median"], fast["min"], fast["max"],
                sides[way]["less_processor_time"]["median"], moved["p99_px"], moved["compared"], moved["lost"],
                _median(sides[way]["rate"]), theirs, processor(line),
            ])  # fmt: skip
    return made


def _median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("project", type=Path, nargs="?", help="DeepLabCut's folder of the project")
    parser.add_argument("--shuffle", type=int, default=1)
    parser.add_argument("--video", type=Path)
    parser.add_argument(
        "--only", dest="ways", nargs="+", default=list(WAYS), metavar="WAY",
        help='as "openvino int8", or of a pair "openvino int8 every 5" (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument("--frames", type=int, default=64, help="of the video's beginning (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="of both sides, in the scope video (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of both sides (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="turns that count (default: %(default)s)")
    parser.add_argument("--live", action="store_true", help="also DeepLabCut-Live")
    parser.add_argument("--torch-from", type=Path, metavar="PYTHON", help="whose torch DeepLabCut-Live uses")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "rigpose-benchmarks")
    parser.add_argument("--again", action="store_true", help="also what was measured at this commit")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines so far")
    options = parser.parse_args()
    if not options.markdown and not (options.bundle and options.project and options.video):
        parser.error("give BUNDLE, PROJECT and --video, or --markdown")
    return options


if __name__ == "__main__":
    in_sentences(main)
