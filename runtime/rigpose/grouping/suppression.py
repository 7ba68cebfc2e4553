"""Of boxes or poses that lie upon each other, the best one: greedy non-maximum suppression."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.measures.box_metrics import intersection_over_union
from rigpose.measures.metrics import OKS_SIGMA
from rigpose.poses import Poses

MARGIN = 1.0
"""Added on every side of a pose before its area is taken [px], as in DeepLabCut: a pose on a line has an area, too."""
MARGIN_OF_ONE_KEYPOINT = 40.0
"""The same for models of one keypoint [px], whose animals have no extent; the trackers' box around a point."""


def keep_boxes(xyxy: Floats, score: Floats, *, iou: float) -> Array:
    """Drop every box that overlaps a better one that stays, as torchvision does.

    Args:
        xyxy: (D, 4) left, top, right, bottom [px]. A row with a NaN or infinite value is no box, nor is one whose right
            or lower side lies before the other.
        score: (D,) which boxes are better; NaN or infinite makes a row no box. Of equal ones the first is better.
        iou: The largest intersection over union that two boxes that stay may have.

    Returns:
        Indices of the boxes that stay, the best first.
    """
    usable = np.isfinite(xyxy).all(axis=1) & np.isfinite(score) & (xyxy[:, 2:] >= xyxy[:, :2]).all(axis=1)
    rows = np.flatnonzero(usable)[_best_first(score[usable])]
    boxes = xyxy[rows].astype(np.float64)
    return rows[_stay(intersection_over_union(boxes, boxes) > iou)]


def keep_poses(poses: Poses, *, oks: float, sigma: float = OKS_SIGMA) -> Array:
    """Drop every pose that is as similar as ``oks``, or more, to a better one that stays.

    The similarity is COCO's, of the better pose to the keypoints of the other one, relative to the other one's box.
    Better is the pose with the higher ``animal_score``, or where there is none, mean score of its keypoints; of equal
    ones the first. A pose without keypoints is like no other and stays.

    Args:
        poses: One frame's animals.
        oks: Object keypoint similarity (0, 1]; 1 drops identical poses only.
        sigma: Tolerance, the same for every keypoint, relative to the root of the area.

    Returns:
        Indices of the poses that stay, the best first.
    """
    present = np.isfinite(poses.xy).all(axis=2) & np.isfinite(poses.score)  # (N, K)
    count = present.sum(axis=1)
    score = np.where(present, poses.score, 0.0).sum(axis=1) / np.maximum(count, 1)
    if poses.animal_score is not None:
        score = poses.animal_score
    rows = _best_first(np.where(np.isfinite(score), score, -np.inf))
    similar = _similarity(np.where(present[rows, :, None], poses.xy[rows], np.nan).astype(np.float64), sigma)
    return rows[_stay(similar >= oks)]


def without_doubles(poses: Poses, *, oks: float) -> Poses:
    """The animals that ``keep_poses`` keeps, in the order that they had."""
    kept = np.sort(keep_poses(poses, oks=oks))
    return poses if len(kept) == len(poses) else poses.take(kept)


def _best_first(score: Floats) -> Array:
    return np.argsort(-score, kind="stable")


def _stay(drops: Array) -> Array:
    """(N, N) whether each one, the best first, drops each other -> rows of those that no one who stays drops."""
    drops = np.triu(drops, k=1)
    stays = np.ones(len(drops), bool)
    for row in np.flatnonzero(drops.any(axis=1)):
        if stays[row]:
            stays &= ~drops[row]
    return np.flatnonzero(stays)


def _similarity(xy: Floats, sigma: float) -> Floats:
    """(N, K, 2), NaN where missing -> (N, N) row i column j: object keypoint similarity of pose i to pose j."""
    margin = MARGIN if xy.shape[1] > 1 else MARGIN_OF_ONE_KEYPOINT
    extent = np.fmax.reduce(xy, axis=1) - np.fmin.reduce(xy, axis=1) + 2 * margin
    squared = np.square(xy[:, None] - xy[None]).sum(axis=-1)  # (N, N, K), NaN where either is missing
    closeness = np.exp(-squared / (2 * np.prod(extent, axis=1)[None, :, None] * (2 * sigma) ** 2))
    return np.nan_to_num(closeness).sum(axis=-1) / np.maximum((~np.isnan(xy[..., 0])).sum(axis=1), 1)[None]
