"""What becomes of animals that lie upon each other, and of peaks that no animal uses.

Animals are given as (A, K) ranks of their peaks among each part's P peaks, -1 for a missing part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rigpose.arrays import Array, Floats


def positions(ranks: Array, found: Floats) -> Floats:
    """(A, K, 2) float64 places of the animals' peaks [input px], NaN for missing parts, of ``found`` (K, P, 3)."""
    xy = found[np.arange(len(found)), ranks, :2].astype(np.float64)
    xy[ranks < 0] = np.nan
    return xy


def not_covered(xy: Floats, max_overlap: float) -> Array:
    """Which of the animals (A, K, 2), the best first, do not lie upon a better one that stays.

    Two animals overlap as far as the smaller of the two shares of their keypoints that lie where their keypoints'
    bounding boxes meet.
    """
    everyone = np.arange(len(xy))
    if max_overlap >= 1:
        return everyone
    places = xy.transpose(2, 0, 1).copy()  # (2, A, K), as long loops are faster than many over x and y
    low, high = np.fmin.reduce(places, axis=2), np.fmax.reduce(places, axis=2)  # (2, A)
    reaches = (low[:, :, None] <= high[:, None]).all(axis=0)
    pairs = np.argwhere(np.triu(reaches & reaches.T, k=1))  # (M, 2) whose boxes meet, the better one first
    left, right = low[:, pairs].max(axis=2), high[:, pairs].min(axis=2)  # (2, M) corners of the common boxes
    theirs = places[:, pairs]  # (2, M, 2, K)
    within = (theirs >= left[..., None, None]) & (theirs <= right[..., None, None])
    shares = (within[0] & within[1]).sum(axis=2) / (~np.isnan(places[0])).sum(axis=1)[pairs]
    stays = np.ones(len(xy), bool)
    # The better animals come first, so that whether one stays is known before it is asked for.
    for one, other in pairs[shares.min(axis=1) >= max_overlap].tolist():
        stays[other] &= not stays[one]
    return everyone[stays]


def rank_table(count: Array, peaks: int) -> Array:
    """(K, P) true for the first ``count`` (K,) ranks of each part, which are peaks."""
    return np.arange(peaks) < count[:, None]


def holds(ranks: Array, shape: tuple[int, ...]) -> Array:
    """(K, P) true for the peaks of the animals ``ranks``."""
    table = np.zeros(shape, bool)
    animal, part = np.nonzero(ranks >= 0)
    table[part, ranks[animal, part]] = True
    return table


Taker: TypeAlias = Callable[[Floats, int, Floats], Array]
"""Poses (M, K, 2) without a part, the part, a peak (2,) of it -> which poses may take the peak, the first one does."""


def fill_gaps(ranks: Array, found: Floats, free: Array, takers: Taker) -> Array:
    """Give free peaks, the best first, to animals that miss their part.

    Args:
        ranks: (A, K) the animals.
        found: (K, P, 3) x, y [input px], score.
        free: (K, P) which peaks may be given away.
        takers: Which animals may take a peak.

    Returns:
        (A, K) ranks, with fewer gaps.
    """
    filled = ranks.copy()
    part, rank = np.nonzero(free)
    for row in np.argsort(-found[part, rank, 2], kind="stable"):
        k, p = int(part[row]), rank[row]
        open_to = np.flatnonzero(filled[:, k] < 0)
        if len(open_to):
            takes = takers(positions(filled[open_to], found), k, found[k, p, :2].astype(np.float64))
            filled[open_to[takes[:1]], k] = p
    return filled


def nearest(poses: Floats, part: int, peak: Floats) -> Array:
    """The pose with the keypoint that is nearest to the peak; a ``Taker``."""
    del part
    return np.nanmin(np.linalg.norm(poses - peak, axis=-1), axis=1).argmin(keepdims=True)


def becoming_likelier(unlikelihood: Callable[[Floats], Floats]) -> Taker:
    """A ``Taker``: the poses (M, K, 2) that the peak makes likelier."""

    def takers(poses: Floats, part: int, peak: Floats) -> Array:
        with_peak = poses.copy()
        with_peak[:, part] = peak
        return np.flatnonzero(unlikelihood(with_peak) < unlikelihood(poses))

    return takers
