"""Results of animals that rest, run and turn, into which tests put known faults."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rigpose.arrays import Floats
from rigpose.files.results import Results

SHAPE = np.array([[30.0, 0.0], [15.0, 8.0], [15.0, -8.0], [0.0, 0.0], [-20.0, 0.0]])
"""Nose, ears, back and tail of an animal that heads along x [px]."""
KEYPOINTS = ("nose", "left", "right", "back", "tail")
NOISE = 0.5
"""Standard deviation of a found keypoint [px]."""


def draw_results(frames: int = 600, *, individuals: Sequence[str] = ("individual_1",), seed: int = 7) -> Results:
    """Animals in lanes 150 px apart, each resting for 50 frames and running for 50, turning all the while."""
    rng = np.random.default_rng(seed)
    xy = np.stack([_animal(frames, 150.0 * (number + 1), rng) for number in range(len(individuals))], axis=1)
    score = rng.uniform(0.88, 0.99, xy.shape[:3])
    return Results("DLC_drawn", KEYPOINTS, tuple(individuals), xy.astype(np.float32), score.astype(np.float32))


def _animal(frames: int, lane: float, rng: np.random.Generator) -> Floats:
    """(F, K, 2)"""
    time = np.arange(frames)
    speed = np.where(time // 50 % 2 == 1, 6.0, 0.0)
    heading = np.cumsum(rng.normal(0, 0.03, frames))
    # It runs to and fro between 100 and 500 px.
    way = np.cumsum(speed) % 800
    centre = np.stack([100 + np.where(way < 400, way, 800 - way), np.full(frames, lane)], axis=1)
    cos, sin = np.cos(heading), np.sin(heading)
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], axis=1)
    bend = 1 + 0.05 * np.sin(time / 9)[:, None, None]
    return centre[:, None] + np.einsum("fij,kj->fki", turn, SHAPE) * bend + rng.normal(0, NOISE, (frames, 5, 2))
