"""Peaks and part affinities -> links: pairs of peaks of two parts that may belong to one animal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from rigpose.arrays import Array, Floats
from rigpose.model_spec import PafGrouping


@dataclass(frozen=True)
class Links:
    """Pairs of peaks, edge by edge, the better peak of the edge's first part first.

    A peak is a number: ``part * max_animals + rank``, where rank 0 is the best peak of the part.

    Attributes:
        first: (M,) peak of the edge's first part.
        second: (M,) peak of its second part.
        affinity: (M,) float64.
    """

    first: Array
    second: Array
    affinity: Floats

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: Array) -> Links:
        """Some of the links."""
        return Links(self.first[rows], self.second[rows], self.affinity[rows])


def best_peaks(peaks: Floats) -> tuple[Array, Array]:
    """Order the peaks (K, P, 3) of every part by falling score.

    Peaks with a NaN or infinite value are none. Equal scores keep their order, which is that of the map's rows, as in
    DeepLabCut.

    Returns:
        (K, P) indices into the part's peaks, and (K,) how many of them are peaks; the others come last.
    """
    valid = np.isfinite(peaks).all(axis=-1)
    return np.argsort(np.where(valid, -peaks[..., 2], np.inf), axis=1, kind="stable"), valid.sum(axis=1)


def find_links(score: Floats, affinity: Floats, grouping: PafGrouping) -> Links:
    """Pair the peaks of every edge's two parts so that the affinities sum to the most.

    Args:
        score: (K, N) of the best peaks, falling, -inf where there is none.
        affinity: (E, N, N) between the best peaks of each edge's two parts; not finite counts as 0.
        grouping: Thresholds, compared in float32 as the graph gives the numbers.

    Returns:
        The pairs with at least ``min_affinity`` between peaks of at least ``min_score``.
    """
    source, target = np.asarray(grouping.edges, int).reshape(-1, 2).T
    count = (score >= np.float32(grouping.min_score)).sum(axis=1)  # falling scores: the first ``count`` peaks
    partner = assign(affinity, count[source], count[target])
    edge, first = np.nonzero(partner >= 0)
    second = partner[edge, first]
    strength = affinity[edge, first, second]
    kept = strength >= np.float32(grouping.min_affinity)
    edge, first, second = edge[kept], first[kept], second[kept]
    animals = score.shape[1]
    return Links(
        first=source[edge] * animals + first,
        second=target[edge] * animals + second,
        affinity=strength[kept].astype(np.float64),
    )


def assign(weights: Floats, rows: Array, columns: Array) -> Array:
    """Many small assignment problems at once: pair rows with columns so that the weights sum to the most.

    In most frames every row's largest weight is in another column; then this is the assignment, and no search is
    needed. The search (Kuhn 1955; scipy's) runs only for the problems where two rows want one column, or where equal
    weights leave a choice.

    Args:
        weights: (E, N, N) at least 0; only the first ``rows`` x ``columns`` of each problem count.
        rows: (E,) how many rows each problem has.
        columns: (E,) how many columns.

    Returns:
        (E, N) column of each row, -1 for rows without one and for pairs without weight that no search was needed for.
    """
    index = np.arange(weights.shape[1])
    inside = (index[:, None] < rows[:, None, None]) & (index < columns[:, None, None])
    inner = np.where(inside, weights, -1.0)
    # A problem with more rows than columns is looked at from its columns, so that everyone asked gets a partner.
    tall = rows > columns
    if tall.any():
        inner[tall] = inner[tall].swapaxes(1, 2)
    best = inner.argmax(axis=2)  # (E, N)
    largest = inner.max(axis=2)
    asked = largest > 0  # who has no weight takes what is left, at no loss
    unsure = (asked & ((inner == largest[..., None]).sum(axis=2) > 1)).any(axis=1)
    wanted = np.sort(np.where(asked, best, -1 - index), axis=1)
    search = unsure | (wanted[:, 1:] == wanted[:, :-1]).any(axis=1)

    partner = np.full(best.shape, -1)
    problem, asker = np.nonzero(asked & ~search[:, None])
    choice = best[problem, asker]
    flipped = tall[problem]
    partner[problem, np.where(flipped, choice, asker)] = np.where(flipped, asker, choice)
    for e in np.flatnonzero(search):
        row, column = linear_sum_assignment(weights[e, : rows[e], : columns[e]], maximize=True)
        partner[e, row] = column
    return partner
