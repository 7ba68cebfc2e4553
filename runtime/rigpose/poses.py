"""What every decoder returns for one frame: the animals it found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Floats


@dataclass(frozen=True)
class Poses:
    """The animals of one frame. No animal is length zero; a missing keypoint is NaN in ``xy`` and ``score``.

    Attributes:
        xy: (N, K, 2) x then y [frame px].
        score: (N, K) [0, 1].
    """

    xy: Floats
    score: Floats

    def __post_init__(self) -> None:
        if self.xy.ndim != 3 or self.xy.shape[2] != 2 or self.score.shape != self.xy.shape[:2]:
            raise ValueError(f"poses need xy (N, K, 2) and score (N, K), got {self.xy.shape}, {self.score.shape}")

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
