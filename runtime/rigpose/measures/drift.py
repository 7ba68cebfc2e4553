"""How far a graph in a lower precision moves keypoints, where the very same numbers are not to be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Floats
from rigpose.measures.differences import matched_animals
from rigpose.poses import Poses

SURE_SCORE = 0.6
"""DeepLabCut's cutoff: keypoints that score as much are the ones that people use."""
FLIP_PX = 4.0
"""Half a cell of the usual map: what lies further away is another peak."""


@dataclass(frozen=True)
class Drift:
    """What another precision changes in poses, or in boxes as poses of two corners.

    Attributes:
        compared: Keypoints that the reference is sure of.
        lost: Of these, how many the other run does not have; they have no distance.
        worst_px: Largest distance of the others [px].
        p99_px: 99th percentile of their distances [px].
        mean_px: Mean of their distances [px].
        median_px: Half of them moved less; some that are another peak say nothing in it [px].
        worst_score: Their largest score difference.
        sure_score: From which score on the reference is sure: 0.6, or half of its keypoints where fewer score so much.
        unsure: Keypoints that score less.
        flips: Of these, how many are another peak, or only there in the reference: what rounding may decide.
    """

    compared: int
    lost: int
    worst_px: float
    p99_px: float
    mean_px: float
    median_px: float
    worst_score: float
    sure_score: float
    unsure: int
    flips: int


def drift(reference: Sequence[Poses], found: Sequence[Poses]) -> Drift:
    """Compare frame by frame; each animal with the nearest one, since rounding decides the order of equal scores.

    Animals that only ``found`` has are not compared: mostly they score little, and where labels are, the metric
    counts them.
    """
    rows = [_rows(right, other) for right, other in zip(reference, found, strict=True)]
    table = np.concatenate([*rows, np.empty((0, 3))])  # score, distance, score difference
    score, distance = table[:, 0], table[:, 1]
    sure_score = min(SURE_SCORE, float(np.median(score))) if len(score) else SURE_SCORE
    sure, there = score >= sure_score, np.isfinite(distance)
    moved = distance[sure & there]
    return Drift(
        compared=int(sure.sum()),
        lost=int((sure & ~there).sum()),
        worst_px=float(moved.max(initial=0)),
        p99_px=float(np.percentile(moved, 99, method="higher")) if len(moved) else 0.0,
        mean_px=float(moved.mean()) if len(moved) else 0.0,
        median_px=float(np.median(moved)) if len(moved) else 0.0,
        worst_score=float(table[sure & there, 2].max(initial=0)),
        sure_score=sure_score,
        unsure=int((~sure).sum()),
        flips=int((~sure & ~(distance <= FLIP_PX)).sum()),
    )


def _rows(right: Poses, other: Poses) -> Floats:
    """(M, 3) of the keypoints that the reference has in a frame: score, distance [px] or infinite, score difference."""
    mine, theirs = matched_animals(right, other)
    there = np.full((len(right), right.keypoints, 3), np.nan)
    there[mine] = other.to_array()[theirs]
    first, second = right.to_array().reshape(-1, 3).astype(np.float64), there.reshape(-1, 3)
    if right.unique is not None:
        nowhere = np.full_like(right.unique, np.nan)
        first = np.concatenate([first, right.unique])
        second = np.concatenate([second, nowhere if other.unique is None else other.unique])
    distance = np.linalg.norm(first[:, :2] - second[:, :2], axis=1)
    table = np.stack([first[:, 2], np.nan_to_num(distance, nan=np.inf), np.abs(first[:, 2] - second[:, 2])], axis=1)
    return table[np.isfinite(first).all(axis=1)]
