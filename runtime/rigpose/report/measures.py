"""What a table of poses shows by itself, without labels: coverage, jumps, gaps, suspected switches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rigpose.arrays import Floats
from rigpose.files.results import Results

LEAST_JUMP_PX = 4.0
"""Half a cell of the usual map: what moves less may be the same peak."""
JUMP_PART = 0.25
"""Of the animal's size. A paw in its swing moves less against the body from one frame to the next."""
SPREADS = 8.0
"""A step that is so many robust standard deviations above the usual one is not of its kind."""
LEAP_PART = 1.0
"""Of the animal's size: further than its own length, an animal is found elsewhere rather than having moved."""
SWITCH_PART = 0.5
"""Two animals are suspected to have changed places where, with exchanged names, they moved at most this part."""
MOST_AWAY = 15
"""Frames after which a keypoint that jumps to where it was has not come back, but jumps."""
FEWEST_FOR_A_BODY = 3
"""Keypoints. The median step of fewer is not that of the body."""


@dataclass(frozen=True)
class Jump:
    """A keypoint that is suddenly elsewhere, while its animal is not.

    Attributes:
        frame: The row in which it is there.
        animal: Its number.
        keypoint: Its number.
        px: How far it moved from the frame before, against its body [frame px].
    """

    frame: int
    animal: int
    keypoint: int
    px: float


@dataclass(frozen=True)
class Leap:
    """A whole animal that is suddenly elsewhere.

    Attributes:
        frame: The row in which it is there.
        animal: Its number.
        other: The animal that is now where this one was, and the other way round: a suspected switch; none for a leap.
        px: How far it moved since it was last seen [frame px].
    """

    frame: int
    animal: int
    other: int | None
    px: float


@dataclass(frozen=True)
class Gap:
    """Frames ``begin <= frame < end`` in which an animal has no keypoint at all."""

    animal: int
    begin: int
    end: int

    @property
    def frames(self) -> int:
        """How many."""
        return self.end - self.begin


@dataclass(frozen=True)
class Measures:
    """What was measured in F frames of N animals with K keypoints.

    Attributes:
        pcutoff: Keypoints that score at least this are sure.
        present: (F, N) whether anything of the animal was found.
        score: (F, N, K) [0, 1], 0 for a missing keypoint of a present animal; NaN where the animal is absent.
        sure: (K,) part of the present animals' keypoints that are found and score at least the cutoff [0, 1].
        unsure: (K,) part that are found and score less.
        missing: (K,) part that were not found.
        speed: (F, N) how far the body moved since the frame before [frame px]; NaN where nobody knows.
        size: Usual diagonal of an animal's keypoints [frame px]; NaN where none has three.
        jumps: By frame.
        leaps: By frame; a suspected switch is one entry.
        gaps: By animal, then frame.
        badness: (F,) how much a frame deserves a look; 0 is nothing.
    """

    pcutoff: float
    present: NDArray[np.bool_]
    score: Floats
    sure: Floats
    unsure: Floats
    missing: Floats
    speed: Floats
    size: float
    jumps: tuple[Jump, ...]
    leaps: tuple[Leap, ...]
    gaps: tuple[Gap, ...]
    badness: Floats

    @property
    def frames(self) -> int:
        """F."""
        return len(self.present)

    @property
    def switches(self) -> tuple[Leap, ...]:
        """Suspected ones."""
        return tuple(leap for leap in self.leaps if leap.other is not None)

    @property
    def coverage(self) -> float:
        """Part of the animals' keypoints in all frames that are found and sure, an absent animal's not [0, 1].

        An animal that never comes is none: tables have places for as many as the model may find.
        """
        return float((_of_those_seen(self.score) >= max(self.pcutoff, 1e-9)).mean())


