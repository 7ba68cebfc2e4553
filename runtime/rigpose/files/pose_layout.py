"""What is kept of a model's poses on disk: a fixed row of float32 per frame and per animal."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from rigpose.arrays import Floats
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses

_PARTS = ("poses", "animal_score", "identity", "identity_scores", "boxes")


@dataclass(frozen=True)
class PoseLayout:
    """Which values there are, in this order: unique keypoints once per frame; then for each animal the rest.

    Attributes:
        keypoints: K names; x, y, score each.
        unique: U names of keypoints that exist once per frame; x, y, score each.
        animal_score: Whether an animal has a score of its own.
        told_apart: I names of the individuals that the model tells apart, if any: which one an animal is, and a score
            for each keypoint and individual.
        boxes: Whether an animal has a box; x, y, width, height.
    """

    keypoints: tuple[str, ...]
    unique: tuple[str, ...] = ()
    animal_score: bool = False
    told_apart: tuple[str, ...] = ()
    boxes: bool = False

    @classmethod
    def of(cls, spec: ModelSpec) -> PoseLayout:
        """What the poses of this model have."""
        of_crops = spec.crop is not None
        return cls(
            keypoints=spec.keypoints,
            unique=() if of_crops else spec.unique_keypoints,
            animal_score=spec.task != "single_animal",
            told_apart=spec.individuals if "identity" in spec.dense and not of_crops else (),
            boxes=of_crops,
        )

    @property
    def frame_values(self) -> int:
        """Values per frame."""
        return 3 * len(self.unique)

    @property
    def animal_values(self) -> int:
        """Values per animal."""
        return sum(self._widths)

    def pack(self, poses: Poses) -> bytes:
        """One frame's poses; a frame without animals may lack what only animals have.

        Raises:
            ValueError: They have something that has no place here, or lack something.
        """
        count = len(poses)
        parts = (poses.to_array(), poses.animal_score, poses.identity, poses.identity_scores, poses.boxes)
        for name, part, width in zip(_PARTS, parts, self._widths, strict=True):
            given = 0 if part is None else part.size
            if count and given != count * width:
                raise ValueError(f"{name}: {given} values of {count} animals, and the layout has {width} of each")
        frame = np.full(self.frame_values, np.nan) if poses.unique is None else poses.unique
        if frame.size != self.frame_values:
            raise ValueError(f"unique: {frame.size} values, and the layout has {self.frame_values}")
        rows = [part.reshape(count, -1) for part in parts if count and part is not None]
        animals = np.concatenate(rows, axis=1) if rows else np.empty(0)
        return frame.astype(np.float32).tobytes() + animals.astype(np.float32).tobytes()

    def unpack(self, data: bytes, animals: int) -> Poses:
        """The inverse of ``pack``."""
        values = np.frombuffer(data, np.float32)
        unique, rows = values[: self.frame_values], values[self.frame_values :].reshape(animals, self.animal_values)
        ends = tuple(accumulate(self._widths, initial=0))
        pose, score, identity, likeness, boxes = (rows[:, start:end] for start, end in pairwise(ends))
        array = pose.reshape(animals, len(self.keypoints), 3)
        told = len(self.told_apart)
        return Poses(
            xy=array[..., :2],
            score=array[..., 2],
            animal_score=score[:, 0] if self.animal_score else None,
            identity=identity[:, 0].astype(int) if told else None,
            identity_scores=likeness.reshape(animals, len(self.keypoints), told) if told else None,
            unique=_unique(unique),
            boxes=boxes if self.boxes else None,
        )

    @property
    def _widths(self) -> tuple[int, ...]:
        """Values of an animal's pose, score, identity, identity scores and box."""
        points, told = len(self.keypoints), len(self.told_apart)
        return (3 * points, int(self.animal_score), int(told > 0), points * told, 4 * self.boxes)


def _unique(values: Floats) -> Floats | None:
    return values.reshape(-1, 3) if len(values) else None
