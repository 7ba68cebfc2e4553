"""What a live run may be told, apart from what it looks with and at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rigpose.live.faults import LiveError


@dataclass(frozen=True)
class LiveOptions:
    """How a live run behaves. Times are in seconds, but for the deadline.

    Attributes:
        max_age: A frame that is older when it is taken is not inferred any more; none infers every one that is taken.
        max_wait: How long the first camera that has a frame waits for the others, to be inferred together.
        together: Most frames that are inferred at once; none is one of every camera.
        deadline: A frame whose poses are older when they are there has missed it [ms]; none counts no misses.
        missed_share: Part of the frames that may miss the deadline before it is a fault.
        frozen_after: A camera that gave no frame for so long is at fault.
        stale_after: An output that got no result of a camera for so long is brought to its safe state.
        stalled_after: An output whose ``send`` takes longer is at fault.
        failures: So many failures of inference in a row end the run.
        waiting: Results that an output may have waiting of each camera; when there are more, that camera's oldest is
            dropped. One is the shortest way to the newest pose.
        kept: Results that a recorder may have waiting; when there are more, the newest is dropped and counted.
        patience: How long stopping waits for a camera, an output or a graph that does not come back.
        summary: JSON file that says at the end where every frame went; none writes none.
    """

    max_age: float | None = None
    max_wait: float = 0.0
    together: int | None = None
    deadline: float | None = None
    missed_share: float = 0.01
    frozen_after: float = 1.0
    stale_after: float = 0.5
    stalled_after: float = 1.0
    failures: int = 10
    waiting: int = 1
    kept: int = 1000
    patience: float = 5.0
    summary: Path | None = None

    def __post_init__(self) -> None:
        for name in ("max_age", "deadline", "frozen_after", "stale_after", "stalled_after", "patience"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise LiveError(f"{name}: {value:g} is no time that anything can take; give a number above 0.")
        if not self.max_wait >= 0:
            raise LiveError(f"max_wait: {self.max_wait:g} is no time to wait; give 0 or more.")
        if not 0 <= self.missed_share < 1:
            raise LiveError(f"missed_share: {self.missed_share:g} is no part of the frames; give 0 or more, below 1.")
        for name in ("together", "failures", "waiting", "kept"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise LiveError(f"{name}: {value} makes no sense; give 1 or more.")
