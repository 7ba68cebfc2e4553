"""Poses as the arrays that DeepLabCut-Live's processors take."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Floats
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses


def has_one_animal(spec: ModelSpec) -> bool:
    """Whether a model finds no more than one animal."""
    return spec.task == "single_animal" or len(spec.individuals) == 1


def pose_array(poses: Poses, *, one_animal: bool) -> Floats:
    """All animals (N, K, 3), or the one with the best mean score (K, 3): x, y [frame px], score.

    A missing keypoint is at NaN with score 0, so that neither a comparison of its place nor one of its score holds; and
    where one animal is asked for and none is there, all of its keypoints are missing.
    """
    array = poses.to_array()
    array[..., 2] = np.nan_to_num(array[..., 2])
    if not one_animal:
        return array
    if not len(array):
        missing = np.full((poses.keypoints, 3), np.nan, array.dtype)
        missing[:, 2] = 0
        return missing
    return array[array[..., 2].mean(axis=1).argmax()]
