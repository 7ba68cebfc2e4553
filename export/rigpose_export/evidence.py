"""What the graphs of a bundle are proved on: frames, and what a pose graph is told that sees one animal at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rigpose.analyzers.top_down import BoxAnalyzer
from rigpose.arrays import Floats, Frames
from rigpose.bundles.golden import Told
from rigpose.errors import ConfigError
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose_export.reference import Reference
from rigpose_export.source import ExportSource, frames_given, spread
from rigpose_training.data.boxes import clipped, keypoint_boxes
from rigpose_training.data.labelled import LabelledImage, with_boxes
from rigpose_training.evaluation.frames import read_frame

MOST_ANIMALS = 2
"""Made up in a frame that nobody labelled."""
SURE = 0.9
"""Score of the rough poses."""
MOST_MEASURED = 200
"""Labelled images; every graph sees the same, so the difference of two errors is known far better than an error."""
MOST_CALIBRATED = 64
"""Images that quantisation sees, since ranges of activations hardly grow with more; and frames without labels."""


@dataclass(frozen=True)
class Evidence:
    """What a proof is made on.

    Attributes:
        frames: Real frames of one size, uint8 BGR.
        told: What the pose graph is told about them.
        described: Where the frames came from.
    """

    frames: tuple[Frames, ...]
    told: Told
    described: str


@dataclass(frozen=True)
class Picture:
    """One picture that graphs are measured on.

    Attributes:
        frame: (H, W, 3) uint8 BGR.
        told: What the pose graph is told about it.
        image: Its labels, if it has any.
    """

    frame: Frames
    told: Told
    image: LabelledImage | None = None


@dataclass(frozen=True)
class Pictures:
    """Pictures one after the other, each read when it is its turn.

    Attributes:
        reference: Whose detector says where animals are that nobody labelled.
        source: Where they come from.
        images: The labelled ones; without them the frames that the user gave, or those of the proof.
        most: At most so many.
        described: What they are, for the certificate.
    """

    reference: Reference
    source: ExportSource
    images: tuple[LabelledImage, ...]
    most: int
    described: str

    def __len__(self) -> int:
        """How many there are at most."""
        if self.images:
            return min(self.most, len(self.images))
        return self.most if self.source.given else len(self.source.frames)

    def __iter__(self) -> Iterator[Picture]:
        """Read them.

        Raises:
            MediaError: One is missing or broken.
        """
        spec = self.reference.spec
        if self.images:
            for row in spread(len(self.images), self.most):
                frame, image = read_frame(self.images[row].path), self.images[row]
                yield Picture(frame, _told_labels(spec, image), image)
            return
        frames = frames_given(self.source.given, self.most) if self.source.given else iter(self.source.frames)
        for frame in frames:
            yield Picture(frame, _told(self.reference, [frame], _animals(spec, [frame], ())))


def measured_pictures(reference: Reference, source: ExportSource) -> Pictures:
    """What precisions and metrics are measured on: the labelled test split, without labels the frames that were given.

    A shuffle without a test split is measured on its training images.
    """
    images = source.tested or source.trained
    if not images:
        return Pictures(reference, source, (), MOST_CALIBRATED, source.frames_described)
    which = "test" if source.tested else "training (there are no test images)"
    some = "" if len(images) <= MOST_MEASURED else f" {MOST_MEASURED} of"
    return Pictures(reference, source, images, MOST_MEASURED, f"on{some} {len(images)} labelled {which} images")


def calibration_pictures(reference: Reference, source: ExportSource) -> Pictures:
    """What quantisation sees: labelled training images, or the frames that were given.

    Raises:
        ConfigError: There are only drawn frames, which look like no camera's.
    """
    if not source.trained and not source.given:
        raise ConfigError(
            "--precision int8: is calibrated on your own pictures; give a video or images of your camera with --frames."
        )
    return Pictures(reference, source, source.trained, MOST_CALIBRATED, source.frames_described)


def gather_evidence(reference: Reference, source: ExportSource) -> Evidence:
    """Frames of the source, with boxes and rough poses where the model needs them.

    A pose network is told the boxes that its own detector finds in torch. Where there is no detector, or where it
    finds nothing, boxes are around the labels, and without labels around points in the frame: a graph that is right
    is right in any box. Rough poses are the labels, or such points.
    """
    animals = _animals(reference.spec, source.frames, source.animals)
    return Evidence(source.frames, _told(reference, source.frames, animals), source.frames_described)


def _told(reference: Reference, frames: Sequence[Frames], animals: Sequence[Floats]) -> Told:
    spec = reference.spec
    if spec.task == "conditional_top_down":
        return Told(conditions=tuple(_rough(xy) for xy in animals))
    if spec.task != "top_down":
        return Told()
    around = [_around(xy, frame, spec.box_margin) for xy, frame in zip(animals, frames, strict=True)]
    found = _found(reference, frames)
    return Told(boxes=tuple(boxes if len(boxes) else other for boxes, other in zip(found, around, strict=True)))


def _told_labels(spec: ModelSpec, image: LabelledImage) -> Told:
    """Boxes and rough poses of the labels alone, so that every graph is told the same."""
    if spec.task == "conditional_top_down":
        return Told(conditions=(_rough(image.xy[~np.isnan(image.xy).all(axis=(1, 2))]),))
    if spec.task != "top_down":
        return Told()
    (boxed,) = with_boxes([image], spec.box_margin)
    boxes = np.asarray(boxed.boxes)
    return Told(boxes=(boxes[~np.isnan(boxes).any(axis=1)],))


def _found(reference: Reference, frames: Sequence[Frames]) -> list[Floats]:
    """(N, 4) x, y, width, height [frame px] of each frame's boxes in which poses would be looked for."""
    if reference.detector is None or reference.detector_spec is None:
        return [np.empty((0, 4), np.float32)] * len(frames)
    analyzer = BoxAnalyzer(reference.detector_spec, reference.detector)
    chosen = [analyzer.animals(boxes).xyxy for boxes in analyzer.predict(frames)]
    boxes = [np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1) for xyxy in chosen]
    return [rows[(rows[:, 2:] >= 1).all(axis=1)] for rows in boxes]


def _animals(spec: ModelSpec, frames: Sequence[Frames], labelled: Sequence[Floats]) -> list[Floats]:
    """(N, K, 2) x, y [frame px] of each frame's animals, labelled or made up."""
    shape = (min(MOST_ANIMALS, len(spec.individuals)), len(spec.keypoints), 2)
    rng = np.random.default_rng(0)
    animals = []
    for i, frame in enumerate(frames):
        xy = labelled[i] if labelled else np.empty((0, *shape[1:]))
        xy = xy[~np.isnan(xy).all(axis=(1, 2))]
        if not len(xy):
            # Each in a part of the frame that is half as wide and high.
            size = np.array(frame.shape[1::-1], float)
            corner = rng.uniform(0, 0.5, (shape[0], 1, 2))
            xy = (corner + rng.uniform(0, 0.5, shape)) * size
        animals.append(xy)
    return animals


def _rough(xy: Floats) -> Poses:
    score = np.where(np.isnan(xy[..., 0]), np.nan, SURE)
    return Poses(xy.astype(np.float32), score.astype(np.float32))


def _around(xy: Floats, frame: Frames, margin: float) -> Floats:
    boxes = clipped(keypoint_boxes(xy, margin), (frame.shape[0], frame.shape[1]))
    return boxes[(boxes[:, 2:] >= 1).all(axis=1)]
