"""What a keypoint without a place looks like: NaN in all of its numbers, and nobody's identity."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Floats


def finite_or_missing(keypoints: Floats) -> Floats:
    """(..., 3) x, y, score -> the same as float32, all NaN where one of the three is NaN or infinite."""
    valid = np.isfinite(keypoints).all(axis=-1, keepdims=True)
    return np.where(valid, keypoints, np.nan).astype(np.float32)


def present_only(identity: Floats, score: Floats) -> Floats:
    """(N, K, I) identity scores, 0 where one is no finite number or the keypoint is missing (``score`` (N, K) NaN)."""
    return np.where(np.isfinite(identity) & ~np.isnan(score)[..., None], identity, 0.0).astype(np.float32)
