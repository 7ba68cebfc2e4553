"""Animals out of links as DeepLabCut's calibrated assembler grows them: by affinity and by how likely a pose is.

How unlikely a pose is, is its Mahalanobis distance from the labelled poses. An animal takes a peak in, and two animals
are merged, only where that makes them likelier. The other rules are those of ``growing``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

import numpy as np
from scipy.special import erfc

from rigpose.arrays import Array, Floats
from rigpose.grouping.growing import Assembler, Growing
from rigpose.grouping.links import Links
from rigpose.models.paf_calibration import PafCalibration

LEAST_LIKELY = 0.001
"""A link's affinity shrinks to no less than this part of it."""


def unlikelihood(xy: Floats, calibration: PafCalibration) -> Floats:
    """(...) Mahalanobis distances of poses (..., K, 2) with two keypoints or more, NaN for missing ones.

    Of an incomplete pose only the distances that it has count, with their rows and columns of the whole precision
    matrix, and the result grows by how many are missing, as in DeepLabCut.
    """
    first, second = calibration.pairs
    away = xy.take(first, axis=-2)
    away -= xy.take(second, axis=-2)
    away *= away
    from_mean = away[..., 0] + away[..., 1] - calibration.mean
    missing = np.isnan(from_mean)
    from_mean[missing] = 0.0
    square = ((from_mean @ calibration.precision) * from_mean).sum(axis=-1)
    # Of a precision matrix that is singular but for rounding, the square may be below 0; DeepLabCut stops there.
    return len(first) / (len(first) - missing.sum(axis=-1)) * np.sqrt(np.maximum(square, 0.0))