def measure(results: Results, pcutoff: float) -> Measures:
    """Measure a video's table.

    Args:
        results: Rows are frames; an animal keeps its place.
        pcutoff: From which score on people use a keypoint. Only such keypoints can jump or leap.
    """
    found: NDArray[np.bool_] = np.isfinite(results.xy[..., 0]) & np.isfinite(results.xy[..., 1])
    present = np.asarray(found.any(axis=-1))
    score = np.where(found, np.nan_to_num(results.score), 0.0)
    score = np.where(present[..., None], score, np.nan).astype(np.float32)
    sure = found & (np.nan_to_num(results.score, nan=0.0) >= pcutoff)
    xy = np.where(sure[..., None], results.xy, np.nan).astype(np.float32)
    size = _size(xy)
    steps = np.full_like(xy, np.nan)
    steps[1:] = xy[1:] - xy[:-1]
    body = _median(steps, axis=2)
    leaps = _leaps(xy, size)
    # Keypoints of an animal that is suddenly elsewhere do not jump on their own.
    moved = {(leap.frame, animal) for leap in leaps for animal in (leap.animal, leap.other)}
    jumps = tuple(jump for jump in _jumps(xy, steps, body, size) if (jump.frame, jump.animal) not in moved)
    gaps = _gaps(present)
    there = max(int(present.sum()), 1)
    return Measures(
        pcutoff=pcutoff,
        present=present,
        score=score,
        sure=sure.sum(axis=(0, 1)) / there,
        unsure=(found & ~sure).sum(axis=(0, 1)) / there,
        missing=(present[..., None] & ~found).sum(axis=(0, 1)) / there,
        speed=np.linalg.norm(body, axis=-1).astype(np.float32),
        size=size,
        jumps=jumps,
        leaps=leaps,
        gaps=gaps,
        badness=_badness(score, jumps, leaps),
    )


