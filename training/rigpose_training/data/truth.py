"""An image on its way into training, and the labels that every change of frame takes along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rigpose.arrays import Array, Floats, Frames
from rigpose.geometry import ScaleShift
from rigpose_training.data.boxes import clipped, moved, without_empty


@dataclass(frozen=True)
class Truth:
    """The labels of an image with N animals.

    Attributes:
        keypoints: (N, K, 2) float32 x, y [image px], NaN missing or outside.
        unique: (U, 2) float32 x, y [image px] of keypoints that exist once, NaN likewise.
        boxes: (N, 4) x, y, width, height [image px], NaN for no animal.
        unjudged: (N, K) bool, missing keypoints that may well be visible: nobody looked for them.
        crowd: (N,) bool, boxes around several animals at once.
    """

    keypoints: Floats
    unique: Floats
    boxes: Floats
    unjudged: Array
    crowd: Array

    @classmethod
    def of(cls, keypoints: Floats, *, unique: Floats | None = None, boxes: Floats | None = None) -> Truth:
        """Keypoints (N, K, 2), and nothing or little else."""
        animals, parts = keypoints.shape[:2]
        return cls(
            keypoints=keypoints,
            unique=np.empty((0, 2), np.float32) if unique is None else unique,
            boxes=np.full((animals, 4), np.nan) if boxes is None else boxes,
            unjudged=np.zeros((animals, parts), bool),
            crowd=np.zeros(animals, bool),
        )

    def rows(self, rows: Sequence[int]) -> Truth:
        """The labels of some of the animals."""
        chosen = list(rows)
        return Truth(self.keypoints[chosen], self.unique, self.boxes[chosen], self.unjudged[chosen], self.crowd[chosen])

    def followed_by(self, xy: Floats) -> Truth:
        """With another row of keypoints (K, 2) that has no box."""
        return Truth(
            keypoints=np.concatenate([self.keypoints, xy[None]]),
            unique=self.unique,
            boxes=np.concatenate([self.boxes, np.full((1, 4), np.nan)]),
            unjudged=np.concatenate([self.unjudged, np.zeros((1, len(xy)), bool)]),
            crowd=np.concatenate([self.crowd, [False]]),
        )

    def moved(self, matrix: Floats, size: tuple[int, int], order: Array | None = None) -> Truth:
        """The labels in another frame.

        Args:
            matrix: (3, 3) this frame's labels -> the other's [px].
            size: (h, w) of the other frame; what lies outside is lost.
            order: (K,) body part that each row becomes, or none for its own; keypoints that exist once keep theirs.
        """
        keypoints, unjudged = place(self.keypoints, matrix), self.unjudged
        if order is not None:
            keypoints, unjudged = keypoints[:, order], unjudged[:, order]
        return Truth(
            keypoints=inside(keypoints, size).astype(np.float32),
            unique=inside(place(self.unique, matrix), size).astype(np.float32),
            boxes=without_empty(clipped(moved(self.boxes, matrix), size)),
            unjudged=unjudged,
            crowd=self.crowd,
        )


@dataclass(frozen=True)
class Sample:
    """An image and its labels in the network's frame.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        truth: Its labels.
        to_frame: Image px -> px of the labelled image; after rotation, flip or sampled crops, px of the augmented one.
    """

    image: Frames
    truth: Truth
    to_frame: ScaleShift = field(default_factory=ScaleShift)


def place(xy: Floats, matrix: Floats) -> Floats:
    """(..., 2) points after a change of frame, a (3, 3) matrix."""
    return xy @ matrix[:2, :2].T + matrix[:2, 2]


def inside(xy: Floats, size: tuple[int, int]) -> Floats:
    """``xy`` (..., 2) with NaN for points outside an image of ``size`` (h, w)."""
    limit = np.array(size[::-1], xy.dtype)
    here = np.all((xy >= 0) & (xy < limit), axis=-1, keepdims=True)
    return np.where(here, xy, np.nan).astype(xy.dtype)
