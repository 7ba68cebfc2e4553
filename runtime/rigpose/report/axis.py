"""Axes with round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Axis:
    """Values from 0 to ``end`` along a line of the picture."""

    def __init__(self, end: float, first: float, last: float, *, unit: str, whole: bool = True) -> None:
        step = _nice(end / 5)
        self.end = step * math.ceil(end / step - 1e-9) if whole else end
        self.unit = unit
        self.ticks = [step * i for i in range(int(self.end / step + 1e-9) + 1)]
        self._first, self._scale = first, (last - first) / self.end

    def at(self, value: float) -> float:
        """Where a value is."""
        return self._first + self._scale * value


def _nice(least: float) -> float:
    """The next of 1, 2, 5, 10, 20, ... (and their tenths and so on)."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def points(places: Sequence[tuple[float, float]]) -> str:
    """Of a line or polygon, to a tenth of a unit."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
