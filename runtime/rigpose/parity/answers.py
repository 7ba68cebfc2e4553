"""What a graph alone answers, in a form in which two answers can be compared.

A pose graph is told the boxes or rough poses that another model would have found; a detector gives its best boxes as
poses of two keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rigpose.analyzers.analyzer import Analyzer
from rigpose.analyzers.conditional import ConditionalAnalyzer
from rigpose.analyzers.top_down import BoxAnalyzer, CropAnalyzer
from rigpose.arrays import Frames
from rigpose.bundles.golden import Told
from rigpose.measures.box_metrics import Boxes
from rigpose.measures.differences import Tolerance
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.poses import Poses
from rigpose.sessions import Session


def poses_of(spec: ModelSpec, session: Session, frames: Sequence[Frames], told: Told) -> list[Poses]:
    """Poses of frames by a pose graph alone, which is told what other models would have found [frame px]."""
    if spec.crop is None:
        return Analyzer(spec, session).predict(frames)
    crops = CropAnalyzer(spec, session)
    if spec.task == "conditional_top_down":
        assert told.conditions is not None
        return ConditionalAnalyzer(crops).predict(frames, told.conditions)
    assert told.boxes is not None
    return crops.predict(frames, told.boxes)


def boxes_of(spec: DetectorSpec, session: Session, frames: Sequence[Frames], tolerance: Tolerance) -> list[Poses]:
    """The best boxes of frames by a detector graph, as ``best_boxes`` gives them."""
    return [best_boxes(spec, boxes, tolerance) for boxes in BoxAnalyzer(spec, session).predict(frames)]


def boxes_in(found: Sequence[Poses]) -> list[Poses]:
    """The boxes that a combined graph looked into, as poses of two keypoints like ``best_boxes``."""
    corners = []
    for poses in found:
        assert poses.boxes is not None
        assert poses.animal_score is not None
        xyxy = np.stack([poses.boxes[:, :2], poses.boxes[:, :2] + poses.boxes[:, 2:]], axis=1)
        corners.append(Poses(xyxy, np.repeat(poses.animal_score[:, None], 2, axis=1)))
    return corners


def best_boxes(spec: DetectorSpec, boxes: Boxes, tolerance: Tolerance) -> Poses:
    """The best boxes of a frame as poses of two keypoints: the upper left and the lower right.

    The first ``boxes_compared(spec)`` are the best; behind them are those that another rounding might put among them.
    """
    most = boxes_compared(spec)
    least = boxes.score[most - 1] - 2 * tolerance.box_score if len(boxes.score) > most else 0.0
    rows = boxes.score >= least
    return Poses(boxes.xyxy[rows].reshape(-1, 2, 2), np.repeat(boxes.score[rows, None], 2, axis=1))


def boxes_compared(spec: DetectorSpec) -> int:
    """Boxes of a frame that are compared: twice as many as poses are looked for in, so that there is room for more."""
    return 2 * spec.max_animals
