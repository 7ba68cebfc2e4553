"""Detectors miss an animal's box by a little; training moves and scales the true box by as much."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.special import ndtr, ndtri

from rigpose.arrays import Floats
from rigpose_training.data.augmentation import RandomBBoxTransform


def jitter(box: Floats, spec: RandomBBoxTransform, rng: Generator) -> Floats:
    """(4,) x, y, width, height [px] -> another one near it; sides and centre are drawn per axis."""
    if rng.random() >= spec.p:
        return box
    low, high = spec.scale_factor
    scale, shift = np.ones(2), np.zeros(2)
    if rng.random() < spec.scale_prob:
        scale = (low + high) / 2 + (high - low) / 2 * _truncated_normal(rng)
    if rng.random() < spec.shift_prob:
        shift = spec.shift_factor * _truncated_normal(rng)
    centre = box[:2] + (0.5 + shift) * box[2:]
    sides = scale * box[2:]
    return np.concatenate([centre - sides / 2, sides])


def _truncated_normal(rng: Generator) -> Floats:
    """(2,) standard normal numbers within one deviation, so that the middle of a range is the likeliest.

    DeepLabCut cuts the standard normal at the range of scales itself, whose density falls from one end to the
    other, and boxes shrink by 2 %; corrected here, since training alone is concerned.
    """
    return ndtri(rng.uniform(ndtr(-1), ndtr(1), size=2))
