"""Keypoints that move in known ways: one that is still, a smooth body, a fast paw, and one that nobody can foresee."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Floats
from rigpose.live.prediction.pose_history import PoseHistory

NAMES = ("still", "body", "paw")


def truth(times: Floats) -> Floats:
    """(F, 3, 2) where the three keypoints are [px].

    The body goes at 400 px/s (root mean square) with turns every second or so; the paw swings by 60 px at 5 Hz and by
    20 px at right angles at 10 Hz.
    """
    still = np.broadcast_to([200.0, 150.0], (len(times), 2))
    phases = 2 * np.pi * times[:, None]
    body = 300 + np.stack(
        [
            (np.array([250.0, 75.0]) * np.sin(phases * [0.25, 0.55])).sum(axis=1),
            (np.array([190.0, 56.0]) * np.sin(1 + phases * [0.19, 0.61])).sum(axis=1),
        ],
        axis=1,
    )
    paw = 250 + np.stack([60 * np.sin(5 * phases[:, 0]), 20 * np.sin(0.5 + 10 * phases[:, 0])], axis=1)
    return np.stack([still, body, paw], axis=1)


def recording(times: Floats, seed: int, *, jitter: float = 1.0) -> PoseHistory:
    """One animal with these keypoints, found with so much noise [px]."""
    places = truth(times)
    xy = places + np.random.default_rng(seed).normal(scale=jitter, size=places.shape)
    return PoseHistory("motions", NAMES, times, xy[:, None], np.full((len(times), 1, 3), 0.9))
