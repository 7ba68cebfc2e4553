"""Many timings in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """How timings are spread.

    Attributes:
        count: How many there are. With fewer than a hundred, ``p99`` is next to the largest.
        p50: Half of them took less [ms].
        p90: Nine in ten took less [ms].
        p99: Ninety-nine in a hundred took less [ms].
        max: The longest [ms].
    """

    count: int
    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Of timings [s]; all zeros where there are none."""
        if not len(seconds):
            return cls(0, 0.0, 0.0, 0.0, 0.0)
        return cls(len(seconds), *(float(value) for value in 1000 * np.percentile(seconds, [50, 90, 99, 100])))

    @property
    def jitter(self) -> float:
        """How much later than usual one in a hundred comes: p99 less p50 [ms]."""
        return self.p99 - self.p50


def rates_by_third(finished: Sequence[float], frames: Sequence[int], *, begun: float) -> tuple[float, float, float]:
    """Frames per second in the first, second and last third of a run's time.

    Args:
        finished: When each batch was finished, rising [s].
        frames: How many frames each batch had.
        begun: When the run began, on the same clock [s].

    A batch that lies across a border counts for both sides by its time.
    """
    times = np.concatenate([[begun], finished])
    done = np.concatenate([[0], np.cumsum(frames)])
    borders = np.linspace(times[0], times[-1], 4)
    between = np.diff(np.interp(borders, times, done)) / np.maximum(np.diff(borders), 1e-9)
    return float(between[0]), float(between[1]), float(between[2])
