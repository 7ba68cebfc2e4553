"""Part affinity fields: peaks and their affinities -> animals, as DeepLabCut's assembler decides (Lauer et al. 2022).

Frame by frame: pair the peaks of every two connected parts (``links``), make animals of connected pairs, drop animals
that lie upon a stronger one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.grouping.calibrated import CalibratedAssembler, unlikelihood, weigh
from rigpose.grouping.growing import Assembler, Growing
from rigpose.grouping.links import Links, best_peaks, ends, find_links
from rigpose.grouping.missing import present_only
from rigpose.grouping.surplus import becoming_likelier, fill_gaps, holds, nearest, not_covered, positions, rank_table
from rigpose.models.model_spec import PafGrouping
from rigpose.models.paf_calibration import PafCalibration
from rigpose.poses import Poses


@dataclass(frozen=True)
class Animals:
    """Animals as peaks of one frame.

    Attributes:
        ranks: (A, K) rank of each part's peak among the part's peaks by falling score, -1 for a missing part.
        affinity: (A,) summed over the links that hold the animal together.
        links: (A,) how many these are.
    """

    ranks: Array
    affinity: Floats
    links: Array

    def __len__(self) -> int:
        return len(self.ranks)

    def take(self, rows: Array) -> Animals:
        """Some of the animals, in this order."""
        return Animals(self.ranks[rows], self.affinity[rows], self.links[rows])


def group_paf(candidates: Mapping[str, Floats], grouping: PafGrouping) -> list[Poses]:
    """Assemble the ``peaks`` (B, K, P, 3) and ``affinity`` (B, E, P, P) of a batch.

    Peaks with a NaN or infinite value are no peaks; such an affinity is 0.

    Returns:
        One ``Poses`` per frame, the animal with the largest sum of affinities first, or the likeliest if they are
        calibrated; ``animal_score`` is the mean affinity of its links.
    """
    identity = candidates.get("identity")  # (B, K, P, I)
    return [
        _assemble(peaks, affinity, None if identity is None else identity[b], grouping)
        for b, (peaks, affinity) in enumerate(zip(candidates["peaks"], candidates["affinity"], strict=True))
    ]


def _assemble(peaks: Floats, affinity: Floats, identity: Floats | None, grouping: PafGrouping) -> Poses:
    parts, most = len(peaks), min(grouping.max_animals, peaks.shape[1])
    order, count = best_peaks(peaks)
    part = np.arange(parts)[:, None]
    found = peaks[part, order]  # (K, P, 3) the best of each part first
    if parts == 1:
        # One part is an animal by itself: nothing to link. DeepLabCut's decoder fails on such a model.
        sure = np.count_nonzero(found[0, : min(count[0], most), 2] >= np.float32(grouping.min_score))
        animals = Animals(np.arange(sure)[:, None], np.zeros(sure), np.zeros(sure, int))
    elif grouping.max_animals == 1:
        # As in DeepLabCut, the best peak of every part is the only animal's, whatever the scores and affinities.
        some = int(count.any())
        animals = Animals(np.where(count > 0, 0, -1)[None, :][:some], np.zeros(some), np.zeros(some, int))
    else:
        # As in DeepLabCut, a frame of n animals has at most n peaks of a part that count: the best ones.
        best = order[:, :most]
        source, target = ends(grouping.edges)
        row = (np.arange(len(source))[:, None] * peaks.shape[1] + best[source])[:, :, None]
        between = affinity.ravel().take(row * peaks.shape[1] + best[target][:, None, :])
        between[~np.isfinite(between)] = 0.0
        animals = _link_and_grow(found, count, between, grouping)
    if identity is not None:
        identity = identity[part, order]
    return _poses(animals, found, identity, grouping)


def _link_and_grow(found: Floats, count: Array, between: Floats, grouping: PafGrouping) -> Animals:
    """Animals of a frame with several parts and several animals, the largest sum of affinities first.

    Args:
        found: (K, P, 3) peaks, the best of each part first.
        count: (K,) how many of them are peaks.
        between: (E, N, N) affinities of the N best peaks of each edge's parts, all finite.
        grouping: The parameters.
    """
    rank = np.arange(between.shape[1])
    score = np.where(rank < count[:, None], found[:, : len(rank), 2], -np.inf)
    links = find_links(score, between, grouping)
    xy = found[:, : len(rank), :2]
    calibration = grouping.calibration if grouping.use_calibration else None
    if calibration is None:
        made = _connect(links, xy, grouping)
        worth = made.affinity
    else:
        made = _connect_likely(weigh(links, xy, calibration, grouping.min_affinity), xy, grouping, calibration)
        worth = -unlikelihood(positions(made.ranks, found), calibration)
    # An animal of two parts is held together by one link. DeepLabCut asks for two, and so never finds any.
    held = made.links >= min(grouping.min_links, len(found) - 1)
    rows = np.flatnonzero(held)
    rows = rows[np.argsort(-worth[rows], kind="stable")]
    rows = rows[not_covered(positions(made.ranks[rows], found), grouping.max_overlap)]
    surplus = rows[:0]
    if len(rows) > grouping.max_animals:
        fullest = rows[np.argsort(-(made.ranks[rows] >= 0).sum(axis=1), kind="stable")]
        rows, surplus = fullest[: grouping.max_animals], fullest[grouping.max_animals :]
    animals = made.take(rows)
    if grouping.add_discarded:
        free, lost = rank_table(count, found.shape[1]), np.concatenate([made.ranks[~held], made.ranks[surplus]])
        free &= ~holds(made.ranks, free.shape) | holds(lost, free.shape)
        takers = becoming_likelier(partial(unlikelihood, calibration=calibration)) if calibration else nearest
        animals = replace(animals, ranks=fill_gaps(animals.ranks, found, free, takers))
    return animals


def _connect(links: Links, xy: Floats, grouping: PafGrouping) -> Animals:
    """Make animals of the groups of peaks that links connect, in the order in which DeepLabCut makes them.

    Links of a group with at most one peak of each part do not contradict each other: the group is an animal, and
    nothing has to be searched. The other groups are grown link by link.

    Args:
        links: The frame's links.
        xy: (K, N, 2) places of the best peaks.
        grouping: The parameters.
    """
    parts, per_part = xy.shape[:2]
    groups = _group(links, parts, per_part)
    # Merging surplus animals may take any two of them, so then all of them are grown.
    clean = groups.clean & (not grouping.force_fusion)
    rows = np.flatnonzero(clean)
    made, born = groups.animals.take(rows), groups.born[rows]
    place = np.flatnonzero(~clean[groups.of_link[groups.strongest]])
    if len(place):
        tangled = groups.strongest[place]
        assembler = Assembler(links.take(tangled), parts=parts, peaks_per_part=per_part)
        assembler.join_whole_groups(_whole(groups, tangled))
        # As in DeepLabCut: when whole groups alone fill the frame, no other animal is made.
        if np.count_nonzero(born < len(links)) + len(assembler.animals) != grouping.max_animals:
            assembler.grow(len(links) + place)
            surplus = len(made) + len(assembler.animals) - grouping.max_animals
            if surplus > 0 and grouping.force_fusion:
                assembler.fuse_nearest(xy.reshape(-1, 2), surplus)
        made = _join(made, _from_growing(assembler.animals, parts, per_part))
        born = np.concatenate([born, [animal.born for animal in assembler.animals]])
    return made.take(np.argsort(born))


def _connect_likely(links: Links, xy: Floats, grouping: PafGrouping, calibration: PafCalibration) -> Animals:
    """The same with a model of distances: only whole groups that nothing contradicts need no growing.

    Args:
        links: The frame's links, weighed.
        xy: (K, N, 2) places of the best peaks.
        grouping: The parameters.
        calibration: The labelled distances.
    """
    parts, per_part = xy.shape[:2]
    groups = _group(links, parts, per_part)
    rows = np.flatnonzero(groups.clean & (groups.born < len(links)))
    made, born = groups.animals.take(rows), groups.born[rows]
    place = np.flatnonzero(~np.isin(groups.of_link[groups.strongest], rows))
    if len(place):
        tangled = groups.strongest[place]
        assembler = CalibratedAssembler(links.take(tangled), xy, calibration)
        assembler.join_whole_groups(_whole(groups, tangled))
        if len(made) + len(assembler.animals) != grouping.max_animals:
            assembler.grow(len(links) + place)
            assembler.fuse_likely(len(made) + len(assembler.animals) - grouping.max_animals)
            assembler.complete()
        made = _join(made, _from_growing(assembler.animals, parts, per_part))
        born = np.concatenate([born, [animal.born for animal in assembler.animals]])
    return made.take(np.argsort(born))


@dataclass(frozen=True)
class _Groups:
    """Groups of peaks that links connect; a peak without a link is a group of no animal.

    Attributes:
        of_link: (M,) group of each link, which has the number of the group's first peak.
        strongest: (M,) the links by falling affinity.
        clean: (G,) whether a group has links, and no two peaks of one part.
        animals: All peaks and links of each of the G groups; only a clean group's make sense as an animal.
        born: (G,) sorts the groups: those of as many peaks as an animal has parts come first, by their first link,
            which is below M; then the others, by M plus the place of their strongest.
    """

    of_link: Array
    strongest: Array
    clean: Array
    animals: Animals
    born: Array


def _group(links: Links, parts: int, per_part: int) -> _Groups:
    M, G = len(links), parts * per_part
    group_of = _connected(links, G)
    linked = np.zeros(G, bool)
    linked[links.first] = linked[links.second] = True
    peak = np.flatnonzero(linked)
    part, group = peak // per_part, group_of[peak]
    peaks_of = np.bincount(group * parts + part, minlength=G * parts).reshape(G, parts)
    ranks = np.full((G, parts), -1)
    ranks[group, part] = peak % per_part
    of_link = group_of[links.first]
    strongest = np.argsort(-links.affinity, kind="stable")
    place = np.empty(M, int)
    place[strongest] = np.arange(M)
    count = np.bincount(of_link, minlength=G)
    affinity = np.bincount(of_link, weights=links.affinity, minlength=G).astype(np.float64)
    whole = peaks_of.sum(axis=1) == parts
    born = np.full(G, 2 * M)
    np.minimum.at(born, of_link, np.where(whole[of_link], np.arange(M), M + place))
    return _Groups(
        of_link=of_link,
        strongest=strongest,
        clean=(peaks_of.max(axis=1) == 1),
        animals=Animals(ranks, affinity, count),
        born=born,
    )


def _connected(links: Links, size: int) -> Array:
    """(size,) the smallest peak that each peak is connected with, by spreading small numbers along the links."""
    group = np.arange(size)
    while True:
        before = group
        smaller = np.minimum(group[links.first], group[links.second])
        group = group.copy()
        np.minimum.at(group, links.first, smaller)
        np.minimum.at(group, links.second, smaller)
        group = group[group]
        if (group == before).all():
            return group


def _whole(groups: _Groups, links: Array) -> list[tuple[int, list[int]]]:
    """Of the groups that some links belong to, the whole ones: when they are born, and rows of all of their links."""
    born = groups.born[groups.of_link[links]]
    rows = np.flatnonzero(born < len(groups.of_link))
    by_group: dict[int, list[int]] = {}
    for row in rows[np.argsort(links[rows])].tolist():
        by_group.setdefault(int(born[row]), []).append(row)
    return list(by_group.items())


def _from_growing(grown: Sequence[Growing], parts: int, per_part: int) -> Animals:
    peaks = np.reshape([animal.peak_of for animal in grown], (-1, parts)).astype(int)
    affinity = np.array([animal.affinity for animal in grown], float)
    links = np.array([animal.links for animal in grown], int)
    return Animals(np.where(peaks < 0, -1, peaks - per_part * np.arange(parts)), affinity, links)


def _join(one: Animals, other: Animals) -> Animals:
    return Animals(
        np.concatenate([one.ranks, other.ranks]),
        np.concatenate([one.affinity, other.affinity]),
        np.concatenate([one.links, other.links]),
    )


def _poses(animals: Animals, found: Floats, identity: Floats | None, grouping: PafGrouping) -> Poses:
    """Look the peaks up; ``found`` (K, P, 3) and ``identity`` (K, P, I) are in the order of the ranks."""
    part = np.arange(len(found))
    missing = animals.ranks < 0
    keypoints = np.where(missing[..., None], np.nan, found[part, animals.ranks]).astype(np.float32)
    if grouping.clip_scores:
        keypoints[..., 2] = keypoints[..., 2].clip(0.0, 1.0)
    return Poses(
        keypoints[..., :2],
        keypoints[..., 2],
        animal_score=(animals.affinity / np.maximum(animals.links, 1)).astype(np.float32),
        identity_scores=None if identity is None else present_only(identity[part, animals.ranks], keypoints[..., 2]),
    )
