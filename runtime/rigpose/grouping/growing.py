"""Animals out of links that contradict each other: greedy growth, the strongest link first.

Only groups of linked peaks that hold two peaks of one part come here; the others are animals as they are.
The rules, and the order in which they are tried, are those of DeepLabCut's assembler, so that crowded frames give the
same animals. Two of its steps are left out because they cannot find anything after the growth as it is here, without
a model of distances (``calibrated``): merging incomplete animals that an unused link joins, and growing a second time.
A link out of an incomplete animal was followed when the animal grew, and its other peak came in unless its part, or
it, was taken.

A crowded frame has hundreds of links, each looked at a few times one after the other: lists of plain numbers are
several times faster at that than arrays and sets.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace

import numpy as np
from scipy.spatial.distance import cdist

from rigpose.arrays import Array, Floats
from rigpose.grouping.links import Links


class Growing:
    """An animal in the making.

    Attributes:
        peak_of: (K,) its peak of each part, -1 for a missing one.
        links: How many links hold it together.
        affinity: Their sum.
        born: Sorts animals into the order in which DeepLabCut makes them.
    """

    __slots__ = ("affinity", "born", "links", "peak_of")

    def __init__(self, parts: int, born: int) -> None:
        self.peak_of = [-1] * parts
        self.links = 0
        self.affinity = 0.0
        self.born = born

    def peaks(self) -> list[int]:
        """Those that are there."""
        return [peak for peak in self.peak_of if peak >= 0]

    def shares_part(self, other: Growing) -> bool:
        """Whether both have a peak of some part."""
        return any(one >= 0 and two >= 0 for one, two in zip(self.peak_of, other.peak_of, strict=True))

    def plus(self, other: Growing) -> Growing:
        """Both animals as one, in this one's place; they must share no part."""
        both = Growing(0, self.born)
        both.peak_of = list(map(max, self.peak_of, other.peak_of))
        both.links = self.links + other.links
        both.affinity = self.affinity + other.affinity
        return both


