"""A part of every frame is all that the animals are looked for in; their places are those in the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rigpose.geometry import ScaleShift
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.faults import LiveError
from rigpose.live.finding.pose_finder import Found, PoseFinder
from rigpose.models.model_spec import ModelSpec
from rigpose.videos.video import Crop


class CroppedFinder:
    """A ``PoseFinder`` that shows another one a part of each frame, and brings what that finds back to the frame.

    What the other one remembers is in px of the part, so that it follows an animal there as it would in a whole frame.

    Args:
        finder: The other one.
        part: Of the frames of every camera [frame px].
    """

    def __init__(self, finder: PoseFinder, part: Crop) -> None:
        self.finder = finder
        self.part = part
        self._to_frame = ScaleShift(shift=(part.x1, part.y1))

    @property
    def spec(self) -> ModelSpec:
        """See ``PoseFinder``."""
        return self.finder.spec

    @property
    def device(self) -> str:
        """See ``PoseFinder``."""
        return self.finder.device

    def warm_up(self, height: int, width: int, frames: int) -> None:
        """See ``PoseFinder``.

        Raises:
            LiveError: The part is not inside such frames.
        """
        self._check("crop", height, width)
        self.finder.warm_up(self.part.y2 - self.part.y1, self.part.x2 - self.part.x1, frames)

    def find(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        """See ``PoseFinder``.

        Raises:
            LiveError: The part is not inside a frame.
        """
        part, shown = self.part, []
        for frame in frames:
            self._check(frame.camera, *frame.image.shape[:2])
            shown.append(replace(frame, image=frame.image[part.y1 : part.y2, part.x1 : part.x2]))
        return [replace(found, poses=found.poses.moved(self._to_frame)) for found in self.finder.find(shown)]

    def forget(self, camera: str) -> None:
        """See ``PoseFinder``."""
        self.finder.forget(camera)

    def _check(self, where: str, height: int, width: int) -> None:
        part = self.part
        if not (0 <= part.x1 < part.x2 <= width and 0 <= part.y1 < part.y2 <= height):
            raise LiveError(
                f"{where}: the crop {part} leaves frames of {width} x {height} px or is empty; give x1,x2,y1,y2 inside "
                "them."
            )
