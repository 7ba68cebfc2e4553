"""The crop around one animal: which frame pixels a top-down network sees, and the way back.

The numbers are those of DeepLabCut's inference, and training cuts its crops here, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from rigpose.arrays import Array, Floats, Frames
from rigpose.errors import ConfigError
from rigpose.geometry import ScaleShift

Box: TypeAlias = Floats | Sequence[float]
"""(4,) x, y of the upper left corner, width, height [frame px]."""
Rectangle: TypeAlias = tuple[int, int, int, int]
"""x1, y1, x2, y2 [frame px]; the second corner is outside."""


@dataclass(frozen=True)
class CropSpec:
    """How boxes become network inputs.

    Attributes:
        width: Of the input [px].
        height: Of the input [px].
        margin: Added to the box on each side [frame px].
        with_context: Grow the box to the input's shape and show the frame there; otherwise black fills the input
            beside the box.
    """

    width: int
    height: int
    margin: int = 0
    with_context: bool = True

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise ConfigError(f"top_down_crop: {self.width} x {self.height} px is no size; give at least 1 x 1.")


@dataclass(frozen=True)
class Crop:
    """One crop of one frame.

    Attributes:
        window: The rectangle that fills the input; it may lie partly or wholly outside the frame.
        content: The part of it that shows the frame; the rest is black. Nothing where x1 >= x2 or y1 >= y2.
        size: (width, height) of the input [px].
    """

    window: Rectangle
    content: Rectangle
    size: tuple[int, int]

    @property
    def to_frame(self) -> ScaleShift:
        """Input px -> frame px."""
        x1, y1, x2, y2 = self.window
        return ScaleShift(scale=((x2 - x1) / self.size[0], (y2 - y1) / self.size[1]), shift=(x1, y1))

    @property
    def points(self) -> Floats:
        """(3, 3) frame label -> input label [px], the inverse of ``to_frame``."""
        (sx, sy), (x1, y1) = self.to_frame.scale, self.to_frame.shift
        return np.array([[1 / sx, 0, -x1 / sx], [0, 1 / sy, -y1 / sy], [0, 0, 1]])

    @property
    def pixels(self) -> Floats:
        """(3, 3) frame pixel index -> input pixel index, as ``cv2.resize`` places the centres of pixels."""
        matrix = self.points
        scale = matrix[[0, 1], [0, 1]]
        matrix[:2, 2] += (scale - 1) / 2
        return matrix

    def write(self, frame: Frames, out: Frames) -> None:
        """Cut the crop out of ``frame`` (H, W, 3) into ``out`` (height, width, 3), a slot of a batch buffer."""
        x1, y1, x2, y2 = self.content
        if x1 >= x2 or y1 >= y2:
            out[:] = 0
            return
        shown: Array = frame[y1:y2, x1:x2]
        left, top, right, bottom = (abs(inner - outer) for inner, outer in zip(self.content, self.window, strict=True))
        if left or top or right or bottom:
            shown = cv2.copyMakeBorder(shown, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        np.copyto(out, cv2.resize(shown, self.size, interpolation=cv2.INTER_LINEAR))


def plan_crop(box: Box, frame_size: tuple[int, int] | None, spec: CropSpec) -> Crop:
    """The crop around a box, as DeepLabCut's inference cuts it.

    The arithmetic keeps the precision of ``box``, so that a detector's float32 corners round as in DeepLabCut. Where
    DeepLabCut fails, a window is one pixel wide and high at least, and black where it shows nothing of the frame.

    Args:
        box: It may reach beyond the frame, and be empty.
        frame_size: (H, W), or none for a frame without borders.
        spec: How to cut.
    """
    x, y, w, h = box
    centre_x, centre_y = x + w / 2, y + h / 2
    w, h = w + 2 * spec.margin, h + 2 * spec.margin
    if spec.with_context:
        w, h = _grown(w, h, spec.width / spec.height)
    x1, y1 = round(centre_x - w / 2), round(centre_y - h / 2)
    x2, y2 = round(centre_x + w / 2), round(centre_y + h / 2)
    if spec.with_context:
        x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    window = content = (x1, y1, x2, y2)
    if frame_size is not None:
        height, width = frame_size
        content = (max(x1, 0), max(y1, 0), min(x2, width), min(y2, height))
    if not spec.with_context:
        window = _padded(window, content, spec.width / spec.height)
    return Crop(window, content, (spec.width, spec.height))


def _grown(w: float, h: float, ratio: float) -> tuple[float, float]:
    """The sides, one of them longer, so that width / height is ``ratio``."""
    if w > 0 and (h == 0 or w / h > ratio):
        return w, w / ratio
    if h > 0 and w / h < ratio:
        return h * ratio, h
    return w, h


def _padded(window: Rectangle, content: Rectangle, ratio: float) -> Rectangle:
    """The window with black on two sides, so that what it shows keeps its proportions.

    DeepLabCut mixes up the two sides unless the input is square, which distorts the animal. Matched, because
    networks have learnt from such crops; poses are mapped back by the true window.
    """
    x1, y1, x2, y2 = window
    w, h = content[2] - content[0], content[3] - content[1]
    across = int(h - w / ratio) // 2 if h > 0 and 0 <= w / h < ratio else 0
    down = int(w - h * ratio) // 2 if h > 0 and w / h > ratio else 0
    x1, y1, x2, y2 = x1 - across, y1 - down, x2 + across, y2 + down
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)
