"""The chains of pieces that explain most at the least cost: a flow through time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from rigpose.arrays import Array
from rigpose.tracking.links import Links
from rigpose.tracking.tracklets import Piece

NO_GAIN = -1e-9


def solve_flow(pieces: Sequence[Piece], links: Links, *, restart: float, animals: int) -> list[list[int]]:
    """Chains of linked pieces, of which at most ``animals`` overlap at any time, of least cost in all.

    One unit per animal flows from the video's begin to its end (Zhang et al. 2008). It waits in a pool, from one
    instant to the next; it may leave the pool into a piece (which costs ``restart``), must go through it (which costs
    minus what the piece earns), and then goes on through a link (its surprise times ``restart``) or back to the pool
    (free). Units are sent one by one, each along the cheapest way that is left, which is exact (Busacker and Gowen
    1960): a later unit may undo what an earlier one did.

    Args:
        pieces: P of them.
        links: Which may follow which.
        restart: Cost of a piece that no link leads to [frames of score 1].
        animals: How many units.

    Returns:
        Indices of the pieces of each chain, in order of time. Pieces that cost more than they earn are in none.
    """
    network = _Network(pieces, links, restart=restart, most=animals)
    for _ in range(animals):
        if not network.send():
            break
    many = len(pieces)
    enters, used = network.flow[:many] > 0, network.flow[3 * many : 3 * many + len(links.first)] > 0
    onward = dict(zip(links.first[used].tolist(), links.second[used].tolist(), strict=True))
    chains = []
    for start in np.flatnonzero(enters).tolist():
        chain = [start]
        while chain[-1] in onward:
            chain.append(onward[chain[-1]])
        chains.append(chain)
    return chains


class _Network:
    """Nodes are the pool's instants, the begins of the pieces and their ends; arcs are the ways between.

    Attributes:
        flow: (arcs,) units on each arc: into each piece, through each, back from each, links, waiting.
    """

    def __init__(self, pieces: Sequence[Piece], links: Links, *, restart: float, most: int) -> None:
        many = len(pieces)
        begin = np.array([piece.head.frame for piece in pieces])
        after = np.array([piece.tail.frame for piece in pieces]) + 1
        earned = np.array([piece.weight for piece in pieces])
        instants, at = np.unique(np.concatenate([begin, after]), return_inverse=True)
        self._sink = len(instants) - 1
        into = np.arange(many) + len(instants)
        out = into + many
        wait = np.arange(self._sink)
        self._tail = np.concatenate([at[:many], into, out, out[links.first], wait])
        self._head = np.concatenate([into, out, at[many:], into[links.second], wait + 1])
        self._cost = np.concatenate(
            [np.full(many, restart), -earned, np.zeros(many), restart * links.surprise, np.zeros(self._sink)]
        )
        self._most = np.ones(len(self._tail), np.int64)
        self._most[len(self._most) - self._sink :] = most
        self.flow = np.zeros(len(self._tail), np.int64)
        # Costs must not be negative for Dijkstra. No frame earns more than the best one, so a price of that much for
        # every frame that passes makes each arc's cost at least 0, and all ways from begin to end dearer by as much.
        best = float((earned / (after - begin)).max())
        self._price = -best * np.concatenate([instants, begin, after]).astype(np.float64)

    def send(self) -> bool:
        """Send one unit along the cheapest way, unless none is worth it."""
        onward, back = np.flatnonzero(self.flow < self._most), np.flatnonzero(self.flow > 0)
        arc = np.concatenate([onward, back])
        sign = np.repeat([1, -1], [len(onward), len(back)])
        tail = np.concatenate([self._tail[onward], self._head[back]])
        head = np.concatenate([self._head[onward], self._tail[back]])
        cost = self._cost[arc] * sign
        nodes = len(self._price)
        priced = np.maximum(cost + self._price[tail] - self._price[head], 0.0)  # rounding may leave -1e-16
        graph = csr_array((priced, (tail, head)), shape=(nodes, nodes))
        away, before = (part[0] for part in dijkstra(graph, indices=[0], return_predecessors=True))
        self._price += np.where(np.isfinite(away), away, 0.0)
        way = _edges(before, tail, head, self._sink)
        if cost[way].sum() > NO_GAIN:
            return False
        self.flow[arc[way]] += sign[way]
        return True


def _edges(before: Array, tail: Array, head: Array, sink: int) -> Array:
    """Which of the edges lead from node 0 to the sink, by each node's predecessor."""
    way = [sink]
    while way[-1] != 0:
        way.append(int(before[way[-1]]))
    nodes = len(before)
    key = tail.astype(np.int64) * nodes + head
    order = np.argsort(key)
    steps = np.array(way[1:], np.int64) * nodes + np.array(way[:-1], np.int64)
    return order[np.searchsorted(key, steps, sorter=order)]
