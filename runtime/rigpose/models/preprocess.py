"""Frame -> network input: what happens to a frame on the host before a graph sees it.

Colour order, scaling to 0..1 and normalisation are inside the graph. Here are only the steps that change the
frame's size, and each returns the way back to frame pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rigpose.arrays import Frames
from rigpose.geometry import ScaleShift


@dataclass(frozen=True)
class Resize:
    """A fixed input size. With ``keep_ratio`` the frame fits inside and black fills the right and bottom."""

    width: int
    height: int
    keep_ratio: bool = True


@dataclass(frozen=True)
class InputSpec:
    """How frames become network inputs.

    Attributes:
        resize: Fixed input size, or none for the frame's own.
        longest_side: Scale so that the longer side has this many pixels.
        multiple_of: Both sides are padded, right and bottom, to a multiple of this (HRNet needs 32). The border
            is mirrored without its edge row, as in DeepLabCut; DeepLabCut puts the padding at a random side at
            each call, which makes its poses differ from run to run, so here it is always right and bottom.
    """

    resize: Resize | None = None
    longest_side: int | None = None
    multiple_of: int = 1


@dataclass(frozen=True)
class Preparation:
    """The steps for one frame size, planned once per video.

    Attributes:
        frame_size: (H, W) of the frames.
        content_size: (h, w) the frame has after scaling, top left in the input.
        input_size: (h, w) of the network input.
        mirrored: Whether the padding mirrors the content (else it is black).
        to_frame: Input px -> frame px.
    """

    frame_size: tuple[int, int]
    content_size: tuple[int, int]
    input_size: tuple[int, int]
    mirrored: bool
    to_frame: ScaleShift

    def write(self, frame: Frames, out: Frames) -> None:
        """Prepare one frame (H, W, 3) into ``out`` (h, w, 3), a slot of a batch buffer.

        Raises:
            ValueError: The frame has another size than the one that was planned.
        """
        if frame.shape != (*self.frame_size, 3) or frame.dtype != np.uint8:
            raise ValueError(f"expected uint8 frames {(*self.frame_size, 3)}, got {frame.dtype} {frame.shape}")
        (h, w), (height, width) = self.content_size, self.input_size
        if self.content_size != self.frame_size:
            frame = cv2.resize(frame, (w, h), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
        if (h, w) == (height, width):
            np.copyto(out, frame)
            return
        border = cv2.BORDER_REFLECT_101 if self.mirrored else cv2.BORDER_CONSTANT
        cv2.copyMakeBorder(frame, 0, height - h, 0, width - w, border, dst=out)


def plan(spec: InputSpec, height: int, width: int) -> Preparation:
    """Work out the steps for frames of ``height`` x ``width``."""
    h, w = height, width
    filled: tuple[int, int] | None = None
    if spec.resize is not None:
        target = (spec.resize.height, spec.resize.width)
        if spec.resize.keep_ratio:
            scale = min(target[0] / h, target[1] / w)
            h, w, filled = round(h * scale), round(w * scale), target
        else:
            h, w = target
    elif spec.longest_side is not None:
        scale = spec.longest_side / max(h, w)
        h, w = round(h * scale), round(w * scale)
    size = filled or (h, w)
    multiple = spec.multiple_of
    padded = (-(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple)
    return Preparation(
        frame_size=(height, width),
        content_size=(h, w),
        input_size=padded,
        mirrored=filled is None,
        to_frame=ScaleShift(scale=(width / w, height / h)),
    )
