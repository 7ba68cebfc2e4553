"""Videos in which a model of several animals finds places that follow from the frame's number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from drawn_video import BrightestCell, numbers_in

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Array, Floats
from rigpose.models.model_spec import DekrGrouping, ModelSpec

SPEC = ModelSpec(
    task="dekr",
    architecture="herd",
    keypoints=("nose", "tail"),
    individuals=("ann", "bob", "cat"),
    unique_keypoints=("food",),
    grouping=DekrGrouping(max_animals=3, apply_pose_nms=False),
    dense={"bodypart": {}, "unique_bodypart": {}, "identity": {}},
)
FRAMES = 45
NOBODY = range(20, 25)
WITHOUT_BOB = range(30, 33)


def nose(animal: int, number: int) -> tuple[float, float]:
    """Where the nose of an animal is in a frame; its tail is 8 px below [frame px]."""
    return 20.0 + 45 * animal + 0.5 * number, 40.0 - 0.25 * number


def expected(number: int) -> Floats:
    """(3, 2, 3) x, y, score of all animals in a frame; NaN for those that are not there."""
    found = np.full((3, 2, 3), np.nan, np.float32)
    for animal in range(3):
        if number not in NOBODY and not (animal == 1 and number in WITHOUT_BOB):
            x, y = nose(animal, number)
            found[animal] = [[x, y, 0.9], [x, y + 8, 0.8]]
    return found


class Herd(BrightestCell):
    """A session that gives the three animals in an order that changes from frame to frame, and one more place."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Poses, centres, identities and unique keypoints of frames that say their number."""
        numbers = numbers_in(super().run(inputs)["keypoints"][:, None, :, :2])
        poses = np.zeros((len(numbers), 4, 2, 3), np.float32)
        center = np.zeros((len(numbers), 4), np.float32)
        identity = np.zeros((len(numbers), 2, 4, 3), np.float32)
        for b, number in enumerate(numbers):
            there = expected(number)
            for animal in np.flatnonzero(~np.isnan(there[:, 0, 0])):
                row = (animal + number) % 4
                poses[b, row] = there[animal]
                center[b, row] = 0.5 + 0.1 * row
                identity[b, :, row] = 0.1
                identity[b, :, row, animal] = 0.8
        unique = np.array([[[number, 2 * number, 0.7]] for number in numbers], np.float32)
        return {"poses": poses, "center": center, "identity": identity, "unique": unique}


def herd(spec: ModelSpec = SPEC) -> Analyzer:
    """The analyzer of such videos."""
    return Analyzer(spec, Herd())
