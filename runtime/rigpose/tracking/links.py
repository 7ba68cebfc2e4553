"""How well one piece continues another: the surprise of every pair that could be the same animal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.tracking.motion import DECAY
from rigpose.tracking.settings import TrackingSettings
from rigpose.tracking.tracklets import Piece

MOST_SURPRISE = 8.0
"""Pieces are not linked when this is exceeded [natural logarithm]."""
MOST_LINKS = 10
"""So many links, the least surprising ones, are kept of each end of a piece; more only make the flow slow."""
AT_ONCE = 500
"""Links are looked for out of so many pieces at a time, which bounds the memory."""
SIZE_SURPRISE = 0.3
"""Standard deviation of the logarithm of an animal's size."""


@dataclass(frozen=True)
class Links:
    """Pairs of pieces that may follow each other.

    Attributes:
        first: (E,) index of the earlier piece.
        second: (E,) index of the later one.
        surprise: (E,) negative log likelihood that they are one animal, as a share of ``MOST_SURPRISE`` [0, 1).
    """

    first: Array
    second: Array
    surprise: Floats


def find_links(pieces: Sequence[Piece], settings: TrackingSettings) -> Links:
    """Every pair whose gap can be crossed.

    From each side the other end is predicted with a velocity that fades (as in ``motion``). What may be missed grows
    with the gap and with how fast the animals of this video move. The pose, moved to the same centre, must fit, too,
    the less the longer the gap, and so must the size, and the individual where the model tells it.

    Args:
        pieces: By rising first frame.
        settings: ``max_gap`` and how identities count.
    """
    ends = _Ends(pieces)
    parts = [
        _links_from(ends, np.arange(start, min(start + AT_ONCE, len(pieces))), settings)
        for start in range(0, len(pieces), AT_ONCE)
    ]
    first = np.concatenate([part.first for part in parts])
    second = np.concatenate([part.second for part in parts])
    surprise = np.concatenate([part.surprise for part in parts])
    best = (_rank(first, surprise) < MOST_LINKS) | (_rank(second, surprise) < MOST_LINKS)
    return Links(first[best], second[best], surprise[best])


class _Ends:
    """The ends of all P pieces as arrays."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        heads, tails = [piece.head for piece in pieces], [piece.tail for piece in pieces]
        self.begin, self.end = np.array([end.frame for end in heads]), np.array([end.frame for end in tails])
        self.head, self.tail = np.array([end.centre for end in heads]), np.array([end.centre for end in tails])
        self.head_velocity = np.array([end.velocity for end in heads])
        self.tail_velocity = np.array([end.velocity for end in tails])
        self.head_xy, self.tail_xy = np.array([end.xy for end in heads]), np.array([end.xy for end in tails])
        self.size = np.array([piece.size for piece in pieces])
        self.share = shares([piece.votes for piece in pieces])
        # Way from frame to frame: root mean square over the whole video [frame px / frame].
        steps = np.array([len(piece.tracklet) - 1 for piece in pieces])
        travel = np.nan_to_num([piece.travel for piece in pieces])
        self.travel = float(np.sqrt((steps * travel**2).sum() / max(steps.sum(), 1)))


def _links_from(ends: _Ends, pieces: Array, settings: TrackingSettings) -> Links:
    """The links out of some of the pieces."""
    low = np.searchsorted(ends.begin, ends.end[pieces] + 1)
    many = np.searchsorted(ends.begin, ends.end[pieces] + settings.max_gap + 1, side="right") - low
    first = np.repeat(pieces, many)
    second = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many) + np.repeat(low, many)
    surprise = _of_motion(ends, first, second)
    near = surprise < MOST_SURPRISE
    first, second, surprise = first[near], second[near], surprise[near]
    surprise += _of_form(ends, first, second)
    if settings.use_identity and ends.share.shape[1]:
        surprise += min(settings.identity_weight, 1.0) * _of_identity(ends, first, second)
    near = surprise < MOST_SURPRISE
    return Links(first[near], second[near], surprise[near] / MOST_SURPRISE)


def _rank(end: Array, surprise: Floats) -> Array:
    """(E,) how many links of the same end surprise less."""
    order = np.lexsort((surprise, end))
    _, begin, many = np.unique(end[order], return_index=True, return_counts=True)
    rank = np.empty(len(end), np.intp)
    rank[order] = np.arange(len(end)) - np.repeat(begin, many)
    return rank


def _of_motion(ends: _Ends, first: Array, second: Array) -> Floats:
    """(E,) how much the places at both sides of the gaps surprise."""
    gap = ends.begin[second] - ends.end[first]
    here, there = ends.tail[first], ends.head[second]
    reach = ((1 - DECAY**gap) / (1 - DECAY))[:, None]
    onward = here + ends.tail_velocity[first] * reach - there
    back = there - ends.head_velocity[second] * reach - here
    squared = ((onward**2).sum(axis=1) + (back**2).sum(axis=1)) / 2
    least = 0.15 * _size(ends, first, second) + 0.5 * ends.travel
    spread = least + 0.5 * ends.travel * (gap - 1)
    # Of two normal distributions the wider one is lower in the middle: a near miss after a long wait says little.
    return squared / (2 * spread**2) + 2 * np.log(spread / least)


def _of_form(ends: _Ends, first: Array, second: Array) -> Floats:
    """(E,) how much the poses at both sides, moved to one centre, and the sizes surprise."""
    away = ends.head_xy[second] - ends.tail_xy[first]  # (E, K, 2)
    gap = ends.begin[second] - ends.end[first]
    common = np.isfinite(away).all(axis=2, keepdims=True)
    many = np.maximum(common.sum(axis=1, keepdims=True), 1)
    away = np.where(common, away, 0.0)
    away = np.where(common, away - away.sum(axis=1, keepdims=True) / many, 0.0)
    squared = (away**2).sum(axis=(1, 2)) / many[:, 0, 0]
    spread = (0.1 + 0.05 * gap) * _size(ends, first, second)
    size = np.log(ends.size)
    return squared / (2 * spread**2) + ((size[second] - size[first]) / SIZE_SURPRISE) ** 2 / 2


def _of_identity(ends: _Ends, first: Array, second: Array) -> Floats:
    """(E,) 0 for the same individual, up to ``MOST_SURPRISE`` for different ones; half of it where one is unknown."""
    known = ends.share.sum(axis=1) > 0
    alike = (ends.share[first] * ends.share[second]).sum(axis=1)
    alike[~(known[first] & known[second])] = 0.5
    return (1 - alike) * MOST_SURPRISE


def shares(votes: Sequence[Array]) -> Floats:
    """(P, I) votes for each individual, as shares of their sum; 0 where there is none."""
    many = max((len(row) for row in votes), default=0)
    table = np.array([np.pad(row, (0, many - len(row))) for row in votes], np.float64).reshape(len(votes), many)
    return table / np.maximum(table.sum(axis=1, keepdims=True), 1)


def _size(ends: _Ends, first: Array, second: Array) -> Floats:
    return (ends.size[first] + ends.size[second]) / 2
