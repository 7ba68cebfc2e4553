"""DEKR: which of the regressed poses are animals (Geng et al. 2021).

Two decisions of DeepLabCut 3 that differ from the paper's code are kept, because they decide which animals a lab's
existing model finds; both are marked below.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.grouping.missing import finite_or_missing, present_only
from rigpose.models.model_spec import DekrGrouping
from rigpose.poses import Poses


def group_dekr(candidates: Mapping[str, Floats], grouping: DekrGrouping) -> list[Poses]:
    """Choose animals among ``poses`` (B, P, K, 3) by their ``center`` scores (B, P).

    Keypoints with a NaN or infinite value are missing; a pose whose centre score is not finite, or that has no
    keypoint, is no animal. Neither is one whose centre is not above ``min_center_score``: where a frame has fewer
    centres than poses were asked for, DeepLabCut fills up with places that score 0.

    Returns:
        One ``Poses`` per frame, with ``animal_score`` the centre's score.
    """
    poses = finite_or_missing(candidates["poses"])
    identity = candidates.get("identity")  # (B, K, P, I)
    found = []
    for b, (frame, center) in enumerate(zip(poses, candidates["center"], strict=True)):
        rows = _choose(frame, center, grouping)
        scores = None
        if identity is not None:
            scores = present_only(identity[b].swapaxes(0, 1)[rows], frame[rows, :, 2])
        found.append(Poses(frame[rows, :, :2], frame[rows, :, 2], animal_score=center[rows], identity_scores=scores))
    return found


def _choose(poses: Floats, center: Floats, grouping: DekrGrouping) -> Array:
    """Indices of the poses (P, K, 3) that are animals, the worst centre first."""
    present = ~np.isnan(poses[..., 0])
    usable = np.isfinite(center) & (center > grouping.min_center_score) & present.any(axis=1)
    rows = np.flatnonzero(usable)
    # Equal centres go by place, so that the order of the candidates never decides.
    place = np.where(present[..., None], poses[..., :2], 0.0).sum(axis=1)
    rows = rows[np.lexsort((place[rows, 0], place[rows, 1], -center[rows]))][: grouping.max_animals]
    if not grouping.apply_pose_nms:
        return rows
    coincide = _coincide(poses[rows, :, :2], grouping.nms_threshold)
    # As in DeepLabCut, a pose that was dropped itself still drops others.
    suppressed = np.triu(coincide, k=1).any(axis=0)
    # As in DeepLabCut, the rows come out by rising centre score.
    return rows[~suppressed][::-1]


def _coincide(xy: Floats, threshold: float) -> Array:
    """(N, K, 2) -> (N, N), row i column j: whether pose j has a keypoint where pose i has the same one.

    Near is ``threshold`` times the diagonal of pose j, at least of one pixel.
    """
    present = ~np.isnan(xy[..., :1])
    low = np.where(present, xy, np.inf).min(axis=1)
    high = np.where(present, xy, -np.inf).max(axis=1)
    diagonal = np.sqrt(np.maximum(np.square(high - low).sum(axis=-1), 1))
    distance = np.sqrt(np.square(xy[:, None] - xy[None]).sum(axis=-1))  # (N, N, K), NaN is never near
    near = (distance < threshold * diagonal[None, :, None]).sum(axis=-1)
    # As in DeepLabCut, one threshold serves distances and counts: below 1, a single keypoint is enough.
    return near > threshold
