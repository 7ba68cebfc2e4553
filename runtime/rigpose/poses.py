"""What every decoder returns for one frame: the animals it found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.geometry import ScaleShift


@dataclass(frozen=True)
class Poses:
    """The animals of one frame. No animal is length zero; a missing keypoint is NaN in ``xy`` and ``score``.

    Attributes:
        xy: (N, K, 2) x then y [frame px].
        score: (N, K) [0, 1].
        animal_score: (N,) what the model thinks of each animal as a whole: mean affinity of its pairs of peaks (part
            affinity fields), score of its centre (DEKR), of its box (top-down pair) or of the rough pose that it was
            looked for at (conditional top-down). None for models that have no such number.
        identity: (N,) index of the individual that each animal is, -1 for none of them. None for models that do not
            tell individuals apart.
        identity_scores: (N, K, I) how much each keypoint looks like each individual [0, 1], 0 for missing keypoints.
        unique: (U, 3) x, y [frame px], score of the keypoints that exist once per frame; None where there are none.
        boxes: (N, 4) x, y of the upper left corner, width, height [frame px] of the box that each animal was looked for
            in. None for models that look at whole frames.
    """

    xy: Floats
    score: Floats
    animal_score: Floats | None = None
    identity: Array | None = None
    identity_scores: Floats | None = None
    unique: Floats | None = None
    boxes: Floats | None = None

    def __post_init__(self) -> None:
        if self.xy.ndim != 3 or self.xy.shape[2] != 2 or self.score.shape != self.xy.shape[:2]:
            raise ValueError(f"poses need xy (N, K, 2) and score (N, K), got {self.xy.shape}, {self.score.shape}")
        for name in ("animal_score", "identity", "identity_scores", "boxes"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.xy):
                raise ValueError(f"{name} needs one row per animal ({len(self.xy)}), got {values.shape}")

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def keypoints(self) -> int:
        """K, the number of keypoints of one animal."""
        return self.xy.shape[1]

    @classmethod
    def empty(cls, keypoints: int) -> Poses:
        """A frame without animals."""
        return cls(np.empty((0, keypoints, 2), np.float32), np.empty((0, keypoints), np.float32))

    @classmethod
    def from_array(cls, array: Floats) -> Poses:
        """Split (N, K, 3) x, y [frame px], score into poses."""
        return cls(xy=array[..., :2], score=array[..., 2])

    def to_array(self) -> Floats:
        """(N, K, 3) x, y [frame px], score."""
        return np.concatenate([self.xy, self.score[..., None]], axis=-1)

    def moved(self, to_frame: ScaleShift) -> Poses:
        """The same animals in another frame of reference."""
        unique = self.unique
        if unique is not None:
            unique = np.concatenate([to_frame.apply(unique[:, :2]), unique[:, 2:]], axis=1)
        boxes = self.boxes
        if boxes is not None:
            size = boxes[:, 2:] * np.asarray(to_frame.scale, boxes.dtype)
            boxes = np.concatenate([to_frame.apply(boxes[:, :2]), size], axis=1)
        return replace(self, xy=to_frame.apply(self.xy), unique=unique, boxes=boxes)

    def take(self, rows: Array) -> Poses:
        """These animals in this order; what belongs to the whole frame stays."""
        picked = {
            name: values[rows]
            for name in ("xy", "score", "animal_score", "identity", "identity_scores", "boxes")
            if (values := getattr(self, name)) is not None
        }
        return replace(self, **picked)
