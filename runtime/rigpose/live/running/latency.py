"""How long things take, for days, in memory that never grows."""

from __future__ import annotations

import math

import numpy as np

from rigpose.arrays import Array
from rigpose.live.status import Moment, Percentiles

LEAST, MOST = 1e-6, 1e3
"""Durations that bins can tell apart [s]; shorter ones are in the first bin, longer ones in the last."""
RATIO = 1.02
"""Of a bin's upper border to its lower one: its middle, the root of their product, is within 1 % of all in it."""
_BINS_PER_E = 1 / math.log(RATIO)
BINS = math.ceil(math.log(MOST / LEAST) * _BINS_PER_E)
_PER_SHOWN = 2
"""Bins that make one bar of a histogram for people: 4 % wide."""


class Durations:
    """A histogram with bins that widen with the duration. Not safe for several threads at once.

    Percentiles are within 1 % of a duration that came in, for all above a microsecond; the longest is exact.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[_place(seconds)] += 1
        if seconds > self.longest:
            self.longest = seconds

    def clear(self) -> None:
        """Begin anew."""
        self.counts[:] = 0
        self.longest = 0.0

    def copy(self) -> Durations:
        """The same as it is now, for other threads to read."""
        other = Durations()
        other.counts[:] = self.counts
        other.longest = self.longest
        return other

    @property
    def percentiles(self) -> Percentiles:
        """In milliseconds; NaN where nothing came in."""
        return percentiles(self.counts, self.longest)

    @property
    def bars(self) -> dict[float, int]:
        """Upper border [ms] -> how many, rising; the first bar begins at 0, and the last one's border is infinite."""
        filled = np.flatnonzero(self.counts)
        if len(filled) == 0:
            return {math.inf: 0}
        first, last = filled[0] // _PER_SHOWN, filled[-1] // _PER_SHOWN
        bars = {1000 * _border(first * _PER_SHOWN): 0} if first else {}
        for bar in range(first, last + 1):
            upper = (bar + 1) * _PER_SHOWN
            bars[1000 * _border(upper) if upper < BINS else math.inf] = int(self.counts[bar * _PER_SHOWN : upper].sum())
        return bars if math.inf in bars else bars | {math.inf: 0}


class Moments:
    """A run in at most so many stretches of equal length; when there are too many, neighbours become one.

    Args:
        most: An even number.
        seconds: Length of the first ones.
    """

    def __init__(self, *, most: int = 64, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._counts = np.zeros((most, BINS), np.int64)
        self._longest = np.zeros(most)

    def add(self, since: float, seconds: float) -> None:
        """A duration that came in ``since`` the run began [s]."""
        row = int(since / self._seconds)
        while row >= len(self._counts):
            self._merge()
            row = int(since / self._seconds)
        self._counts[row, _place(seconds)] += 1
        if seconds > self._longest[row]:
            self._longest[row] = seconds

    def copy(self) -> Moments:
        """The same, which does not change any more."""
        made = Moments(most=0, seconds=self._seconds)
        made._counts, made._longest = self._counts.copy(), self._longest.copy()
        return made

    def so_far(self, since: float) -> tuple[Moment, ...]:
        """All of them, ``since`` the run began [s]; the last one may still go on."""
        rows = min(math.ceil(since / self._seconds), len(self._counts))
        found = []
        for row in range(rows):
            begun = row * self._seconds
            age = percentiles(self._counts[row], float(self._longest[row]))
            found.append(Moment(begun, min(self._seconds, since - begun), age.count, age))
        return tuple(found)

    def _merge(self) -> None:
        half = len(self._counts) // 2
        self._counts[:half] = self._counts[0::2] + self._counts[1::2]
        self._counts[half:] = 0
        self._longest[:half] = np.maximum(self._longest[0::2], self._longest[1::2])
        self._longest[half:] = 0
        self._seconds *= 2


def percentiles(counts: Array, longest: float) -> Percentiles:
    """Of a histogram's bins [ms]: the value that at least so many percent of all do not exceed."""
    upto = np.cumsum(counts)
    count = int(upto[-1])
    if count == 0:
        return Percentiles(0, math.nan, math.nan, math.nan, math.nan, math.nan)
    ranks = [-(-per_mille * count // 1000) for per_mille in (500, 900, 990, 999)]
    places = np.searchsorted(upto, ranks)
    values = np.minimum(1000 * LEAST * RATIO ** (places + 0.5), 1000 * longest)
    return Percentiles(count, *map(float, values), max=1000 * longest)


def _place(seconds: float) -> int:
    """The bin of a duration."""
    if seconds <= LEAST:
        return 0
    return min(int(math.log(seconds / LEAST) * _BINS_PER_E), BINS - 1)


def _border(place: int) -> float:
    """Lower border of a bin [s]."""
    return LEAST * RATIO**place
