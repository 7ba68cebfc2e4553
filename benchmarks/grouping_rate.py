"""How long the sparse half takes per frame: ``grouping_rate.py`` groups drawn candidates of 10 animals x 12 keypoints.

Part affinity fields with a graph like a skeleton (14 edges) and with all 66, and DEKR; every scene in several kinds:

- clean: every keypoint is found once, and fields join no two animals;
- gaps: 15 % of the keypoints are missing, and 3 peaks per part belong to nobody;
- noisy: the same, and the affinities of true and false pairs overlap, as of a model early in its training;
- crowded: animals lie upon each other in pairs, and a pair's fields are nearly as strong between its animals as within;
- chance: peaks and affinities say nothing at all, which no model does; a bound rather than a scene.

Each frame is grouped by itself, in one thread, in several passes over all frames. "best" is a frame's shortest pass, so
that median, p99 and max tell frames apart and not moments of a busy machine; "all" are all passes, and "wall" is the
clock's time of these, other programs' turns on the core included. Prints the figures and appends them to
``benchmarks/results/grouping_rate.jsonl``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Mapping, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded

import numpy as np
from record import record

from rigpose.arrays import Floats
from rigpose.grouping import GROUPERS
from rigpose.models.model_spec import DekrGrouping, PafGrouping

ANIMALS, PARTS, SLOTS = 10, 12, 20
BODY = 40.0
"""Standard deviation of an animal's keypoints around its centre [px]."""
FRAME = 1000.0
"""Width and height of the frame [px]."""
EDGES = {
    "skeleton": (*((i, i + 1) for i in range(PARTS - 1)), (0, 2), (3, 6), (6, 9)),
    "full": tuple(itertools.combinations(range(PARTS), 2)),
}
SCENES = ("clean", "gaps", "noisy", "crowded", "chance")


