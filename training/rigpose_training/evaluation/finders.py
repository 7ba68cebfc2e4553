"""How a model finds the animals of labelled images: as on the rig, or with help from the labels or from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rigpose.analyzers.analyzer import PoseAnalyzer
from rigpose.analyzers.conditional import ConditionalAnalyzer
from rigpose.analyzers.top_down import CropAnalyzer, TopDownAnalyzer
from rigpose.arrays import Frames
from rigpose.measures.box_metrics import Boxes
from rigpose.poses import Poses
from rigpose.progress import Progress, progress
from rigpose_training.data.labelled import LabelledImage, with_boxes
from rigpose_training.evaluation.conditions import RoughPoses
from rigpose_training.evaluation.frames import read_frame


@dataclass(frozen=True)
class Found:
    """What a model found in images, in their order.

    Attributes:
        poses: Of each image [image px].
        boxes: All boxes of each image that a detector gave, also those without a pose; nothing without a detector.
    """

    poses: list[Poses] = field(default_factory=list)
    boxes: list[Boxes] = field(default_factory=list)


class Finder(Protocol):
    """Finds the animals of frames."""

    def __call__(self, frames: Sequence[Frames], images: Sequence[LabelledImage]) -> Found:
        """Frames, and the labelled images that they are, -> what is in them."""
        ...


@dataclass(frozen=True)
class WholeFrames:
    """A model that needs nothing but frames."""

    analyzer: PoseAnalyzer

    def __call__(self, frames: Sequence[Frames], images: Sequence[LabelledImage]) -> Found:
        """See ``Finder``."""
        del images
        return Found(self.analyzer.predict(frames))


@dataclass(frozen=True)
class DetectedBoxes:
    """A top-down pair, whose boxes are judged too."""

    analyzer: TopDownAnalyzer

    def __call__(self, frames: Sequence[Frames], images: Sequence[LabelledImage]) -> Found:
        """See ``Finder``."""
        del images
        boxes = self.analyzer.detector.predict(frames)
        return Found(self.analyzer.poses_in(frames, boxes), boxes)


@dataclass(frozen=True)
class LabelledBoxes:
    """A top-down model without detector: it looks where the labels are.

    Attributes:
        crops: The model.
        margin: Around the keypoints of an animal whose box nobody drew [px].
    """

    crops: CropAnalyzer
    margin: float

    def __call__(self, frames: Sequence[Frames], images: Sequence[LabelledImage]) -> Found:
        """See ``Finder``."""
        boxes = [np.asarray(image.boxes) for image in with_boxes(images, self.margin)]
        return Found(self.crops.predict(frames, [rows[~np.isnan(rows).any(axis=1)] for rows in boxes]))


@dataclass(frozen=True)
class Conditions:
    """A conditional top-down model and the source of its rough poses."""

    analyzer: ConditionalAnalyzer
    rough: RoughPoses

    def __call__(self, frames: Sequence[Frames], images: Sequence[LabelledImage]) -> Found:
        """See ``Finder``."""
        return Found(self.analyzer.predict(frames, self.rough(frames, images)))


def find_all(
    images: Sequence[LabelledImage],
    finder: Finder,
    *,
    batch: int = 8,
    description: str = "Evaluating",
    show: Progress = progress,
) -> Found:
    """What is in labelled images of any sizes, in their order; those of one size run together.

    Args:
        images: On disk.
        finder: How animals are found.
        batch: Images at a time.
        description: Shown before the progress.
        show: How progress is shown.

    Raises:
        MediaError: An image is missing or broken.
    """
    order = sorted(range(len(images)), key=lambda i: images[i].size or (0, 0))
    every = Found()
    with show(description, len(images), "images") as advance:
        for start in range(0, len(order), batch):
            chosen = [images[i] for i in order[start : start + batch]]
            found = finder([read_frame(image.path) for image in chosen], chosen)
            every.poses.extend(found.poses)
            every.boxes.extend(found.boxes)
            advance(len(chosen))
    back = np.argsort(order) if order else []
    return Found([every.poses[i] for i in back], [every.boxes[i] for i in back] if every.boxes else [])
