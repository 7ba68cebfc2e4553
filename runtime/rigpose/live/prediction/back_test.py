"""Going through a recording as a live run would: what would each model have said, and where was the keypoint then?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.live.prediction.fitted import Model
from rigpose.live.prediction.motion_filter import Limits, MotionFilter
from rigpose.live.prediction.pose_history import PoseHistory
from rigpose.progress import Progress, silent

BLOCKS = 60
SHORTEST_BLOCK, LONGEST_BLOCK = 0.5, 5.0
"""Into how many stretches of time the recording is cut, and their limits [s]. Errors of one movement belong together,
so that frames are no independent cases; stretches nearly are."""
LARGEST_GAP = 3.0
"""Where a keypoint was between two frames is only known if they are at most so many usual distances apart."""
VALUES_AT_A_TIME = 4_000_000


@dataclass(frozen=True)
class Candidate:
    """A model with noise in proportion to the recording's own.

    Attributes:
        model: What is constant but for noise.
        share: The noise's density times the frames' distance to the third power (velocity) or fifth (acceleration),
            over the variance of a measurement: the square of the tracking index (Kalata 1984), which alone decides
            how quickly a filter follows.
    """

    model: Model
    share: float

    def density(self, noise: Floats, interval: float) -> Floats:
        """(2, K) for the filter, of measurements with this noise (K,) [px] at this distance [s]."""
        power, row = (3, 0) if self.model == "velocity" else (5, 1)
        density = np.zeros((2, len(noise)))
        density[row] = self.share * np.square(noise) / interval**power
        return density


CANDIDATES = (
    *(Candidate("velocity", 10.0**power) for power in range(-4, 3)),
    *(Candidate("acceleration", 10.0**power) for power in range(-7, 3)),
)
"""From a filter that needs a hundred frames to believe a turn to one that believes every frame. Errors change by some
per cent from one step to the next, so finer steps would win nothing."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """Sums of squared distances to where keypoints were seen later [px²], over the same cases for all.

    Attributes:
        leads: (L,) [s].
        cases: (B, L, K) how many, per block of time, lead and keypoint.
        hold: (B, L, K) of the last place.
        ahead: (B, L, C, K) of each candidate's prediction.
        now: (B, L, C, K) of each candidate's place without a lead.
        density: (2, C, K) of each candidate, for the filter.
    """

    leads: Floats
    cases: Array
    hold: Floats
    ahead: Floats
    now: Floats
    density: Floats


def back_test(
    poses: PoseHistory,
    *,
    leads: Floats,
    limits: Limits,
    noise: Floats,
    every: int = 1,
    show: Progress = silent,
) -> Outcome:
    """Go through a recording.

    Args:
        poses: The recording.
        leads: (L,) [s].
        limits: Of the filters.
        noise: (K,) standard deviation of a measurement [px].
        every: The filters are given every how manieth frame only, as where a live run takes the newest one and
            leaves others; all frames tell where keypoints were.
        show: How progress is shown.
    """
    sure = poses.sure(limits.least_score)
    targets = _places_at(poses.times, sure, leads)[:, ::every]
    times, seen = poses.times[::every], sure[::every]
    animals, keypoints = seen.shape[1:3]
    density = np.stack([each.density(noise, float(np.median(np.diff(times)))) for each in CANDIDATES], axis=1)
    filters = MotionFilter(
        len(CANDIDATES) * animals, limits=limits, noise=noise, density=np.repeat(density, animals, axis=1)
    )
    held = _held(times, seen, limits.coast)
    block_of = _blocks(times)
    shape = (int(block_of[-1]) + 1, len(leads), len(CANDIDATES), keypoints)
    outcome = Outcome(
        leads, np.zeros((*shape[:2], keypoints), np.int64), np.zeros((*shape[:2], keypoints)), np.zeros(shape),
        np.zeros(shape), density,
    )  # fmt: skip
    now = times[0]
    with show(poses.name, len(times), "frames") as advance:
        for block, frames in _chunks(block_of, max(1, VALUES_AT_A_TIME // filters.mean.size)):
            means = np.empty((len(frames), *filters.mean.shape))
            for i, frame in enumerate(frames):
                filters.advance(float(times[frame] - now))
                filters.correct(np.tile(seen[frame], (len(CANDIDATES), 1, 1)))
                means[i], now = filters.mean, times[frame]
            _judge(outcome, block, means, held[frames], targets[:, frames])
            advance(len(frames))
    return outcome


def _judge(outcome: Outcome, block: int, means: Floats, held: Floats, targets: Floats) -> None:
    """Add what a stretch of frames shows.

    Args:
        outcome: Is added to.
        block: Which stretch.
        means: (f, 3, 2, C*N, K) of the filters.
        held: (f, N, K, 2) the last places.
        targets: (L, f, N, K, 2) where the keypoints were a lead later.
    """
    frames, animals, keypoints, _ = held.shape
    means = means.reshape(frames, 3, 2, -1, animals, keypoints)
    held, targets = np.moveaxis(held, -1, 1), np.moveaxis(targets, -1, 2)
    known = np.isfinite(held[:, 0]) & np.isfinite(means[:, 0, 0]).all(axis=1)
    for i, lead in enumerate(outcome.leads):
        target = targets[i]
        judged = known & np.isfinite(target[:, 0])
        outcome.cases[block, i] += judged.sum(axis=(0, 1))
        outcome.hold[block, i] += np.where(judged, np.square(held - target).sum(axis=1), 0.0).sum(axis=(0, 1))
        off = means[:, 0] - target[:, :, None]
        outcome.now[block, i] += _sum(off, judged)
        off += lead * means[:, 1]
        off += lead**2 / 2 * means[:, 2]
        outcome.ahead[block, i] += _sum(off, judged)


def _sum(off: Floats, judged: Array) -> Floats:
    """(C, K) squared distances of (f, 2, C, N, K) where (f, N, K) are judged."""
    squared = off[:, 0] ** 2 + off[:, 1] ** 2
    return np.where(judged[:, None], squared, 0.0).sum(axis=(0, 2))


def _places_at(times: Floats, sure: Floats, leads: Floats) -> Floats:
    """(L, F, N, K, 2) where keypoints were a lead after each frame: between the two frames around that moment."""
    most = LARGEST_GAP * float(np.median(np.diff(times)))
    places = np.empty((len(leads), *sure.shape))
    for i, lead in enumerate(leads):
        wanted = times + lead
        before = np.clip(np.searchsorted(times, wanted, side="right") - 1, 0, len(times) - 2)
        gap = times[before + 1] - times[before]
        part = (wanted - times[before]) / gap
        first, second = sure[before], sure[before + 1]
        places[i] = first + part[:, None, None, None] * (second - first)
        places[i, (gap > most) | (part > 1)] = np.nan
        # A lead of whole frames needs the one frame only, and rounding must not ask for its neighbour.
        for frame, there in ((np.abs(part) < 1e-3, first), (np.abs(part - 1) < 1e-3, second)):
            places[i, frame] = there[frame]
    return places


def _held(times: Floats, seen: Floats, coast: float) -> Floats:
    """(F, N, K, 2) the last sure place of each keypoint; NaN where it is too old."""
    frames = np.arange(len(times))[:, None, None]
    last = np.maximum.accumulate(np.where(np.isfinite(seen[..., 0]), frames, -1), axis=0)
    animal, keypoint = np.ogrid[: seen.shape[1], : seen.shape[2]]
    held = seen[last, animal, keypoint]
    held[(last < 0) | (times[:, None, None] - times[last] > coast)] = np.nan
    return held


def _blocks(times: Floats) -> Array:
    """(F,) number of the stretch of time that each frame is in, rising."""
    since = times - times[0]
    return (since // np.clip(since[-1] / BLOCKS, SHORTEST_BLOCK, LONGEST_BLOCK)).astype(np.int64)


def _chunks(block_of: Array, most: int) -> Iterator[tuple[int, Array]]:
    """Frames, as many at a time as memory is meant for, none of two blocks."""
    for block in np.unique(block_of):
        frames = np.flatnonzero(block_of == block)
        for begin in range(0, len(frames), most):
            yield int(block), frames[begin : begin + most]
