"""Which conditions hold for which animals of a frame: all of them at once, with the memory of a hysteresis."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.live.triggers.conditions import CENTRE, Angle, Condition, Distance, InPolygon, Score, Speed
from rigpose.poses import Poses

_KINDS = (InPolygon, Speed, Distance, Angle, Score)
_MOST_FRAMES = 2048
"""That are remembered for speeds: the longest way, a second, at twice the rate of a fast camera."""


@dataclass(frozen=True)
class _Past:
    """Where the keypoints were whose speed is asked for.

    Attributes:
        row: Number of an animal -> its row.
        xy: (N, V, 2), NaN where they were not sure.
    """

    row: dict[int, int]
    xy: Floats


class Holding:
    """The conditions of one camera's rules on one kind of poses, found or predicted.

    Args:
        conditions: Each with the least score of its keypoints.
        keypoints: Names of the model's.
    """

    def __init__(self, conditions: Sequence[tuple[Condition, float]], keypoints: tuple[str, ...]) -> None:
        order = sorted(range(len(conditions)), key=lambda i: _KINDS.index(type(conditions[i][0])))
        self.column = {given: column for column, given in enumerate(order)}
        """Place among the conditions given -> place in what ``update`` returns."""
        ordered = [conditions[i] for i in order]
        kinds = [type(condition) for condition, _ in ordered]
        self._count = len(kinds)
        self._of = {kind: _stretch(kinds, kind) for kind in _KINDS}
        asked = {least for condition, least in ordered if CENTRE in condition.points}
        self._centres = [] if CENTRE in keypoints else sorted(asked)
        self._at = self._places(ordered, keypoints)
        self._least = np.array([0.0 if isinstance(c, Score) else least for c, least in ordered])[:, None]
        limits = [(1.0, 0.0, -c.leave_margin) if isinstance(c, InPolygon) else c.limits for c, _ in ordered]
        self._sign, enter, leave = np.array(limits).reshape(-1, 3).T
        self._enter, self._leave = self._sign * enter, self._sign * leave
        self._corners = [np.array(c.polygon, np.float32) for c, _ in ordered if isinstance(c, InPolygon)]
        over = [c.over_seconds for c, _ in ordered if isinstance(c, Speed)]
        self._over = {seconds: [i for i, other in enumerate(over) if other == seconds] for seconds in set(over)}
        self._times: deque[float] = deque(maxlen=_MOST_FRAMES)
        self._past: deque[_Past] = deque(maxlen=_MOST_FRAMES)
        self._row: dict[int, int] = {}
        self._on = np.zeros((0, self._count), bool)

    def update(self, time: float, ids: Sequence[int], poses: Poses) -> tuple[list[int], list[int]]:
        """Per condition the animals, bit by bit, for which it holds, and those for which it surely does not.

        Args:
            time: Of the exposure [s], later than the last one.
            ids: Number of each animal; what a negative one did before is not known.
            poses: [frame px].
        """
        if not len(poses):
            self._row, self._on = {}, self._on[:0]
            if self._over:
                self._remember(time, {}, np.empty((0, 0, 2)))
            nobody = [0] * self._count
            return nobody, nobody
        row = {number: at for at, number in enumerate(ids) if number >= 0}
        values = self._values(time, ids, row, poses)
        before = np.array([self._row.get(number, -1) for number in ids])
        was = self._on[before] & (before >= 0)[:, None] if len(self._on) else False
        on = values >= np.where(was, self._leave, self._enter)  # not where the value is unknown, NaN
        self._row, self._on = row, on
        bits = _bits(np.concatenate([on, ~(on | np.isnan(values))], axis=1))
        return bits[: self._count], bits[self._count :]

    def forget(self) -> None:
        """Nothing was seen so far."""
        self._row, self._on = {}, self._on[:0]
        self._times.clear()
        self._past.clear()

    def _values(self, time: float, ids: Sequence[int], row: dict[int, int], poses: Poses) -> Floats:
        """(N, C) what is compared with the limits, the sign so that more holds; NaN where it is unknown."""
        xy, score = self._with_centres(poses)
        at, of = self._at, self._of
        points = xy[:, at]  # (N, C, 3, 2)
        sure = np.all(score[:, at] >= self._least, axis=2)
        values = np.empty(sure.shape)
        if self._corners:
            there = zip(points[:, of[InPolygon], 0].tolist(), sure[:, of[InPolygon]].tolist(), strict=True)
            values[:, of[InPolygon]] = [list(map(_depth, self._corners, ps, oks)) for ps, oks in there]
        if self._over:
            here = np.where(sure[:, of[Speed], None], points[:, of[Speed], 0], np.nan)
            values[:, of[Speed]] = self._speeds(time, ids, here)
            self._remember(time, row, here)
        if of[Distance].stop > of[Distance].start:
            apart = points[:, of[Distance], 0] - points[:, of[Distance], 1]
            values[:, of[Distance]] = np.hypot(apart[..., 0], apart[..., 1])
        if of[Angle].stop > of[Angle].start:
            values[:, of[Angle]] = _angles(points[:, of[Angle]])
        if of[Score].stop > of[Score].start:
            values[:, of[Score]] = score[:, at[of[Score], 0]]
        values *= self._sign
        values[~sure] = np.nan
        return values

    def _places(self, ordered: Sequence[tuple[Condition, float]], keypoints: tuple[str, ...]) -> Array:
        """(C, 3) index of the points that each needs, the first again where it needs fewer."""
        places = []
        for condition, least in ordered:
            own = [
                keypoints.index(p) if p in keypoints else len(keypoints) + self._centres.index(least)
                for p in condition.points
            ]
            places.append((own + own[:1] * 2)[:3])
        return np.array(places, int).reshape(-1, 3)

    def _with_centres(self, poses: Poses) -> tuple[Floats, Floats]:
        """(N, K + M, 2) and (N, K + M): the keypoints, and behind them the centre for each least score."""
        if not self._centres:
            return poses.xy.astype(np.float64), poses.score
        columns, scores = [poses.xy.astype(np.float64)], [poses.score]
        for least in self._centres:
            sure = poses.score >= least
            count = sure.sum(axis=1, keepdims=True)
            known = count > 0
            total = np.where(sure[..., None], poses.xy, 0.0).sum(axis=1)
            columns.append((total / np.maximum(count, 1))[:, None])
            best = np.where(sure, poses.score, 0.0).sum(axis=1, keepdims=True) / np.maximum(count, 1)
            scores.append(np.where(known, best, np.nan))
        return np.concatenate(columns, axis=1), np.concatenate(scores, axis=1)

    def _speeds(self, time: float, ids: Sequence[int], here: Floats) -> Floats:
        """(N, V) [px/s]; NaN where a keypoint was not sure then, or nobody looked so long ago."""
        speeds = np.full(here.shape[:2], np.nan)
        for over, columns in self._over.items():
            at = bisect_right(self._times, time - over) - 1
            if at < 0 or self._times[at] >= time or not self._past[at].row:
                continue
            then = np.array([self._past[at].row.get(number, -1) for number in ids])
            way = here[:, columns] - self._past[at].xy[then][:, columns]
            speeds[:, columns] = np.hypot(way[..., 0], way[..., 1]) / (time - self._times[at])
            speeds[then < 0] = np.nan
        return speeds

    def _remember(self, time: float, row: dict[int, int], xy: Floats) -> None:
        oldest = time - max(self._over)
        while len(self._times) > 1 and self._times[1] <= oldest:
            self._times.popleft()
            self._past.popleft()
        self._times.append(time)
        self._past.append(_Past(row, xy))


def _stretch(kinds: Sequence[type], kind: type) -> slice:
    """Where a kind lies among kinds in order."""
    begin = sum(_KINDS.index(other) < _KINDS.index(kind) for other in kinds)
    return slice(begin, begin + list(kinds).count(kind))


def _depth(corners: Floats, point: list[float], sure: bool) -> float:  # noqa: FBT001  # mapped over columns
    """How deep a point is inside a polygon [px], negative outside; NaN where it is unknown."""
    return cv2.pointPolygonTest(corners, point, measureDist=True) if sure and not math.isnan(point[0]) else math.nan


def _angles(points: Floats) -> Floats:
    """(N, A, 3, 2) -> (N, A) [degrees] at the second; NaN where two of them are in one place."""
    one, other = points[..., 0, :] - points[..., 1, :], points[..., 2, :] - points[..., 1, :]
    cross = one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]
    dot = (one * other).sum(axis=-1)
    return np.where((cross == 0) & (dot == 0), np.nan, np.degrees(np.arctan2(np.abs(cross), dot)))


def _bits(rows: Array) -> list[int]:
    """(N, C) bool -> per column a number whose bit n is row n."""
    packed = np.packbits(rows.T, axis=1, bitorder="little")
    width, raw = packed.shape[1], packed.tobytes()
    return [int.from_bytes(raw[i : i + width], "little") for i in range(0, len(raw), width)]
