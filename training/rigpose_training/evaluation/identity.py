"""How often a model with an identity head knows whose keypoint it sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rigpose.arrays import Floats
from rigpose.poses import Poses
from rigpose_training.evaluation.nearest import nearest_free


def identity_accuracy(predicted: Sequence[Poses], truth: Sequence[Floats]) -> Floats:
    """(K,) share of the labelled keypoints [0, 1] whose nearest prediction looks most like the labelled individual.

    A label for which no prediction is left does not count. DeepLabCut fills up animals that were not found and lets
    such a label choose one of those, whose identity is then always the first individual.

    Args:
        predicted: F frames, with ``identity_scores``.
        truth: F arrays (N, K, 2) of labels [frame px], NaN where a keypoint is not labelled; row i is individual i.
    """
    keypoints = truth[0].shape[1] if len(truth) else 0
    right, compared = np.zeros(keypoints), np.zeros(keypoints)
    for poses, labels in zip(predicted, truth, strict=True):
        if poses.identity_scores is None:
            continue
        for k in range(keypoints):
            owner = np.flatnonzero(np.isfinite(labels[:, k]).all(axis=1))
            found = np.flatnonzero(np.isfinite(poses.xy[:, k]).all(axis=1))
            partner = nearest_free(labels[owner, k], poses.xy[found, k])
            looks_like = poses.identity_scores[found[partner[partner >= 0]], k].argmax(axis=1)
            right[k] += (looks_like == owner[partner >= 0]).sum()
            compared[k] += (partner >= 0).sum()
    return np.where(compared > 0, right / np.maximum(compared, 1), np.nan)
