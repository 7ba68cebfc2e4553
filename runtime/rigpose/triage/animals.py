"""Frames with another number of animals than usual, and frames in which two animals seem to change names."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from rigpose.arrays import Floats
from rigpose.files.results import Results
from rigpose.triage.judgement import Judgement, body_size, known, median_and_scale, present, sure

USUALLY = 0.8
"""A number of animals that fewer frames show is no rule: they come and go."""
LONGEST_GAP = 5
"""Frames without an animal after which its last place says nothing about its next."""
CLEARLY = 0.5
"""Two animals that would have gone this share of their way under changed names have probably changed them."""


def wrong_counts(results: Results) -> Judgement:
    """Severity is the share of the usual number of animals by which a frame is off, at most 1.

    Args:
        results: The poses.
    """
    count = present(results).sum(axis=1)
    frames = len(count)
    tally = np.bincount(count) if frames else np.zeros(1, int)
    usual = int(tally.argmax())
    if usual == 0 or tally[usual] < USUALLY * frames:
        return Judgement.nothing(frames)
    severity = np.clip(np.abs(count - usual) / usual, 0, 1)
    return Judgement(severity, lambda frame: f"animals: {count[frame]} instead of {usual}")


def switches(results: Results, pcutoff: float) -> Judgement:
    """Severity is the share of their way that two animals would save by changing names, from a half up to 1.

    Both must have gone farther than half a body, so that animals which lie on each other are left alone.

    Args:
        results: The poses.
        pcutoff: Scores from here on are sure.
    """
    points = sure(results, pcutoff)
    frames, animals = points.shape[:2]
    if frames == 0:
        return Judgement.nothing(frames)
    severity, who = np.zeros(frames), np.full((frames, 2), -1)
    centres = _centres(points)
    before = _last_places(centres)
    steps = np.linalg.norm(centres - before, axis=-1)
    usual, scale = median_and_scale(steps[np.isfinite(steps)], least=0.5)
    far = max(body_size(points) / 2, usual + 4 * scale)
    for a, b in combinations(range(animals), 2):
        kept = steps[:, a] + steps[:, b]
        changed = np.linalg.norm(centres[:, a] - before[:, b], axis=-1)
        changed += np.linalg.norm(centres[:, b] - before[:, a], axis=-1)
        saved = np.where((steps[:, a] > far) & (steps[:, b] > far), 1 - changed / np.maximum(kept, 1e-9), 0.0)
        worse = np.nan_to_num(saved) > np.maximum(severity, CLEARLY)
        severity[worse], who[worse] = saved[worse], (a, b)

    def why(frame: int) -> str:
        a, b = (results.individuals[index] for index in who[frame])
        return f"{a} and {b} seem to change names"

    return Judgement(severity, why)


def _centres(points: Floats) -> Floats:
    """(F, N, 2) mean of each animal's sure keypoints; NaN where it has none."""
    shown = known(points)
    count = shown.sum(axis=-1)[..., None]
    total = np.where(shown[..., None], points, 0.0).sum(axis=2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _last_places(centres: Floats) -> Floats:
    """(F, N, 2) where each animal was last before each frame; NaN where that is too long ago."""
    frame = np.arange(len(centres))[:, None]
    last = np.maximum.accumulate(np.where(known(centres), frame, -1), axis=0)
    last = np.concatenate([np.full((1, centres.shape[1]), -1), last[:-1]])
    places = np.take_along_axis(centres, np.maximum(last, 0)[..., None], axis=0)
    fresh = (last >= 0) & (frame - last <= LONGEST_GAP + 1)
    return np.where(fresh[..., None], places, np.nan)
