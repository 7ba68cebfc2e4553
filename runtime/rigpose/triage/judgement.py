"""What one way of looking at a video says about its frames, and the points that all of them look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.files.results import Results

MAD_TO_SIGMA = 1.4826
"""The median absolute deviation of a normal distribution times this is its standard deviation."""


@dataclass(frozen=True)
class Judgement:
    """How wrong or how rare each frame looks.

    Attributes:
        severity: (F,) 0 where nothing is the matter, up to 1.
        why: Says in words what is the matter with a frame.
    """

    severity: Floats
    why: Callable[[int], str]

    @classmethod
    def nothing(cls, frames: int) -> Judgement:
        """Of a video that cannot be looked at this way."""
        return cls(np.zeros(frames), lambda _: "")


def beyond(value: Floats, limit: float) -> Floats:
    """Severity of values that are suspicious from ``limit`` on: 0 there, half at twice that, towards 1."""
    value = np.nan_to_num(value, nan=0.0)
    return np.where(value > limit, 1 - limit / np.maximum(value, limit), 0.0)


def known(xy: Floats) -> Array:
    """(...) whether both coordinates of the points (..., 2) are there."""
    return np.isfinite(xy[..., 0] + xy[..., 1])


def present(results: Results) -> Array:
    """(F, N) whether an animal was found at all."""
    return known(results.xy).sum(axis=-1) > 0


def sure(results: Results, pcutoff: float) -> Floats:
    """(F, N, K, 2) [frame px] the keypoints that score at least the cutoff; NaN elsewhere."""
    return _only(results.xy, results.score, pcutoff)


def sure_unique(results: Results, pcutoff: float) -> Floats:
    """(F, U, 2) [frame px] the same of the keypoints that exist once per frame."""
    if results.unique is None:
        return np.empty((len(results.xy), 0, 2))
    return _only(results.unique[..., :2], results.unique[..., 2], pcutoff)


def body_size(xy: Floats) -> float:
    """Root mean square distance of the keypoints (F, N, K, 2) from their animal's centre [px], of the median animal.

    0 where no animal shows two keypoints.
    """
    shown = known(xy)
    several = shown.sum(axis=-1) >= 2
    animals, seen = xy[several].astype(np.float64), shown[several]
    if not len(animals):
        return 0.0
    count = seen.sum(axis=1)
    values = np.where(seen[..., None], animals, 0.0)
    centre = values.sum(axis=1) / count[:, None]
    square = np.where(seen, ((values - centre[:, None]) ** 2).sum(axis=-1), 0.0)
    return float(np.median(np.sqrt(square.sum(axis=1) / count)))


def median_and_scale(values: Floats, *, least: float) -> tuple[float, float]:
    """Median and robust standard deviation of finite values, the latter at least ``least``."""
    if not len(values):
        return 0.0, least
    middle = float(np.median(values))
    return middle, max(MAD_TO_SIGMA * float(np.median(np.abs(values - middle))), least)


def _only(xy: Floats, score: Any, pcutoff: float) -> Floats:
    return np.where((score >= pcutoff)[..., None], xy, np.nan).astype(np.float64)
