"""Grouping alone, from 1 to 50 animals, against DeepLabCut's own assembler on the same candidates: ``decode.py``.

Candidates of part affinity fields are drawn: ``clean`` ones, where every keypoint is found once, and ones with
``gaps``, where 15 % of the keypoints are missing, 3 peaks per part belong to nobody and affinities are weaker. Both
sides get them in their own form, group frame by frame in one thread, and take turns in one run; DeepLabCut runs in a
process beside this one, with the Python that the environment's RIGPOSE_DEEPLABCUT_PYTHON names, and is left out without
it. Neither side's dense half (peaks, line integrals) is in the figures.

Prints a table, and appends a line per case to ``benchmarks/results/decode.jsonl``. A later run goes on behind what this
machine has measured at this commit.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded

import numpy as np
from deeplabcut_peer import PYTHON, Peer, version_of
from record import lines, measured_here, record
from turns import beside, ratio, rounded, table, take_turns

from rigpose.arrays import Floats
from rigpose.bench.spread import Spread
from rigpose.grouping import GROUPERS
from rigpose.models.model_spec import PafGrouping

NAME = "decode"
PARTS = 12
BODY = 40.0
"""Standard deviation of an animal's keypoints around its centre [px]."""
AREA = 250.0
"""Root of the part of the frame that an animal has for itself [px]."""
EDGES = {
    "skeleton": (*((i, i + 1) for i in range(PARTS - 1)), (0, 2), (3, 6), (6, 9)),
    "full": tuple(itertools.combinations(range(PARTS), 2)),
}
FALSE_PEAKS = 3
HEADER = (
    "scene", "edges", "animals", "rigpose [ms]", "p99 [ms]", "DeepLabCut [ms]", "ratio", "from", "to", "animals found",
    "by DeepLabCut",
)  # fmt: skip


