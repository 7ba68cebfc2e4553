"""What a run's frames took, per stage and over time, for the thread that measures and all that ask."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from rigpose.arrays import Array
from rigpose.live.live_pose import Stamps
from rigpose.live.running.latency import Durations, Moments, percentiles
from rigpose.live.status import STAGES, Moment, Percentiles


@dataclass(frozen=True)
class Sums:
    """All frames up to one moment; the difference of two is what came between them.

    Attributes:
        bins: Per stage, how many frames took so long.
        frames: How many there were.
        misses: Those that missed the deadline.
    """

    bins: Mapping[str, Array]
    frames: int = 0
    misses: int = 0

    def medians_since(self, before: Sums) -> dict[str, float]:
        """Per stage, of what came after ``before`` [ms]."""
        return {name: percentiles(bins - before.bins[name], float("inf")).p50 for name, bins in self.bins.items()}


class StageTimes:
    """Every frame that became poses.

    Args:
        begun: When the run began [s].
        deadline: A frame that is older when its poses are there has missed it [ms].
    """

    def __init__(self, begun: float, *, deadline: float | None = None) -> None:
        self._begun = begun
        self._deadline = float("inf") if deadline is None else deadline / 1000
        self._lock = threading.Lock()
        self._stages = {name: Durations() for name in STAGES}
        self._moments = Moments()
        self._frames = self._misses = 0

    def add(self, stamps: Stamps, told: float) -> None:
        """One frame, whose outputs were told at ``told`` [s]."""
        stages, age = self._stages, stamps.age
        with self._lock:
            stages["transfer"].add(stamps.arrived - stamps.exposed)
            stages["wait"].add(stamps.taken - stamps.arrived)
            stages["sessions"].add(stamps.session_seconds)
            stages["overhead"].add(stamps.overhead)
            stages["judging"].add(told - stamps.found)
            stages["age"].add(age)
            self._moments.add(stamps.found - self._begun, age)
            self._frames += 1
            self._misses += age > self._deadline

    def sums(self) -> Sums:
        """Up to now."""
        with self._lock:
            bins = {name: durations.counts.copy() for name, durations in self._stages.items()}
            return Sums(bins, self._frames, self._misses)

    def percentiles(self) -> dict[str, Percentiles]:
        """Per stage."""
        with self._lock:
            copies = {name: durations.copy() for name, durations in self._stages.items()}
        return {name: durations.percentiles for name, durations in copies.items()}

    def bars(self) -> dict[float, int]:
        """Upper border [ms] -> frames whose poses were so old."""
        with self._lock:
            age = self._stages["age"].copy()
        return age.bars

    def moments(self, seconds: float) -> tuple[Moment, ...]:
        """The run in stretches, ``seconds`` after it began."""
        with self._lock:
            moments = self._moments.copy()  # percentiles take long, and the inference thread would wait for them
        return moments.so_far(seconds)

    @property
    def misses(self) -> int:
        """Frames that missed the deadline."""
        return self._misses
