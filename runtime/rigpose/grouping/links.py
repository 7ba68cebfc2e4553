"""Peaks and part affinities -> links: pairs of peaks of two parts that may belong to one animal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import linear_sum_assignment

from rigpose.arrays import Array, Floats
from rigpose.models.model_spec import PafGrouping


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


@lru_cache
def ends(edges: tuple[tuple[int, int], ...]) -> tuple[Array, Array]:
    """(E,) first part and (E,) second part of every edge; read only."""
    both = np.reshape(edges, (-1, 2)).astype(int).T.copy()
    both.setflags(write=False)
    return both[0], both[1]


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
        affinity: (E, N, N) between the best peaks of each edge's two parts, all finite.
        grouping: Thresholds, compared in float32 as the graph gives the numbers.

    Returns:
        The pairs with at least ``min_affinity`` between peaks of at least ``min_score``.
    """
    source, target = ends(grouping.edges)
    count = (score >= np.float32(grouping.min_score)).sum(axis=1)  # falling scores: the first ``count`` peaks
    edge, first, second = assign(affinity, count[source], count[target])
    strength = affinity[edge, first, second]
    kept = strength >= np.float32(grouping.min_affinity)
    edge, first, second = edge[kept], first[kept], second[kept]
    animals = score.shape[1]
    return Links(
        first=source[edge] * animals + first,
        second=target[edge] * animals + second,
        affinity=strength[kept].astype(np.float64),
    )


def assign(weights: Floats, rows: Array, columns: Array) -> tuple[Array, Array, Array]:
    """Many small assignment problems: pair rows with columns so that the weights sum to the most (Kuhn 1955).

    Of equally good pairings it is scipy's, as in DeepLabCut.

    Args:
        weights: (E, N, N); only the first ``rows`` x ``columns`` of each problem count.
        rows: (E,) how many rows each problem has.
        columns: (E,) how many columns.

    Returns:
        Problem, row and column of every pair, by problem and row.
    """
    # scipy is given its own number type and direction, or it would make two copies of every small matrix.
    costs = np.negative(weights, dtype=np.float64)
    shapes = zip(costs, rows.tolist(), columns.tolist(), strict=True)
    pairs = [linear_sum_assignment(cost[:high, :wide]) for cost, high, wide in shapes]
    problem = np.repeat(np.arange(len(costs)), np.minimum(rows, columns))
    row, column = (np.concatenate([pair[side] for pair in pairs] or [problem]) for side in (0, 1))
    return problem, row, column
