"""Animals out of links that contradict each other: greedy growth, the strongest link first.

Only groups of linked peaks that hold two peaks of one part come here; the others are animals as they are.
The rules, and the order in which they are tried, are those of DeepLabCut's assembler, so that crowded frames give the
same animals. Two of its steps are left out because they cannot find anything after the growth as it is here, without
a model of distances: merging incomplete animals that an unused link joins, and growing a second time. A link out of an
incomplete animal was followed when the animal grew, and its other peak came in unless its part, or it, was taken.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from scipy.spatial.distance import cdist

from rigpose.arrays import Floats
from rigpose.grouping.links import Links


class Growing:
    """An animal in the making.

    Attributes:
        peaks: Its peaks.
        parts: Their parts.
        links: Indices of the links that hold it together.
        affinity: Their sum.
        born: Sorts animals into the order in which DeepLabCut makes them.
    """

    def __init__(self, born: tuple[int, int]) -> None:
        self.peaks: set[int] = set()
        self.parts: set[int] = set()
        self.links: list[int] = []
        self.affinity = 0.0
        self.born = born

    def plus(self, other: Growing) -> Growing:
        """Both animals as one, in this one's place; they must share no part."""
        both = Growing(self.born)
        both.peaks = self.peaks | other.peaks
        both.parts = self.parts | other.parts
        both.links = self.links + other.links
        both.affinity = self.affinity + other.affinity
        return both


class Assembler:
    """Grows animals out of some of a frame's links, which it takes by their rows.

    Attributes:
        animals: Those that were made, in order.
    """

    def __init__(self, links: Links, rows: list[int], *, parts: int, peaks_per_part: int) -> None:
        self._ends: list[tuple[int, int]] = list(zip(links.first.tolist(), links.second.tolist(), strict=True))
        self._affinity: list[float] = links.affinity.tolist()
        self._rows = rows
        self._parts = parts
        self._part_of = [part for part in range(parts) for _ in range(peaks_per_part)]
        self._taken: set[int] = set()
        # Peak -> its neighbours and the links to them.
        self._links_of: dict[int, dict[int, int]] = defaultdict(dict)
        for link in rows:
            i, j = self._ends[link]
            self._links_of[i][j] = link
            self._links_of[j][i] = link
        self.animals: list[Growing] = []

    def join_whole_groups(self, groups: Iterable[list[int]]) -> None:
        """Make one animal of each group's links, taken in order; for groups of as many peaks as an animal has parts."""
        for links in groups:
            animal = Growing(born=(0, links[0]))
            for link in links:
                self._add(animal, link)
            self._finish(animal)

    def grow(self, rank: list[int]) -> None:
        """Make an animal of every link whose peaks are still free, the strongest first, and let it grow.

        Args:
            rank: Per link of the frame, its place by falling affinity.
        """
        for link in sorted(self._rows, key=rank.__getitem__):
            if self._taken.isdisjoint(self._ends[link]):
                animal = Growing(born=(1, rank[link]))
                self._add(animal, link)
                self._fill(animal)
                self._finish(animal)

    def fuse_nearest(self, xy: Floats, surplus: int) -> None:
        """Merge each of the smallest animals into the nearest one that shares no part with it.

        As in DeepLabCut the small animal stays, too: it lies upon the one that it was merged into, and goes when such
        animals are dropped.

        Args:
            xy: (peaks, 2) places of the peaks.
            surplus: How many animals are too many.
        """
        self.animals.sort(key=lambda animal: len(animal.peaks))
        for row in range(surplus):
            small = self.animals[row]
            here = xy[sorted(small.peaks)]
            others = [a for a in range(row, len(self.animals)) if small.parts.isdisjoint(self.animals[a].parts)]
            if not others:
                continue
            away = [cdist(here, xy[sorted(self.animals[a].peaks)]).min() for a in others]
            nearest = others[int(np.argmin(away))]
            self.animals[nearest] = self.animals[nearest].plus(small)
        for row, animal in enumerate(self.animals):
            animal.born = (1, row)

    def _finish(self, animal: Growing) -> None:
        self._taken |= animal.peaks
        self.animals.append(animal)

    def _add(self, animal: Growing, link: int) -> None:
        """Add a link, and the peaks that it brings.

        A link between two of its peaks only strengthens the animal. One whose two parts are both taken is refused;
        otherwise the peaks of free parts come in.
        """
        ends = self._ends[link]
        if not animal.peaks.issuperset(ends):
            free = [peak for peak in ends if self._part_of[peak] not in animal.parts]
            if not free:
                return
            animal.peaks.update(free)
            animal.parts.update(map(self._part_of.__getitem__, free))
        animal.affinity += self._affinity[link]
        animal.links.append(link)

    def _fill(self, animal: Growing) -> None:
        """Follow links out of the animal, the strongest first and the older of equal ones, until it is complete."""
        queue: list[tuple[float, int, int]] = []
        seen: set[int] = set()
        for peak in sorted(animal.peaks):
            self._push(peak, animal, queue, seen)
        while queue and len(animal.peaks) < self._parts:
            link = heapq.heappop(queue)[2]
            i, j = self._ends[link]
            if i in animal.peaks:
                new = j
            elif j in animal.peaks:
                new = i
            else:
                continue
            if new not in self._taken:
                self._add(animal, link)
                self._push(new, animal, queue, seen)

    def _push(self, peak: int, animal: Growing, queue: list[tuple[float, int, int]], seen: set[int]) -> None:
        for neighbour, link in self._links_of[peak].items():
            if link not in seen and neighbour not in animal.peaks:
                heapq.heappush(queue, (-self._affinity[link], len(seen), link))
                seen.add(link)