def main() -> None:
    """Measure, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=500, help="of each kind")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    figures = {}
    for scene in SCENES:
        rng = np.random.default_rng(arguments.seed)
        for graph, edges in EDGES.items():
            frames = [paf_candidates(rng, scene, edges) for _ in range(arguments.frames)]
            figures[f"paf {graph} {scene}"] = measure(frames, PafGrouping(edges, ANIMALS), arguments.passes)
        frames = [dekr_candidates(rng, scene) for _ in range(arguments.frames)]
        figures[f"dekr {scene}"] = measure(frames, DekrGrouping(ANIMALS), arguments.passes)
    for name, each in figures.items():
        print(f"{name:<22}", "  ".join(f"{key} {value}" for key, value in each.items()))
    line = {"animals": ANIMALS, "keypoints": PARTS, **vars(arguments), "milliseconds": figures}
    print(f"appended to {record('grouping_rate', line)}")


def measure(
    frames: Sequence[Mapping[str, Floats]], grouping: PafGrouping | DekrGrouping, passes: int
) -> dict[str, float | list[float]]:
    """Times per frame as [median, p99, max] in milliseconds, and how many animals a frame has on average."""
    group = GROUPERS["paf" if isinstance(grouping, PafGrouping) else "dekr"]
    animals = sum(len(group(frame, grouping)[0]) for frame in frames)
    spent, passed = np.empty((passes, len(frames))), np.empty((passes, len(frames)))
    for i, j in np.ndindex(spent.shape):
        wall, thread = time.perf_counter_ns(), time.thread_time_ns()
        group(frames[j], grouping)
        spent[i, j] = time.thread_time_ns() - thread
        passed[i, j] = time.perf_counter_ns() - wall
    return {
        "best": summary(spent.min(axis=0)),
        "all": summary(spent),
        "wall": summary(passed),
        "animals": round(animals / len(frames), 1),
    }


def summary(nanoseconds: Floats) -> list[float]:
    """Median, 99th percentile and maximum in milliseconds."""
    return [round(float(value) / 1e6, 3) for value in np.percentile(nanoseconds, [50, 99, 100])]


def bodies(rng: np.random.Generator, scene: str) -> Floats:
    """(N, K, 2) keypoints of a frame's animals [px]; crowded ones lie 10 px from another."""
    centre = rng.uniform(3 * BODY, FRAME - 3 * BODY, (ANIMALS, 1, 2))
    if scene == "crowded":
        centre[1::2] = centre[::2] + rng.normal(0, 10, (ANIMALS // 2, 1, 2))
    return centre + rng.normal(0, BODY, (ANIMALS, PARTS, 2))


def paf_candidates(rng: np.random.Generator, scene: str, edges: Sequence[tuple[int, int]]) -> dict[str, Floats]:
    """``peaks`` (1, K, P, 3) in random order, empty slots last, and ``affinity`` (1, E, P, P) with three decimals."""
    xy = bodies(rng, scene)
    missing, spurious = (0.0, 0) if scene in ("clean", "crowded") else (0.15, 3)
    peaks = np.full((PARTS, SLOTS, 3), np.nan)
    owner = np.full((PARTS, SLOTS), -1)
    for part in range(PARTS):
        seen = np.flatnonzero(rng.random(ANIMALS) >= missing)
        whose = rng.permutation(np.concatenate([seen, np.full(spurious, -1)]))
        owner[part, : len(whose)] = whose
        false = whose < 0
        peaks[part, : len(whose), :2] = np.where(
            false[:, None], rng.uniform(0, FRAME, (len(whose), 2)), xy[whose, part]
        )
        peaks[part, : len(whose), 2] = np.where(
            false, rng.uniform(0.1, 0.4, len(whose)), rng.uniform(0.3, 1.0, len(whose))
        )
    source, target = np.array(edges).T
    first, second = owner[source][:, :, None], owner[target][:, None, :]
    affinity = affinities(rng, scene, (first == second) & (first >= 0), first // 2 == second // 2)
    there = ~np.isnan(peaks[..., 0])
    affinity *= there[source][:, :, None] & there[target][:, None, :]
    return {"peaks": peaks[None].astype(np.float32), "affinity": affinity[None].round(3).astype(np.float32)}


def affinities(rng: np.random.Generator, scene: str, same: Floats, near: Floats) -> Floats:
    """Affinities of the pairs of one animal, of those of two animals that lie upon each other, and of the others."""
    within, between = {
        "clean": (rng.normal(0.8, 0.1, same.shape), rng.uniform(0, 0.04, same.shape)),
        "gaps": (rng.normal(0.7, 0.1, same.shape), rng.uniform(0, 0.04, same.shape)),
        "noisy": (rng.normal(0.5, 0.2, same.shape), rng.normal(0, 0.15, same.shape)),
        "crowded": (rng.normal(0.6, 0.2, same.shape), rng.uniform(0, 0.04, same.shape)),
        "chance": (rng.uniform(0, 1, same.shape), rng.uniform(0, 1, same.shape)),
    }[scene]
    if scene == "crowded":
        between = np.where(near, rng.normal(0.4, 0.2, same.shape), between)
    return np.where(same, within, between).clip(0, 1)


def dekr_candidates(rng: np.random.Generator, scene: str) -> dict[str, Floats]:
    """``poses`` (1, P, K, 3) of places all over the animals, and ``center`` (1, P), the best first."""
    owner = np.arange(SLOTS) % ANIMALS
    spread = {"clean": 1.0, "gaps": 3.0, "noisy": 10.0, "crowded": 3.0, "chance": 200.0}[scene]
    xy = bodies(rng, scene)[owner] + rng.normal(0, spread, (SLOTS, PARTS, 2))
    poses = np.concatenate([xy, rng.uniform(0, 1, (SLOTS, PARTS, 1))], axis=2)
    if scene in ("gaps", "noisy"):
        poses[rng.random((SLOTS, PARTS)) < 0.15] = np.nan
    center = np.sort(rng.uniform(0, 1, SLOTS))[::-1]
    return {"poses": poses[None].astype(np.float32), "center": center[None].astype(np.float32)}


if __name__ == "__main__":
    main()