def main() -> None:
    """Measure, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--animals", nargs="+", type=int, default=[1, 2, 3, 5, 10, 20, 50], help="default: %(default)s")
    parser.add_argument(
        "--scenes", nargs="+", choices=("clean", "gaps"), default=["clean", "gaps"], help="default: both"
    )
    parser.add_argument("--edges", nargs="+", choices=[*EDGES], default=[*EDGES], help="default: both")
    parser.add_argument("--frames", type=int, default=60, help="of each case (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="also what was measured at this commit")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines so far")
    options = parser.parse_args()
    if not options.markdown:
        measure_all(options)
    newest = {(line["scene"], line["edges"], line["animals"], line["frames"]): line for line in lines(NAME)}
    print(table(HEADER, [row(line) for line in newest.values()]))


def measure_all(options: argparse.Namespace) -> None:
    """All cases that are not there yet, with one process of DeepLabCut."""
    python = os.environ.get(PYTHON)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file, peer = Path(folder) / "candidates.npz", None
        for scene, edges, animals in itertools.product(options.scenes, options.edges, options.animals):
            case = {"scene": scene, "edges": edges, "animals": animals, "keypoints": PARTS, "frames": options.frames}
            if not options.again and measured_here(NAME, case):
                print(f"{scene}, {edges}, {animals} animals: measured already (--again repeats it)")
                continue
            if python and peer is None:
                peer = stack.enter_context(beside(python, "deeplabcut_grouping_rate.py", str(file)))
            record(NAME, {**case, **measure(case, options.repeats, peer, file)})
            print(f"{scene}, {edges}, {animals} animals: done", flush=True)


def measure(case: dict[str, Any], repeats: int, peer: Peer | None, file: Path) -> dict[str, Any]:
    """Milliseconds per frame of both sides, and their ratio."""
    rng = np.random.default_rng(case["animals"])
    edges = EDGES[case["edges"]]
    made = [candidates(rng, case["scene"], case["animals"], edges) for _ in range(case["frames"])]
    frames = [{"peaks": peaks[None], "affinity": affinity[None]} for peaks, affinity in made]
    grouping = PafGrouping(edges, case["animals"])
    each: list[float] = []
    contestants: dict[str, Callable[[], tuple[float, float, float]]] = {}
    contestants["rigpose"] = lambda: ours(frames, grouping, each)
    if peer is not None:
        peaks, affinity = (np.concatenate([frame[key] for frame in frames]) for key in ("peaks", "affinity"))
        np.savez(file, peaks=peaks, affinity=affinity, edges=edges, animals=case["animals"])
        contestants["deeplabcut"] = lambda: (1000 / peer.turn(), float(peer.hear("cpu")), float(peer.hear("animals")))
    turns = take_turns(contestants, repeats)
    found: dict[str, Any] = {}
    for side, values in turns.items():
        wall, cpu, animals = zip(*values, strict=True)
        found[side] = {"ms": rounded(wall, 4), "cpu_ms": rounded(cpu, 4), "animals_found": round(animals[0], 2)}
    found["rigpose"] |= {"p99_ms": round(Spread.of(each).p99, 4)}
    if "deeplabcut" in found:
        # By processor time: both are one thread, and other programs' turns on the core are in neither.
        found["times_as_fast"] = ratio(found["deeplabcut"]["cpu_ms"], found["rigpose"]["cpu_ms"])
        found["deeplabcut_version"] = version_of("deeplabcut")
    return found


def ours(frames: Sequence[dict[str, Floats]], grouping: PafGrouping, each: list[float]) -> tuple[float, float, float]:
    """Milliseconds per frame by the clock and on the processor, and animals per frame."""
    animals = 0
    wall, cpu = time.perf_counter(), time.process_time()
    for frame in frames:
        begun = time.perf_counter()
        animals += len(GROUPERS["paf"](frame, grouping)[0])
        each.append(time.perf_counter() - begun)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return 1000 * wall / len(frames), 1000 * cpu / len(frames), animals / len(frames)


def candidates(
    rng: np.random.Generator, scene: str, animals: int, edges: Sequence[tuple[int, int]]
) -> tuple[Floats, Floats]:
    """``peaks`` (K, P, 3) in random order, empty slots last, and ``affinity`` (E, P, P) with three decimals."""
    missing, false = (0.0, 0) if scene == "clean" else (0.15, FALSE_PEAKS)
    side = AREA * animals**0.5
    xy = rng.uniform(0, side, (animals, 1, 2)) + rng.normal(0, BODY, (animals, PARTS, 2))
    slots = animals + false
    peaks, owner = np.full((PARTS, slots, 3), np.nan), np.full((PARTS, slots), -1)
    for part in range(PARTS):
        seen = np.flatnonzero(rng.random(animals) >= missing)
        whose = rng.permutation(np.concatenate([seen, np.full(false, -1)]))
        owner[part, : len(whose)] = whose
        nobody = whose < 0
        place = np.where(nobody[:, None], rng.uniform(0, side, (len(whose), 2)), xy[whose, part])
        score = np.where(nobody, rng.uniform(0.1, 0.4, len(whose)), rng.uniform(0.3, 1.0, len(whose)))
        peaks[part, : len(whose)] = np.column_stack([place, score])
    source, target = np.array(edges).T
    first, second = owner[source][:, :, None], owner[target][:, None, :]
    same = (first == second) & (first >= 0)
    within = rng.normal(0.8 if scene == "clean" else 0.7, 0.1, same.shape)
    affinity = np.where(same, within, rng.uniform(0, 0.04, same.shape)).clip(0, 1)
    there = ~np.isnan(peaks[..., 0])
    affinity *= there[source][:, :, None] & there[target][:, None, :]
    return peaks.astype(np.float32), affinity.round(3).astype(np.float32)


def row(line: dict[str, Any]) -> list[Any]:
    """Of the table."""
    mine, theirs, times = line["rigpose"], line.get("deeplabcut", {}), line.get("times_as_fast", {})
    first = [line["scene"], line["edges"], line["animals"], _median(mine["ms"]), mine["p99_ms"]]
    return [
        *first, _median(theirs.get("ms")), times.get("median"), times.get("min"), times.get("max"),
        mine["animals_found"], theirs.get("animals_found"),
    ]  # fmt: skip


def _median(values: Sequence[float] | None) -> float | None:
    return float(np.median(values)) if values else None


if __name__ == "__main__":
    main()
