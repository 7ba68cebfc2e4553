"""What every way of looking can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from rigpose.arrays import Array
from rigpose.live.captured_frame import CapturedFrame
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses

Looked: TypeAlias = Literal["whole", "region", "patches", "detector", "boxes"]
"""Where a frame was looked at: all of it, a region that follows, overlapping patches, by the detector, around poses."""


@dataclass(frozen=True)
class Found:
    """The animals of one frame.

    Attributes:
        poses: [frame px].
        ids: (N,) number that each animal keeps from frame to frame, -1 where it has none yet.
        looked: Where the poses are from.
        lost: Whether an animal that was followed is lost, or nothing was found at all.
    """

    poses: Poses
    ids: Array
    looked: Looked
    lost: bool


class PoseFinder(Protocol):
    """Frames of one or several cameras -> animals. It remembers per camera what it needs to follow them."""

    @property
    def spec(self) -> ModelSpec:
        """What the poses are of."""
        ...

    @property
    def device(self) -> str:
        """Where the graphs really run, for people."""
        ...

    def warm_up(self, height: int, width: int, frames: int) -> None:
        """Run every shape that ``find`` will need for up to ``frames`` frames of this size at a time.

        What is followed does not change by it.
        """
        ...

    def find(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        """The animals of each frame, in order.

        Args:
            frames: The newest of each camera, at most one per camera; of one camera, later than the last one given.
        """
        ...

    def forget(self, camera: str) -> None:
        """Nothing is known any more of where this camera's animals were."""
        ...
