"""Frames in which a keypoint jumps: away and back at once, or elsewhere to stay for a while.

An animal that rests and then runs is far beyond its usual speed, too, so speed alone would choose every run. A wrong
point gives itself away by the way that it takes: it leaves and comes back, which is a detour, or it makes a single fast
step between slow ones. A running animal passes through and is fast in several steps.
"""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.files.results import Results
from rigpose.triage.judgement import Judgement, beyond, body_size, known, median_and_scale, sure, sure_unique

LIMIT = 8.0
"""Robust standard deviations of a keypoint's own detours and single steps from which one is suspicious.

Steps of a point with normal noise follow a Rayleigh distribution, whose largest of 100,000 lies 5.5 of them above the
median.
"""
LEAST_SCALE = 0.5
"""A resting animal's points move by less than a pixel; this much noise is granted [px]."""
LEAST_OF_BODY = 0.02
"""As ``LEAST_SCALE``, in sizes of the body: ``LIMIT`` of them are a sixth, which a viewer sees."""
FAST, TURN = 0.9, 1.5
"""An animal that turns round at a speed makes a detour as long as one step.

So a detour must be longer than this many steps at the speed that this share of the steps keep below.
"""
LONGEST_GAP = 5
"""Frames without a sure point across which a step is still a step; later the animal may be anywhere."""
LONGEST_STAY = 25
"""Frames within which a point that returns to where it was before a jump was wrong, and the animal not gone."""


def jumps(results: Results, pcutoff: float) -> Judgement:
    """Severity by the robust z of the worst keypoint's detour or single step.

    Unsure keypoints are gaps: they jump about anyway, and their score says so.

    Args:
        results: The poses.
        pcutoff: Scores from here on are sure.
    """
    points = sure(results, pcutoff)
    frames, animals, keypoints, _ = points.shape
    least = max(LEAST_SCALE, LEAST_OF_BODY * body_size(points))
    unique = sure_unique(results, pcutoff)
    streams = np.concatenate([points.reshape(frames, animals * keypoints, 2), unique], axis=1)
    names = [f"{animal} {keypoint}" for animal in results.individuals for keypoint in results.keypoints]
    if animals == 1:
        names = list(results.keypoints)
    names += results.unique_keypoints
    worst, way, which = np.zeros(frames), np.zeros(frames), np.zeros(frames, int)
    for number in range(streams.shape[1]):
        z, distance = _suspicion(streams[:, number], least)
        worse = z > worst
        worst[worse], way[worse], which[worse] = z[worse], distance[worse], number

    def why(frame: int) -> str:
        return f"jump: {names[which[frame]]} by {way[frame]:.0f} px"

    return Judgement(beyond(worst, LIMIT), why)


def _suspicion(xy: Floats, least: float) -> tuple[Floats, Floats]:
    """(F,) robust z of the worse of detour and single step, 0 below the limit; (F,) the jump's length [px]."""
    z, way = np.zeros(len(xy)), np.zeros(len(xy))
    times = np.flatnonzero(known(xy))
    if len(times) < 3:
        return z, way
    places, gaps = xy[times], np.diff(times)
    lengths = np.linalg.norm(np.diff(places, axis=0), axis=1)
    near = gaps <= LONGEST_GAP + 1
    speed = np.where(near, lengths / gaps, 0.0)  # [px/frame]
    if near.any():
        least = max(least, TURN * float(np.quantile(speed[near], FAST)) / LIMIT)
    z_detour, z_step = _told_apart(
        _robust_z(_detours(places, lengths, gaps, near), least), _robust_z(_excess(speed), least)
    )
    for i in np.flatnonzero(z_detour > LIMIT):
        z[times[i]], way[times[i]] = z_detour[i], min(lengths[i - 1], lengths[i])
    for step, frame in _single_steps(places, times, z_step):
        if z_step[step] > z[frame]:
            z[frame], way[frame] = z_step[step], lengths[step]
    return z, way


def _robust_z(values: Floats, least: float) -> Floats:
    middle, scale = median_and_scale(values, least=least)
    return (values - middle) / scale


def _told_apart(z_detour: Floats, z_step: Floats) -> tuple[Floats, Floats]:
    """Either with 0 where a neighbour of either kind says more: one jump makes its neighbours look odd, too."""
    around = np.concatenate([[0.0], z_detour, [0.0]])
    steps = np.concatenate([[0.0], z_step, [0.0]])
    neighbours = np.maximum.reduce([around[:-2], around[2:], steps[:-1], steps[1:]])
    ends = np.maximum(z_detour[:-1], z_detour[1:])
    return np.where(z_detour >= neighbours, z_detour, 0.0), np.where(z_step > ends, z_step, 0.0)


def _detours(places: Floats, lengths: Floats, gaps: Array, near: Array) -> Floats:
    """(T,) how much longer half the way over each point is than past it, per frame of the longer gap [px]."""
    detours = np.zeros(len(places))
    past = np.linalg.norm(places[2:] - places[:-2], axis=1)
    extra = (lengths[:-1] + lengths[1:] - past) / 2
    detours[1:-1] = np.where(near[:-1] & near[1:], extra / np.maximum(gaps[:-1], gaps[1:]), 0.0)
    return detours


def _excess(speed: Floats) -> Floats:
    """(T-1,) by how much each step is faster than both of its neighbours [px/frame]; negative where it is not."""
    padded = np.concatenate([[0.0], speed, [0.0]])
    return speed - np.maximum(padded[:-2], padded[2:])


def _single_steps(places: Floats, times: Array, z: Floats) -> list[tuple[int, int]]:
    """The suspicious steps, each with the frame to look at: the one on the wrong side, where that can be told.

    A point that comes back to where it was before the last step was wrong in between.
    """
    found: list[tuple[int, int]] = []
    left: tuple[Floats, int] | None = None
    for step in np.flatnonzero(z > LIMIT):
        here, there = places[step], places[step + 1]
        if left is not None and times[step + 1] - left[1] <= LONGEST_STAY:
            origin = left[0]
            if 2 * np.linalg.norm(there - origin) < np.linalg.norm(here - origin):
                found.append((int(step), int(times[step])))
                left = None
                continue
        found.append((int(step), int(times[step + 1])))
        left = here, int(times[step])
    return found