def weigh(links: Links, xy: Floats, calibration: PafCalibration, min_affinity: float) -> Links:
    """Weaken links of unlikely lengths, and drop those that become weaker than ``min_affinity``.

    DeepLabCut divides a squared length's deviation by its variance, not by its standard deviation; so does this.

    Args:
        links: The frame's links.
        xy: (K, N, 2) places of the best peaks.
        calibration: The labelled distances.
        min_affinity: Smallest affinity of a link.
    """
    parts, per_part = xy.shape[:2]
    places = xy.reshape(-1, 2).astype(np.float64)
    squared = ((places[links.first] - places[links.second]) ** 2).sum(axis=1)
    ends = np.sort([links.first // per_part, links.second // per_part], axis=0)
    pair = np.zeros((parts, parts), int)
    pair[calibration.pairs] = np.arange(len(calibration.mean))
    row = pair[ends[0], ends[1]]
    likely = erfc(np.abs(squared - calibration.mean[row]) / calibration.variance[row] / np.sqrt(2))
    weakened = Links(links.first, links.second, links.affinity * np.maximum(likely, LEAST_LIKELY))
    return weakened.take(np.flatnonzero(weakened.affinity >= min_affinity))


class CalibratedAssembler(Assembler):
    """Grows animals that stay likely.

    Args:
        links: By falling affinity.
        xy: (K, N, 2) places of the peaks.
        calibration: The labelled distances.
    """

    def __init__(self, links: Links, xy: Floats, calibration: PafCalibration) -> None:
        super().__init__(links, parts=xy.shape[0], peaks_per_part=xy.shape[1])
        self._places = np.full((xy.shape[0] * xy.shape[1] + 1, 2), np.nan)  # the last is of missing peaks, -1
        self._places[:-1] = xy.reshape(-1, 2)
        self._calibration = calibration

    def fuse_likely(self, surplus: int) -> None:
        """Merge two animals at a time, until no surplus is left or no merged animal is likelier than its halves.

        Where only two animals can be merged at all, they are, as in DeepLabCut.
        """
        if surplus <= 0:
            return
        peaks = np.reshape([animal.peak_of for animal in self.animals], (-1, self._parts))
        alone = unlikelihood(self._places[peaks], self._calibration)
        rise = np.full((len(peaks), len(peaks)), np.inf)
        self._compare(rise, np.argwhere(np.triu(np.isinf(rise), 1)), peaks, alone)
        for _ in range(surplus):
            one, other = divmod(int(rise.argmin()), len(rise))
            possible = np.count_nonzero(np.isfinite(rise))
            if not possible or (rise[one, other] >= 0 and possible > 1):
                return
            self.animals[one] = self.animals[one].plus(self.animals.pop(other))
            alone[one] = rise[one, other] + max(alone[one], alone[other])
            peaks[one] = np.maximum(peaks[one], peaks[other])
            peaks, alone = np.delete(peaks, other, axis=0), np.delete(alone, other)
            rise = np.delete(np.delete(rise, other, axis=0), other, axis=1)
            rest = np.delete(np.arange(len(peaks)), one)
            self._compare(rise, np.sort(np.column_stack([np.full_like(rest, one), rest])), peaks, alone)

    def _compare(self, rise: Floats, pairs: Array, peaks: Array, alone: Floats) -> None:
        """Write how much unlikelier pairs of animals are merged than the unlikelier is alone; inf for shared parts.

        Args:
            rise: (A, A) is changed at the pairs.
            pairs: (M, 2) the animals, the first below the second.
            peaks: (A, K) of the animals, -1 for missing ones.
            alone: (A,) how unlikely they are.
        """
        one, other = peaks[pairs[:, 0]], peaks[pairs[:, 1]]
        apart = ((one < 0) | (other < 0)).all(axis=1)
        rise[pairs[:, 0], pairs[:, 1]] = np.inf
        merged = self._places[np.maximum(one, other)[apart]]
        pairs = pairs[apart]
        rise[pairs[:, 0], pairs[:, 1]] = unlikelihood(merged, self._calibration) - alone[pairs].max(axis=1)

    def complete(self) -> None:
        """Let incomplete animals follow the links that are left, in order, whether that makes them likely or not."""
        for animal in self.animals:
            if -1 in animal.peak_of:
                self._fill_gaps(animal)
                self._take(animal)

    def _fill(self, animal: Growing, seed: int) -> None:
        """Follow links out of a new animal's first one, the strongest first, where they make it likelier.

        A link that does not is put aside; whenever a peak comes in, the one that came nearest to it is tried again.
        """
        for peak in (self._first[seed], self._second[seed]):
            animal.peak_of[peak // self._peaks_per_part] = peak
        self._count(animal, seed)
        pose = self._places[animal.peak_of]
        unlikely = float(unlikelihood(pose, self._calibration))
        queue, seen = _Queue(self._level), set[int]()
        aside: list[tuple[float, int, int]] = []  # how much unlikelier the animal would be, how many were before, link
        put_aside = 0
        for peak in animal.peaks():
            queue.add(self._links_out(animal, peak, seen))
        while queue and -1 in animal.peak_of:
            link = queue.pop()
            new, part = self._joining(animal, link)
            if animal.peak_of[part] >= 0:
                if animal.peak_of[part] == new:
                    self._count(animal, link)
                continue
            pose[part] = self._places[new]
            after = float(unlikelihood(pose, self._calibration))
            if after >= unlikely:
                pose[part] = np.nan
                heappush(aside, (after - unlikely, put_aside, link))
                put_aside += 1
                continue
            unlikely = after
            animal.peak_of[part] = new
            self._count(animal, link)
            queue.add(self._links_out(animal, new, seen))
            if aside:
                queue.add([heappop(aside)[2]])

    def _fill_gaps(self, animal: Growing) -> None:
        """Follow links out of an animal, the strongest first.

        As in DeepLabCut, a link that came in too late to bring a peak in counts only if not its second peak, but at
        most its first, was the animal's before.
        """
        before = set(animal.peaks())
        queue, seen = _Queue(self._level), set[int]()
        for peak in animal.peaks():
            queue.add(self._links_out(animal, peak, seen))
        while queue and -1 in animal.peak_of:
            link = queue.pop()
            new, part = self._joining(animal, link)
            if animal.peak_of[part] < 0:
                animal.peak_of[part] = new
                self._count(animal, link)
                queue.add(self._links_out(animal, new, seen))
            elif animal.peak_of[part] == new and new not in before:
                self._count(animal, link)

    def _count(self, animal: Growing, link: int) -> None:
        animal.links += 1
        animal.affinity += self._affinity[link]

    def _links_out(self, animal: Growing, peak: int, seen: set[int]) -> list[int]:
        """The links of a peak of the animal that lead to free peaks of other parts and were not seen; now they are."""
        found = []
        for at in range(self._begin[peak], self._begin[peak + 1]):
            link, other = self._links_of[at], self._other_ends[at]
            if link not in seen and self._free[other] > 0 and animal.peak_of[other // self._peaks_per_part] < 0:
                seen.add(link)
                found.append(link)
        return found

    def _joining(self, animal: Growing, link: int) -> tuple[int, int]:
        """The peak that a link of an animal leads to, or its second if both are the animal's; and its part."""
        first, second = self._first[link], self._second[link]
        here = animal.peak_of[first // self._peaks_per_part] == first
        new = second if here else first
        return new, new // self._peaks_per_part


class _Queue:
    """Links by falling affinity, equal ones in the order in which they came."""

    def __init__(self, level: Sequence[int]) -> None:
        self._level = level
        self._heap: list[tuple[int, int, int]] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, links: Iterable[int]) -> None:
        """Put links in."""
        for link in links:
            heappush(self._heap, (self._level[link], self._added, link))
            self._added += 1

    def pop(self) -> int:
        """Take the first link out."""
        return heappop(self._heap)[2]
