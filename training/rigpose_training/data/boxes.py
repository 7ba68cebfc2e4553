"""Boxes of animals: (..., 4) x, y of the upper left corner, width, height [image px], NaN where there is no animal."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Array, Floats


def keypoint_boxes(xy: Floats, margin: float) -> Floats:
    """(..., K, 2) keypoints [image px], NaN missing -> (..., 4) float64 boxes around them with a margin [px]."""
    points = xy.astype(np.float64)
    # Unlike nanmin, fmin takes NaN for an answer where an animal has no keypoints.
    low = np.fmin.reduce(points, axis=-2) - margin
    high = np.fmax.reduce(points, axis=-2) + margin
    return np.concatenate([low, high - low], axis=-1)


def clipped(boxes: Floats, size: tuple[int, int]) -> Floats:
    """The parts of ``boxes`` inside an image of ``size`` (h, w); without width or height where there is none."""
    limit = np.array(size[::-1], np.float64)
    low = np.clip(boxes[..., :2], 0, limit)
    high = np.clip(boxes[..., :2] + boxes[..., 2:], 0, limit)
    return np.concatenate([low, high - low], axis=-1)


def without_empty(boxes: Floats) -> Floats:
    """NaN for boxes without width or height."""
    return np.where((boxes[..., 2:] > 0).all(axis=-1, keepdims=True), boxes, np.nan)


def corners(boxes: Floats) -> Floats:
    """(..., 4) boxes -> (..., 4, 2) x, y of their corners [image px]."""
    (x, y), (w, h) = np.moveaxis(boxes[..., :2], -1, 0), np.moveaxis(boxes[..., 2:], -1, 0)
    return np.stack([np.stack([x + i * w, y + j * h], axis=-1) for i in (0, 1) for j in (0, 1)], axis=-2)


def moved(boxes: Floats, matrix: Floats) -> Floats:
    """The upright boxes that enclose ``boxes`` after a change of frame, a (3, 3) matrix."""
    return keypoint_boxes(corners(boxes) @ matrix[:2, :2].T + matrix[:2, 2], margin=0)


def overlapping(box: Floats, others: Floats) -> Array:
    """Which of ``others`` (M, 4) share an area with ``box`` (4,): (M,) bool."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    return np.all(high > low, axis=1)
