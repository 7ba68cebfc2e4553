"""Frames per second of following 2, 5 and 10 animals of 12 keypoints on one core: ``tracking_rate.py``.

Animals walk about a box, cross, and are missed now and then. Measured are ``Tracker.update`` alone, as a live rig uses
it, and ``track``, which stitches, too. When the environment's RIGPOSE_DEEPLABCUT_PYTHON names a Python that has
DeepLabCut 3, its ellipse tracker follows the same poses, without stitching, in a process beside this one, and both take
turns, so that a busy machine slows both alike. Prints rates and appends a JSON line per number of animals to
``benchmarks/results/tracking_rate.jsonl``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from typing import Any

import numpy as np
from deeplabcut_peer import deeplabcut
from record import record

from rigpose.arrays import Floats
from rigpose.poses import Poses
from rigpose.tracking import SUFFIXES, Tracker, TrackingSettings, track

KEYPOINTS = 12
LENGTH, SPEED, NOISE = 60.0, 6.0, 1.5  # of an animal [px], per frame [px], of a keypoint [px]
DROPOUT, MISSING = 0.03, 0.1  # share of animals, of keypoints


def main() -> None:
    """Measure, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--animals", nargs="+", type=int, default=[2, 5, 10])
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--methods", nargs="+", choices=[*SUFFIXES], default=[*SUFFIXES])
    arguments = parser.parse_args()
    for animals in arguments.animals:
        poses = walking(animals, arguments.frames)
        figures = {"animals": animals, "keypoints": KEYPOINTS, "frames": arguments.frames}
        print(f"appended to {record('tracking_rate', figures | measured(poses, animals, arguments))}")


def walking(animals: int, frames: int) -> Floats:
    """(F, N, K, 3) x, y [px], score of animals on smooth random ways in a box that grows with their number."""
    rng = np.random.default_rng(animals)
    side = 200.0 * np.sqrt(animals)
    heading = rng.uniform(0, 2 * np.pi, animals) + np.cumsum(rng.normal(0, 0.1, (frames, animals)), axis=0)
    way = np.cumsum(SPEED * np.stack([np.cos(heading), np.sin(heading)], axis=2), axis=0)
    place = side - np.abs((way + rng.uniform(0, side, (animals, 2))) % (2 * side) - side)  # (F, N, 2), walls reflect
    step = np.gradient(place, axis=0)
    step /= np.linalg.norm(step, axis=2, keepdims=True)
    around = np.linspace(0, 2 * np.pi, KEYPOINTS, endpoint=False)
    along, aside = LENGTH / 2 * np.cos(around), LENGTH / 6 * np.sin(around)
    right = np.stack([-step[..., 1], step[..., 0]], axis=2)
    xy = place[:, :, None] + step[:, :, None] * along[:, None] + right[:, :, None] * aside[:, None]
    xy += rng.normal(0, NOISE, xy.shape)
    poses = np.concatenate([xy, rng.uniform(0.6, 1.0, (*xy.shape[:3], 1))], axis=3)
    poses[rng.random(poses.shape[:3]) < MISSING] = np.nan
    poses[rng.random(poses.shape[:2]) < DROPOUT] = np.nan
    return poses


def measured(poses: Floats, animals: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Rates [frames/s] of each method, live and for the whole video, and DeepLabCut's."""
    frames = [Poses.from_array(found[np.isfinite(found).any(axis=(1, 2))]) for found in poses]
    rates: dict[str, list[float]] = {}
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, poses)
        file.flush()
        with deeplabcut("deeplabcut_tracking_rate.py", file.name) as peer:
            for repeat in range(arguments.repeats + 1):
                turn = {name: rate for m in arguments.methods for name, rate in of_method(m, frames, animals).items()}
                if peer is not None:
                    turn["deeplabcut_ellipse"] = peer.turn()
                print(f"{animals} animals {repeat}/{arguments.repeats}: ", end="")
                print(", ".join(f"{name} {rate:.0f}" for name, rate in turn.items()))
                if repeat:  # the first turn warms up, and compiles in DeepLabCut
                    for name, rate in turn.items():
                        rates.setdefault(name, []).append(round(rate, 1))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        print(f"{animals} animals, {name}: {rate:.0f} frames/s, {1000 / rate:.3f} ms per frame")
    return {"frames_per_second": rates, "medians": medians}


def of_method(method: Any, frames: list[Poses], animals: int) -> dict[str, float]:
    """Rates [frames/s] of one method."""
    settings = TrackingSettings(method=method)
    return {f"{method}_live": live_rate(frames, settings), f"{method}_whole": whole_rate(frames, settings, animals)}


def live_rate(frames: list[Poses], settings: TrackingSettings) -> float:
    """Frames per second of ids, frame by frame."""
    tracker = Tracker(settings)
    begun = time.perf_counter()
    for poses in frames:
        tracker.update(poses)
    return len(frames) / (time.perf_counter() - begun)


def whole_rate(frames: list[Poses], settings: TrackingSettings, animals: int) -> float:
    """Frames per second of tracks, with stitching."""
    begun = time.perf_counter()
    track(frames, settings, animals=animals)
    return len(frames) / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
