"""Few frames out of many suspicious ones: bad, apart in time, and unlike each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.files.results import Results
from rigpose.triage.judgement import Judgement, body_size, sure, sure_unique

ALIKE = 0.05
"""What the worst frame is still worth where its pose has been chosen already, against 1 for a wholly new one."""
SPREAD = (1, 99)
"""Percentiles to which places are cut, so that one point far out does not make a frame unlike all others."""


@dataclass(frozen=True)
class Suggestion:
    """A frame that is worth labelling.

    Attributes:
        frame: Its row in the results.
        severity: The sum over all ways of looking; frames that look wrong in several ways are worse.
        reasons: What each of these says.
    """

    frame: int
    severity: float
    reasons: tuple[str, ...]


def choose(
    judgements: Mapping[str, Judgement],
    places: Floats,
    *,
    count: int,
    gap: int,
    labelled: Collection[int] = (),
    without_picture: Collection[int] = (),
) -> list[Suggestion]:
    """At most ``count`` frames, worst first; the same input always gives the same frames.

    The ways of looking choose in turn, so that none crowds out the others. Each takes the frame with the highest
    product of severity and unlikeness to what is chosen or labelled already (greedy farthest point).

    Args:
        judgements: Name -> what it says about every frame.
        places: (F, D) a point for each frame's poses, from ``pose_space``.
        count: How many frames are wanted.
        gap: Frames that must lie between any two of them, and between them and labelled ones.
        labelled: Frames that are labelled, or wait for it.
        without_picture: Frames that could not be decoded.
    """
    frames = len(places)
    free = np.ones(frames, bool)
    nearest = np.full(frames, np.inf)
    _take(free, nearest, places, [frame for frame in labelled if 0 <= frame < frames], gap)
    free[[frame for frame in without_picture if 0 <= frame < frames]] = False
    chosen: list[int] = []
    typical = _typical_distance(places)
    names = list(judgements)
    while names and len(chosen) < count:
        for name in list(names):
            severity = np.where(free, judgements[name].severity, 0.0)
            if not severity.any():
                names.remove(name)
                continue
            if len(chosen) < count:
                frame = int((severity * _novelty(nearest, typical)).argmax())
                chosen.append(frame)
                _take(free, nearest, places, [frame], gap)
    found = [_suggestion(frame, judgements) for frame in chosen]
    return sorted(found, key=lambda suggestion: (-suggestion.severity, suggestion.frame))


def pose_space(results: Results, pcutoff: float) -> Floats:
    """(F, 2P) all sure keypoints of a frame in sizes of the body; a missing one is at its median place.

    Place and heading count here, unlike in the search for rare poses: what is around an animal differs with them.
    """
    points = sure(results, pcutoff)
    size = max(body_size(points), 1.0)
    frames = len(points)
    unique = sure_unique(results, pcutoff)
    both = [array.reshape(frames, int(np.prod(array.shape[1:]))) for array in (points, unique)]
    values = np.concatenate(both, axis=1) / size
    for column in range(values.shape[1]):
        its = values[:, column]
        known = np.isfinite(its)
        if not known.any():
            its[:] = 0
            continue
        low, middle, high = np.percentile(its[known], (SPREAD[0], 50, SPREAD[1]))
        its[:] = np.clip(np.where(known, its, middle), low, high)
    return values


def _take(free: Array, nearest: Floats, places: Floats, frames: list[int], gap: int) -> None:
    """Bar the frames and those too near in time; bring every frame's distance to what is taken up to date."""
    for frame in frames:
        free[max(0, frame - gap) : frame + gap + 1] = False
        np.minimum(nearest, np.linalg.norm(places - places[frame], axis=1), out=nearest)


def _typical_distance(places: Floats) -> float:
    if not len(places):
        return 1.0
    return max(float(np.median(np.linalg.norm(places - np.median(places, axis=0), axis=1))), 1e-6)


def _novelty(nearest: Floats, typical: float) -> Floats:
    """Half for a pose at a typical distance from the nearest taken one, towards 1 beyond."""
    return np.where(np.isinf(nearest), 1.0, nearest / (np.where(np.isinf(nearest), 0, nearest) + typical)) + ALIKE


def _suggestion(frame: int, judgements: Mapping[str, Judgement]) -> Suggestion:
    speaking = [judgement for judgement in judgements.values() if judgement.severity[frame] > 0]
    speaking.sort(key=lambda judgement: -judgement.severity[frame])
    severity = float(sum(judgement.severity[frame] for judgement in speaking))
    return Suggestion(frame, severity, tuple(judgement.why(frame) for judgement in speaking))
