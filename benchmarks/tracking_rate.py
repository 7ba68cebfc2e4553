"""Frames per second of following 2, 5 and 10 animals of 12 keypoints on one core: ``tracking_rate.py``.

Animals walk about a box, cross, and are missed now and then. Measured are ``Tracker.update`` alone, as a live rig uses
it, and ``track``, which stitches, too. When the environment's RIGPOSE_DEEPLABCUT_PYTHON names a Python that has
DeepLabCut 3, its ellipse tracker follows the same poses, without stitching, in a process beside this one, and both take
turns, so that a busy machine slows both alike. Prints rates and appends a JSON line per number of animals to
``benchmarks/results/tracking_rate.jsonl``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from record import record

from rigpose.arrays import Floats
from rigpose.poses import Poses
from rigpose.tracking import SUFFIXES, Tracker, TrackingSettings, track

PEER = Path(__file__).with_name("deeplabcut_tracking_rate.py")
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
    with deeplabcut(poses) as peer:
        for repeat in range(arguments.repeats + 1):
            turn: dict[str, float] = {}
            for method in arguments.methods:
                settings = TrackingSettings(method=method)
                turn[f"{method}_live"] = live_rate(frames, settings)
                turn[f"{method}_whole"] = whole_rate(frames, settings, animals)
            if peer is not None:
                turn["deeplabcut_ellipse"] = answer(peer)
            print(f"{animals} animals {repeat}/{arguments.repeats}: ", end="")
            print(", ".join(f"{name} {rate:.0f}" for name, rate in turn.items()))
            if repeat:  # the first turn warms up, and compiles in DeepLabCut
                for name, rate in turn.items():
                    rates.setdefault(name, []).append(round(rate, 1))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        print(f"{animals} animals, {name}: {rate:.0f} frames/s, {1000 / rate:.3f} ms per frame")
    return {"frames_per_second": rates, "medians": medians}


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


@contextmanager
def deeplabcut(poses: Floats) -> Iterator[subprocess.Popen[str] | None]:
    """A process that follows the same poses with DeepLabCut whenever it is asked, or none."""
    python = os.environ.get("RIGPOSE_DEEPLABCUT_PYTHON")
    if not python:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "poses.npy"
        np.save(path, poses)
        command = [python, str(PEER), str(path)]
        # This project's own path must not reach the other Python.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as peer:
            heard(peer, "ready")
            yield peer
            peer.communicate()


def answer(peer: subprocess.Popen[str]) -> float:
    """Frames per second of the other process."""
    if peer.stdin is not None:
        peer.stdin.write("go\n")
        peer.stdin.flush()
    return float(heard(peer, "rate"))


def heard(peer: subprocess.Popen[str], word: str) -> str:
    """The rest of the next line that begins with a word; DeepLabCut prints others."""
    for line in peer.stdout or ():
        first, _, rest = line.partition(" ")
        if first.strip() == word:
            return rest
    raise SystemExit("DeepLabCut's tracker ended; its message is above.")


if __name__ == "__main__":
    main()