class Assembler:
    """Grows animals out of links, which are given by falling affinity; equal ones stay in the frame's order.

    A link is its row among these.

    Attributes:
        animals: Those that were made, in order.
    """

    def __init__(self, links: Links, *, parts: int, peaks_per_part: int) -> None:
        M, peaks = len(links), parts * peaks_per_part
        # Equal affinities are of one level; in between is room for the number of a peak of the animal.
        level = np.zeros(M, int)
        np.cumsum(links.affinity[1:] != links.affinity[:-1], out=level[1:])
        # Per peak its links, the strongest first: sorted by peak, then by row.
        row = np.arange(M)
        owned = np.sort(np.concatenate([links.first * M + row, links.second * M + row]))
        owner, link = np.divmod(owned, M)

        self._parts = parts
        self._peaks_per_part = peaks_per_part
        self._first: list[int] = links.first.tolist()
        self._second: list[int] = links.second.tolist()
        self._affinity: list[float] = links.affinity.tolist()
        self._level: list[int] = (level * parts).tolist()
        self._links_of: list[int] = link.tolist()
        self._other_ends: list[int] = ((links.first + links.second)[link] - owner).tolist()
        self._begin: list[int] = np.searchsorted(owner, np.arange(peaks + 1)).tolist()
        # Per peak: ``parts`` while it is free, then -1.
        self._free = [parts] * peaks
        self.animals: list[Growing] = []

    def join_whole_groups(self, groups: Iterable[tuple[int, list[int]]]) -> None:
        """Make one animal of each group's links, taken in order; for groups of as many peaks as an animal has parts.

        A link between two peaks of the animal only strengthens it. One whose two parts are both taken is refused;
        otherwise the peaks of free parts come in.

        Args:
            groups: Per group, when it is born, and its links.
        """
        for born, links in groups:
            animal = Growing(self._parts, born)
            for link in links:
                ends = (self._first[link], self._second[link])
                joining = [peak for peak in ends if animal.peak_of[peak // self._peaks_per_part] < 0]
                for peak in joining:
                    animal.peak_of[peak // self._peaks_per_part] = peak
                if joining or all(animal.peak_of[peak // self._peaks_per_part] == peak for peak in ends):
                    animal.links += 1
                    animal.affinity += self._affinity[link]
            self._finish(animal)

    def grow(self, born: Array) -> None:
        """Make an animal of every link whose peaks are still free, the strongest first, and let it grow.

        Args:
            born: (M,) when an animal that grows from each link is born.
        """
        for link, (first, second) in enumerate(zip(self._first, self._second, strict=True)):
            if self._free[first] > 0 and self._free[second] > 0:
                animal = Growing(self._parts, int(born[link]))
                self._fill(animal, link)
                self._finish(animal)

    def fuse_nearest(self, xy: Floats, surplus: int) -> None:
        """Merge each of the smallest animals into the nearest one that shares no part with it.

        As in DeepLabCut the small animal stays, too: it lies upon the one that it was merged into, and goes when such
        animals are dropped.

        Args:
            xy: (peaks, 2) places of the peaks.
            surplus: How many animals are too many.
        """
        self.animals.sort(key=lambda animal: len(animal.peaks()))
        for row in range(surplus):
            small = self.animals[row]
            here = xy[small.peaks()]
            others = [a for a in range(row, len(self.animals)) if not small.shares_part(self.animals[a])]
            if not others:
                continue
            away = [cdist(here, xy[self.animals[a].peaks()]).min() for a in others]
            nearest = others[int(np.argmin(away))]
            self.animals[nearest] = self.animals[nearest].plus(small)
        for row, animal in enumerate(self.animals):
            animal.born = row

    def _finish(self, animal: Growing) -> None:
        self._take(animal)
        self.animals.append(animal)

    def _take(self, animal: Growing) -> None:
        for peak in animal.peaks():
            self._free[peak] = -1

    def _fill(self, animal: Growing, seed: int) -> None:
        """Follow links out of a new animal's first one, the strongest first, until it is complete.

        Every peak of the animal is in the queue once, with the strongest of its links that was not followed yet. Of
        equal links, that of the peak which came in earlier is followed first. A link between two peaks that came in
        later belongs to the earlier of the two.
        """
        parts = self._parts
        level, links_of, other_ends, begin = self._level, self._links_of, self._other_ends, self._begin
        # Per peak: ``parts`` if it may join, when it did, or -1 if it cannot: its part or itself is taken. So a link of
        # the animal's n-th peak is of use if this is above n at its other end; once of no use, it never will be.
        when = self._free.copy()
        entered = sorted((self._first[seed], self._second[seed]))
        for peak in entered:
            self._enter(animal, peak, when, 0)
        animal.links, animal.affinity = 1, self._affinity[seed]
        cursor = [begin[peak] for peak in entered]
        queue = [level[links_of[at]] + n for n, at in enumerate(cursor)]
        heapify(queue)
        while queue and len(entered) < parts:
            n = queue[0] % parts
            at, end = cursor[n], begin[entered[n] + 1]
            link, new = links_of[at], other_ends[at]
            joins = when[new] == parts
            if when[new] > n:
                animal.links += 1
                animal.affinity += self._affinity[link]
            if joins:
                self._enter(animal, new, when, len(entered))
            at += 1
            while at < end and when[other_ends[at]] <= n:
                at += 1
            cursor[n] = at
            if at < end:
                heapreplace(queue, level[links_of[at]] + n)
            else:
                heappop(queue)
            if joins:
                heappush(queue, level[links_of[begin[new]]] + len(entered))
                cursor.append(begin[new])
                entered.append(new)

    def _enter(self, animal: Growing, peak: int, when: list[int], number: int) -> None:
        part = peak // self._peaks_per_part
        animal.peak_of[part] = peak
        when[part * self._peaks_per_part : (part + 1) * self._peaks_per_part] = [-1] * self._peaks_per_part
        when[peak] = number
