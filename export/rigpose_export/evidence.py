"""What the graphs of a bundle are proved on: frames, and what a pose graph is told that sees one animal at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rigpose.arrays import Floats, Frames
from rigpose.golden import Told
from rigpose.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.top_down import BoxAnalyzer
from rigpose_export.parity import Evidence
from rigpose_export.reference import Reference
from rigpose_export.source import ExportSource
from rigpose_training.data.boxes import clipped, keypoint_boxes

MOST_ANIMALS = 2
"""Made up in a frame that nobody labelled."""
SURE = 0.9
"""Score of the rough poses."""


def gather_evidence(reference: Reference, source: ExportSource) -> Evidence:
    """Frames of the source, with boxes and rough poses where the model needs them.

    A pose network is told the boxes that its own detector finds in torch. Where there is no detector, or where it
    finds nothing, boxes are around the labels, and without labels around points in the frame: a graph that is right
    is right in any box. Rough poses are the labels, or such points.
    """
    spec = reference.spec
    animals = _animals(spec, source)
    told = Told()
    if spec.task == "conditional_top_down":
        told = Told(conditions=tuple(_rough(xy) for xy in animals))
    elif spec.task == "top_down":
        around = [_around(xy, frame, spec.box_margin) for xy, frame in zip(animals, source.frames, strict=True)]
        found = _found(reference, source.frames)
        told = Told(boxes=tuple(boxes if len(boxes) else other for boxes, other in zip(found, around, strict=True)))
    return Evidence(source.frames, told, source.frames_described)


def _found(reference: Reference, frames: Sequence[Frames]) -> list[Floats]:
    """(N, 4) x, y, width, height [frame px] of each frame's boxes in which poses would be looked for."""
    if reference.detector is None or reference.detector_spec is None:
        return [np.empty((0, 4), np.float32)] * len(frames)
    analyzer = BoxAnalyzer(reference.detector_spec, reference.detector)
    chosen = [analyzer.animals(boxes).xyxy for boxes in analyzer.predict(frames)]
    boxes = [np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1) for xyxy in chosen]
    return [rows[(rows[:, 2:] >= 1).all(axis=1)] for rows in boxes]


def _animals(spec: ModelSpec, source: ExportSource) -> list[Floats]:
    """(N, K, 2) x, y [frame px] of each frame's animals, labelled or made up."""
    shape = (min(MOST_ANIMALS, len(spec.individuals)), len(spec.keypoints), 2)
    rng = np.random.default_rng(0)
    animals = []
    for i, frame in enumerate(source.frames):
        xy = source.animals[i] if source.animals else np.empty((0, *shape[1:]))
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
