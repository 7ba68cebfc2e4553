"""Every architecture through rigpose and through DeepLabCut 3, with the same random weights, taking turns in one run.

    RIGPOSE_DEEPLABCUT_PYTHON=PYTHON PYTHONPATH=tests python benchmarks/zoo_peers.py --only "hrnet_w32 single"

``peers.py`` compares trained models and says how far the poses lie apart; this one says for each architecture whether
it is ever slower than DeepLabCut, and by how much it is faster. Both sides decode the same drawn video and get to
poses, in batches of the same size, with the same number of threads. Of rigpose it is the whole call with its result
files, but without loading; of DeepLabCut its ``video_inference`` alone, which writes nothing. Random weights find what
they find: ``animals`` beside the rates says whether both sides grouped as many. Nothing here is about accuracy. Of a
conditional network, both sides first run the same bottom-up one.

Bundles and snapshots are made once and kept in ``--cache``, 1 to 3 minutes each. Appends a line per architecture to
``benchmarks/results/zoo_peers.jsonl``; a later run goes on behind those that this machine has measured at this commit.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from clips import drawn_video, first_frames
from deeplabcut_peer import PYTHON, version_of
from deeplabcut_videos import read_animals
from peers import WAYS, analysed, answer, summed_up
from record import lines, machine, measured_here, record
from sentences import in_sentences
from turns import beside, table, take_turns
from ways import each_way

from rigpose.bundles.bundle import TRAINING_CONFIG, Bundle

NAME = "zoo_peers"
HEADER = (
    "architecture", "rigpose", "times as fast", "from", "to", "less processor time", "frames/s", "theirs", "animals",
    "theirs", "machine",
)  # fmt: skip


def main() -> None:
    """Measure what is asked for, and print the table."""
    options = _arguments()
    if not options.markdown:
        if not os.environ.get(PYTHON):
            raise SystemExit(f"set {PYTHON} to a Python that has DeepLabCut 3")
        run_all(options)
    print(table(HEADER, newest()))


def run_all(options: argparse.Namespace) -> None:
    """All architectures that are not there yet."""
    from random_bundles import asked_for

    height, width = options.size
    for entry in asked_for(options.only):
        case = {
            "architecture": entry.name, "ways": options.ways, "height": height, "width": width,
            "frames": options.frames, "batch": options.batch, "threads": options.threads,
            "detector": options.detector if entry.task == "top-down" else None,
        }  # fmt: skip
        if not options.again and measured_here(NAME, case):
            print(f"{entry.name}: measured already (--again repeats it)")
            continue
        line = {**case, "weights": "random", "frames_from": "drawn", **measure(entry, options)}
        record(NAME, line)
        told = rows({**line, "machine": machine()})
        print("\n".join(" | ".join(map(str, row)) for row in told), flush=True)


def measure(architecture: Any, options: argparse.Namespace) -> dict[str, Any]:
    """All turns of both sides."""
    from random_bundles import random_bundle, random_snapshots, told_by

    height, width = options.size
    bundle = Bundle.open(random_bundle(architecture, options.cache, detector=options.detector))
    snapshots = random_snapshots(architecture, options.cache, detector=options.detector)
    before = told_by(architecture)
    conditions = None if before is None else random_bundle(before, options.cache, detector=options.detector)
    video = drawn_video(options.cache, height=height, width=width, frames=160)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        clip = first_frames(video, options.frames, folder)
        request = {
            "config": str(bundle.path / TRAINING_CONFIG), "video": str(clip), "batch": options.batch,
            "snapshots": [None if path is None else str(path) for path in snapshots], "threads": options.threads,
        }  # fmt: skip
        if before is not None and conditions is not None:
            snapshot, _ = random_snapshots(before, options.cache, detector=options.detector)
            request["conditions"] = {"config": str(conditions / TRAINING_CONFIG), "snapshot": str(snapshot)}
        (folder / "request.json").write_text(json.dumps(request))
        loaded, refused = each_way(bundle, options.ways, options.threads, conditions=conditions)
        with beside(os.environ[PYTHON], "deeplabcut_zoo_peer.py", str(folder / "request.json")) as peer:
            sides: dict[str, Callable[[], dict[str, Any]]] = {"deeplabcut": lambda: answer(peer)}
            for way, analyzer in loaded.items():
                sides[way] = partial(analysed, analyzer, clip, folder / way, options.batch)
            turns = take_turns(sides, options.repeats)
        return {
            "deeplabcut": version_of("deeplabcut"),
            "refused": refused,
            "animals": {way: animals(folder / way, options.frames) for way in loaded},
            "sides": summed_up(turns, "deeplabcut"),
        }


def animals(folder: Path, frames: int) -> float:
    """How many animals with a keypoint our result files have in a frame, on average, before they are tracked."""
    found = read_animals(folder).values()
    return float(sum(np.isfinite(poses[..., 0]).any(axis=-1).sum() for poses in found)) / frames


def newest() -> list[list[Any]]:
    """The newest row of each architecture, way, setting and machine."""
    keys = ("architecture", "height", "width", "frames", "batch", "threads", "machine")
    found = {}
    for line in lines(NAME):
        setting = tuple(line[key] for key in keys)
        found |= {(setting, row[1]): row for row in rows(line)}
    return [*found.values()]


def rows(line: dict[str, Any]) -> list[list[Any]]:
    """A row for each way of a line."""
    theirs = line["sides"]["deeplabcut"]
    made = []
    for way in line["animals"]:
        ours = line["sides"][way]
        fast = ours["times_as_fast"]
        made.append([
            line["architecture"], way, fast["median"], fast["min"], fast["max"], ours["less_processor_time"]["median"],
            float(np.median(ours["rate"])), float(np.median(theirs["rate"])), line["animals"][way],
            theirs["animals"][0], line["machine"],
        ])  # fmt: skip
    return made


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help='as "resnet_50 single"; default: all')
    parser.add_argument("--ways", nargs="+", default=list(WAYS), metavar="WAY", help="default: %(default)s")
    parser.add_argument("--size", nargs=2, type=int, default=[480, 640], metavar=("H", "W"), help="of the frames [px]")
    parser.add_argument("--detector", default="fasterrcnn_mobilenet_v3_large_fpn", help="of pairs")
    parser.add_argument("--frames", type=int, default=8, help="of the video (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="of both sides (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of both sides (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="turns that count (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "rigpose-benchmarks", help="for bundles")
    parser.add_argument("--again", action="store_true", help="also what was measured at this commit")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines so far")
    return parser.parse_args()


if __name__ == "__main__":
    in_sentences(main)
