"""What can go wrong while a live run goes on, as values that outputs, pages and reports can show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rigpose.errors import RigposeError


class FaultKind(Enum):
    """What a fault is of."""

    SOURCE_LOST = "source lost"
    SOURCE_FROZEN = "source frozen"
    SOURCE_SLOW = "source slow"
    INFERENCE_FAILED = "inference failed"
    JUDGING_FAILED = "triggers or prediction failed"
    DEADLINE_MISSED = "deadline missed"
    LATENCY_DRIFTED = "latency drifted"
    OUTPUT_FAILED = "output failed"
    OUTPUT_STALLED = "output stalled"
    RECORDING_FAILED = "recording failed"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: What it is of.
        where: Name of the camera, output or stage.
        sentence: What happened, why, and what to do.
        time: When it was noticed [s], by ``rigpose.live.clock``.
        ends_run: Whether the run cannot go on.
    """

    kind: FaultKind
    where: str
    sentence: str
    time: float
    ends_run: bool = False


class LiveError(RigposeError):
    """A camera, output or option of a live run that cannot be used."""


class SourceLostError(LiveError):
    """A camera that was there and no longer gives frames; no other one ever takes its place."""
