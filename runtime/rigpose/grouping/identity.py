"""Which individual each animal is, from what its keypoints look like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from rigpose.poses import Poses


def assign_identity(poses: Poses) -> Poses:
    """Give every animal the individual that makes the best assignment over all animals.

    An animal resembles an individual as much as the mean, over its keypoints, of keypoint score times identity score.
    A missing keypoint counts 0 in that mean; DeepLabCut's assignment fails on such a frame.

    Args:
        poses: With ``identity_scores`` (N, K, I).

    Returns:
        The same animals with ``identity``, in the order of the individuals; animals beyond the I individuals come last
        and are -1.
    """
    assert poses.identity_scores is not None
    individuals = poses.identity_scores.shape[2]
    weight = np.nan_to_num(poses.score, nan=0.0, posinf=0.0, neginf=0.0)[..., None]
    scores = np.nan_to_num(poses.identity_scores, nan=0.0, posinf=0.0, neginf=0.0)
    likeness = (weight * scores).sum(axis=1) / max(poses.keypoints, 1)  # (N, I)
    identity = np.full(len(poses), -1)
    animal, individual = linear_sum_assignment(likeness, maximize=True)
    identity[animal] = individual
    order = np.argsort(np.where(identity < 0, individuals, identity), kind="stable")
    return replace(poses, identity=identity).take(order)
