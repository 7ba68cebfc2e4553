"""How much a keypoint jitters from frame to frame, whatever way it goes."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Floats

LEAST_NOISE = 0.1
"""No network places a keypoint better [px]; a filter that is told less believes every measurement."""
LEAST_RESIDUALS = 50
"""Fewer say nothing about a spread; the keypoint then counts as one that jitters by 1 px."""
_NEIGHBOURS = (0, 1, 3, 4)


def measurement_noise(times: Floats, places: Floats) -> Floats:
    """Standard deviation of a measurement, per keypoint and coordinate.

    The middle one of five frames is held against the cubic through the other four. A cubic follows the real motion
    closely, so what is left is jitter: a point that swings by 60 px at 5 Hz and 100 frames/s leaves 0.1 px. The
    median takes care of jumps.

    Args:
        times: (F,) [s], at any distances.
        places: (F, N, K, 2) [px], NaN where a keypoint is not sure.

    Returns:
        (K,) [px].
    """
    keypoints = places.shape[2]
    if len(times) < 5:
        return np.ones(keypoints)
    weights = _cubic(np.lib.stride_tricks.sliding_window_view(times, 5))
    expected = sum(weights[:, i, None, None, None] * places[j : len(places) - 4 + j] for i, j in enumerate(_NEIGHBOURS))
    scale = np.sqrt(1 + np.square(weights).sum(axis=1))
    residual = np.abs(places[2:-2] - expected) / scale[:, None, None, None]
    noise = np.ones(keypoints)
    for k in range(keypoints):
        of_keypoint = residual[:, :, k]
        of_keypoint = of_keypoint[np.isfinite(of_keypoint)]
        if len(of_keypoint) >= LEAST_RESIDUALS:
            # Half of a normal distribution lies within 0.6745 standard deviations.
            noise[k] = np.median(of_keypoint) / 0.6745
    return np.maximum(noise, LEAST_NOISE)


def _cubic(times: Floats) -> Floats:
    """(F, 4) weights of the neighbours in the value at the middle of (F, 5) times of the cubic through them."""
    neighbours, middle = times[:, _NEIGHBOURS], times[:, 2]
    weights = np.ones_like(neighbours)
    for i in range(4):
        for j in range(4):
            if i != j:
                weights[:, i] *= (middle - neighbours[:, j]) / (neighbours[:, i] - neighbours[:, j])
    return weights