def worst_frames(measures: Measures, most: int) -> list[int]:
    """Up to so many frames that deserve a look, in order, none close to another; fewer where little is wrong."""
    apart = max(2, measures.frames // (4 * max(most, 1)))
    left = measures.badness.copy()
    usual = float(np.median(left)) if len(left) else 0.0
    spread = _spread(left)
    chosen: list[int] = []
    while len(chosen) < most and len(left):
        frame = int(left.argmax())
        # What lies within the usual ups and downs is no worse than the frames around it.
        if left[frame] <= max(usual + 3 * spread, 0.1):
            break
        chosen.append(frame)
        left[max(0, frame - apart + 1) : frame + apart] = -1
    return sorted(chosen)


def spread_frames(frames: int, most: int) -> list[int]:
    """Up to so many frames at equal distances, away from both ends."""
    count = min(frames, most)
    return [int((i + 0.5) * frames / count) for i in range(count)]


def _size(xy: Floats) -> float:
    """Median diagonal of animals of which at least three keypoints are sure [frame px]."""
    seen = np.isfinite(xy[..., 0])
    whole = seen.sum(axis=-1) >= FEWEST_FOR_A_BODY
    if not whole.any():
        return float("nan")
    points = xy[whole]
    return float(np.median(np.linalg.norm(np.nanmax(points, axis=1) - np.nanmin(points, axis=1), axis=-1)))


def _jumps(xy: Floats, steps: Floats, body: Floats, size: float) -> tuple[Jump, ...]:
    """Steps that are long for the keypoint, and long against its animal; the way back is no jump of its own."""
    common = np.isfinite(steps[..., 0]).sum(axis=-1, keepdims=True) >= FEWEST_FOR_A_BODY
    moved = np.linalg.norm(steps - np.where(common, np.nan_to_num(body), 0.0)[:, :, None], axis=-1)
    place = xy - _median(xy, axis=2)[:, :, None]
    found: list[Jump] = []
    for keypoint in range(moved.shape[-1]):
        own = moved[..., keypoint]
        known = own[np.isfinite(own)]
        if not len(known):
            continue
        limit = max(LEAST_JUMP_PX, float(np.median(known)) + SPREADS * _spread(known))
        if np.isfinite(size):
            limit = max(limit, JUMP_PART * size)
        far = own > limit
        # The step after a jump is its way back, or its going on: one jump all the same.
        begins = far & ~np.concatenate([np.zeros_like(far[:1]), far[:-1]])
        for animal in range(own.shape[1]):
            away: int | None = None
            for frame in np.flatnonzero(begins[:, animal]).tolist():
                if away is not None and frame - away <= MOST_AWAY:
                    now, before = place[frame, animal, keypoint], place[away - 1, animal, keypoint]
                    away = None
                    if np.linalg.norm(now - before) <= limit:
                        continue
                away = frame
                found.append(Jump(frame, animal, keypoint, float(own[frame, animal])))
    return tuple(sorted(found, key=lambda jump: (jump.frame, jump.animal, jump.keypoint)))


def _leaps(xy: Floats, size: float) -> tuple[Leap, ...]:
    """Animals that moved further than they are long since they were last seen, some of them into each other's places.

    An animal may move on while it is out of sight, so that the limit grows with the length of the gap.
    """
    if not np.isfinite(size) or size <= 0:
        return ()
    centres = _median(xy, axis=2)
    seen = np.isfinite(centres[..., 0])
    rows = np.where(seen, np.arange(len(xy))[:, None], -1)
    # Of every frame and animal the last row before in which it was seen.
    before = np.concatenate([np.full((1, xy.shape[1]), -1), np.maximum.accumulate(rows)[:-1]])
    last = np.where((before >= 0)[..., None], centres[before, np.arange(xy.shape[1])], np.nan)
    moved = np.linalg.norm(centres - last, axis=-1)
    far = moved > LEAP_PART * size * np.maximum(np.arange(len(xy))[:, None] - before, 1)
    found: list[Leap] = []
    told: set[tuple[int, int]] = set()
    for frame, animal in np.argwhere(far).tolist():
        if (frame, animal) in told:
            continue
        partner = _partner(animal, centres[frame], last[frame], moved[frame])
        if partner is not None:
            told.add((frame, partner))
        found.append(Leap(frame, animal, partner, float(moved[frame, animal])))
    return tuple(found)


def _partner(animal: int, now: Floats, last: Floats, moved: Floats) -> int | None:
    """The animal with which this one seems to have changed places."""
    crossed = np.linalg.norm(now - last[animal], axis=-1) + np.linalg.norm(now[animal] - last, axis=-1)
    stayed = moved + moved[animal]
    possible = np.where(crossed <= SWITCH_PART * stayed, crossed, np.inf)
    possible[animal] = np.inf
    best = int(possible.argmin())
    return best if np.isfinite(possible[best]) else None


def _gaps(present: NDArray[np.bool_]) -> tuple[Gap, ...]:
    found: list[Gap] = []
    for animal, there in enumerate(present.T):
        edges = np.diff(np.concatenate([[True], there, [True]]).astype(np.int8))
        begins, ends = np.flatnonzero(edges == -1), np.flatnonzero(edges == 1)
        found += [Gap(animal, int(begin), int(end)) for begin, end in zip(begins, ends, strict=True)]
    return tuple(found)


def _badness(score: Floats, jumps: tuple[Jump, ...], leaps: tuple[Leap, ...]) -> Floats:
    """(F,) what is missing of a full score, an absent animal counting as 0, and what moved as it should not."""
    bad = 1 - _of_those_seen(score).mean(axis=(1, 2), dtype=np.float64)
    for jump in jumps:
        # The worth of one keypoint, and never less than makes itself seen among many.
        bad[jump.frame] += max(1 / score.shape[2], 0.2)
    for leap in leaps:
        bad[leap.frame] += 1.0
    return bad


def _of_those_seen(score: Floats) -> Floats:
    """(F, M, K) of the animals that are there in some frame, 0 where they are not; of one that is not, if none is."""
    known = np.nan_to_num(score)
    ever = np.isfinite(score).any(axis=(0, 2))
    return known[:, ever] if ever.any() else known[:, :1]


def _spread(values: Floats) -> float:
    """Standard deviation, if most of the values were normal."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0


def _median(values: Floats, axis: int) -> Floats:
    """As numpy's that passes over NaN, NaN where all are; by sorting, which is much faster for few values."""
    known = np.isfinite(values).sum(axis=axis, keepdims=True)
    ordered = np.sort(values, axis=axis)  # NaN last
    middle = [np.take_along_axis(ordered, np.maximum(place, 0), axis) for place in ((known - 1) // 2, known // 2)]
    middle[1] = np.where(known > 0, middle[1], np.nan)
    return np.squeeze((middle[0] + middle[1]) / 2, axis=axis)
