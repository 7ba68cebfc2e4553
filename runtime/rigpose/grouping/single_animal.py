"""One animal per frame: its keypoints are the candidates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rigpose.arrays import Floats
from rigpose.poses import Poses


def group_single_animal(candidates: Mapping[str, Floats]) -> list[Poses]:
    """Read ``keypoints`` (B, K, 3) as one animal per frame.

    As in DeepLabCut there is no threshold: every keypoint has a place, and its score says what it is worth.
    A keypoint with a NaN or infinite value is missing (NaN), never a place.
    """
    keypoints = candidates["keypoints"]
    valid = np.isfinite(keypoints).all(axis=-1, keepdims=True)
    keypoints = np.where(valid, keypoints, np.nan).astype(np.float32)
    return [Poses.from_array(frame[None]) for frame in keypoints]
