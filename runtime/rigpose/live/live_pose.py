"""What becomes of a frame that was inferred: animals, who they are, and when each step was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rigpose.arrays import Array
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.finding.pose_finder import Found
from rigpose.poses import Poses

NO_TRIGGERS: Mapping[str, bool] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Stamps:
    """When each step of a frame was done [s], by ``rigpose.live.clock``; each is at or after the one above.

    Attributes:
        exposed: As of ``CapturedFrame``.
        arrived: As of ``CapturedFrame``.
        taken: The inference thread took it out of its slot.
        found: Its poses were there, after grouping and following.
        judged: Triggers and prediction were done; the outputs are told next.
        session_seconds: How long the graphs' sessions took of the time between ``taken`` and ``found`` [s].
    """

    exposed: float
    arrived: float
    taken: float
    found: float
    judged: float
    session_seconds: float

    @property
    def age(self) -> float:
        """How old the frame was when its poses were there: from its exposure on [s]."""
        return self.found - self.exposed

    @property
    def overhead(self) -> float:
        """What the software added: from taking the frame to its poses, without the sessions' own time [s]."""
        return self.found - self.taken - self.session_seconds


@dataclass(frozen=True, slots=True, eq=False)
class LivePose:
    """The animals of one frame, as every output gets them.

    Attributes:
        frame: The frame.
        found: Its animals, who they are, and where they were looked for.
        stamps: When each step was done.
        predicted: The same animals where they will be ``lead`` after ``stamps.exposed``; none where nothing predicts.
        lead: How far ahead ``predicted`` is [s].
        triggers: Rule -> whether it holds now.
    """

    frame: CapturedFrame
    found: Found
    stamps: Stamps
    predicted: Poses | None = None
    lead: float = 0.0
    triggers: Mapping[str, bool] = field(default_factory=lambda: NO_TRIGGERS)

    @property
    def poses(self) -> Poses:
        """The animals as they were found [frame px]; length zero where there is none."""
        return self.found.poses

    @property
    def ids(self) -> Array:
        """(N,) number of each animal that it keeps from frame to frame; -1 where it has none yet."""
        return self.found.ids
