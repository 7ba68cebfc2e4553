"""The fields of one item, as networks, targets and metrics take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.geometry import ScaleShift
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.truth import Truth

VISIBLE, UNJUDGED = 2.0, -1.0
SCORE = 1.0


def image_fields(labelled: LabelledImage, image: Floats, to_frame: ScaleShift) -> dict[str, Any]:
    """The fields that belong to the image.

    Args:
        labelled: Where it comes from.
        image: (3, h, w) float32, as the network takes it.
        to_frame: The way back.
    """
    return {
        "image": image,
        "path": str(labelled.path),
        "original_size": np.array((*labelled.shape, 3)),
        "offsets": np.array(to_frame.shift, np.float64),
        "scales": np.array(to_frame.scale, np.float64),
    }


def animal_fields(truth: Truth, individuals: Array) -> dict[str, Array]:
    """The fields that belong to the animals.

    Args:
        truth: The labels of N animals [image px].
        individuals: (N,) which of the project's individuals each row is.

    Returns:
        ``keypoints`` (N, K, 3) and ``keypoints_unique`` (U, 3) x, y [image px] and visibility (2 labelled, 0 missing,
        -1 not judged, both at 0, 0); ``individual_ids`` (N,), -1 where no keypoint of the animal is left; ``boxes``
        (N, 4) x, y, width, height and ``area`` (N,) [image px], zeros where there is no box; ``labels`` (N,) 1 for an
        animal with a box, else 0; ``is_crowd`` (N,) 1 or 0.
    """
    keypoints = with_visibility(truth.keypoints)
    keypoints[..., 2] = np.where(truth.unjudged & (keypoints[..., 2] == 0), UNJUDGED, keypoints[..., 2])
    boxed: Array = np.isfinite(truth.boxes[:, 2])
    boxes = np.where(boxed[:, None], truth.boxes, 0).astype(np.float32)
    # Sides count one pixel at least, as in DeepLabCut.
    area = np.where(boxed, np.prod(np.maximum(boxes[:, 2:], 1), axis=-1), 0).astype(np.float32)
    left = (keypoints[..., 2] > 0).any(axis=1)
    return {
        "keypoints": keypoints,
        "keypoints_unique": with_visibility(truth.unique),
        "individual_ids": np.where(left, individuals, -1),
        "boxes": boxes,
        "area": area,
        "labels": boxed.astype(np.int64),
        "is_crowd": truth.crowd.astype(np.int64),
    }


def with_visibility(xy: Floats) -> Floats:
    """(..., 2) -> (..., 3): missing points become 0, 0 with visibility 0, as the targets expect."""
    missing = np.isnan(xy).any(axis=-1, keepdims=True)
    flagged = np.concatenate([xy, np.full_like(xy[..., :1], VISIBLE)], axis=-1)
    return np.where(missing, 0.0, flagged).astype(np.float32)


def with_score(xy: Floats) -> Floats:
    """(K, 2) -> (K, 3): a condition's keypoints with a score of 1; 0, 0, 0 where there is none."""
    missing = np.isnan(xy).any(axis=-1, keepdims=True)
    return np.where(missing, 0.0, np.concatenate([xy, np.full_like(xy[:, :1], SCORE)], axis=-1)).astype(np.float32)
