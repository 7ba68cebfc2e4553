"""DeepLabCut's side of ``tracking_rate.py``, run by a Python that has it: frames per second of its ellipse tracker."""

from __future__ import annotations

import sys
import time

import numpy as np
from deeplabcut.core import trackingutils  # pyright: ignore[reportMissingImports]

MAX_AGE, MIN_HITS, SIMILARITY = 1, 1, 0.6  # DeepLabCut's defaults
original = trackingutils.kinematic_kf


def measuring_positions(*args: int, **kwargs: int) -> object:
    """A filter that measures each position; filterpy 2.0 measures the sum of all, and nothing can be followed."""
    made = original(*args, **kwargs)
    made.H = np.eye(*made.H.shape)
    return made


def main() -> None:
    """Follow the poses (F, N, K, 3) of a file for each line that comes in."""
    frames = [found[np.isfinite(found).any(axis=(1, 2)), :, :2] for found in np.load(sys.argv[1])]
    trackingutils.kinematic_kf = measuring_positions
    print("ready", flush=True)
    for _ in sys.stdin:
        tracker = trackingutils.SORTEllipse(MAX_AGE, MIN_HITS, SIMILARITY)
        begun = time.perf_counter()
        for poses in frames:
            tracker.track(poses)
        print("rate", len(frames) / (time.perf_counter() - begun), flush=True)


if __name__ == "__main__":
    main()
