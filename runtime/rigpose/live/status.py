"""How a live run stands, now or at its end: what pages show and reports keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from rigpose.live.faults import Fault
from rigpose.live.sources.source_kind import SourceKind


class RunState(Enum):
    """Where a run is between its beginning and its end."""

    STOPPED = "stopped"
    LOADING = "loading"
    WARM = "warm"
    RUNNING = "running"
    DEGRADED = "degraded"  # goes on with a fault: an output that fails, a camera that lags, missed deadlines
    FAULTED = "faulted"  # cannot go on


@dataclass(frozen=True)
class FrameCounts:
    """Where the frames of one camera went. ``captured == inferred + superseded + stale + failed + waiting``, always.

    Attributes:
        captured: Handed over by the camera.
        inferred: Became poses.
        superseded: Gave way to a newer one before anybody took them.
        stale: Too old when they were taken, or still waiting when the run could not go on.
        failed: Inference raised.
        waiting: In the slot or in work at this moment; 0 when the run has stopped.
        dropped_by_device: Gaps in the camera's count: never handed over, so no part of ``captured``.
    """

    captured: int = 0
    inferred: int = 0
    superseded: int = 0
    stale: int = 0
    failed: int = 0
    waiting: int = 0
    dropped_by_device: int = 0

    @property
    def closed(self) -> bool:
        """Whether every frame is accounted for."""
        return self.captured == self.inferred + self.superseded + self.stale + self.failed + self.waiting


@dataclass(frozen=True)
class Percentiles:
    """Many durations in a few numbers [ms].

    Attributes:
        count: How many there were; with fewer than 1000, ``p99_9`` is next to ``max``.
    """

    count: int
    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float

    @property
    def jitter(self) -> float:
        """How much later than usual one in a hundred comes: p99 less p50 [ms]."""
        return self.p99 - self.p50


@dataclass(frozen=True)
class OutputCounts:
    """What became of the results that one output was offered. ``offered == sent + dropped + failed + waiting``."""

    offered: int = 0
    sent: int = 0
    dropped: int = 0
    failed: int = 0
    waiting: int = 0
    in_safe_state: bool = False


@dataclass(frozen=True)
class Moment:
    """A stretch of a run, for drift over time.

    Attributes:
        begun: Since the run began [s].
        seconds: Its length.
        frames: Inferred in it.
        age: Of the frames when their poses were there.
    """

    begun: float
    seconds: float
    frames: int
    age: Percentiles


@dataclass(frozen=True)
class RunStatus:
    """All of it.

    Attributes:
        state: Where the run is.
        seconds: Since the first frame was asked for.
        cameras: Per camera.
        stages: Per stage, how long it took; the names are those of ``STAGES``, and ``sent to NAME`` per output, from
            the frame's exposure until ``send`` returned.
        histogram: Upper border of a bin [ms] -> frames whose poses were so old, rising; the first bin begins at 0, and
            the last border is infinite.
        moments: The run in stretches of equal length, the oldest first.
        deadline: [ms]; none where nobody set one.
        deadline_misses: Frames whose poses were older than that.
        outputs: Per output.
        triggers: Rule -> whether it holds now.
        faults: All so far, the oldest first.
        facts: Who ran on what: bundle, device, machine and the like, for people.
        begun: When ``seconds`` began to count [s], by the clock of the faults' times; none before.
        sources: Camera -> what it is; one that is not named is a camera indeed.
    """

    state: RunState
    seconds: float
    cameras: Mapping[str, FrameCounts]
    stages: Mapping[str, Percentiles]
    histogram: Mapping[float, int]
    moments: tuple[Moment, ...] = ()
    deadline: float | None = None
    deadline_misses: int = 0
    outputs: Mapping[str, OutputCounts] = field(default_factory=dict)
    triggers: Mapping[str, bool] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    begun: float | None = None
    sources: Mapping[str, SourceKind] = field(default_factory=dict)


STAGES = ("transfer", "wait", "sessions", "overhead", "judging", "age")
"""From exposure to arrival; in the slot; in the graphs; of the software from taking the frame to its poses, without
the graphs; triggers, prediction and telling the outputs; and from exposure to poses."""
