"""Frames in which the network is unsure of keypoints that it is sure of elsewhere."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.files.results import Results
from rigpose.triage.judgement import Judgement, present

USUALLY = 0.5
"""A keypoint that is sure in at least this share of its frames can be expected to be.

One that is out of sight most of the time scores low there with good reason, and says nothing about a frame.
"""
LEAST = 0.05
"""Less than one of twenty keypoints that is missing, or all of them a little under the cutoff, is no event."""
NAMED = 3
"""Most keypoints that a reason names."""


def low_scores(results: Results, pcutoff: float) -> Judgement:
    """Severity is the worst animal's mean shortfall of the scores from the cutoff: 0 for sure, 1 for scores of 0.

    The mean goes over the keypoints that can be expected to be sure. A missing keypoint of a found animal scores 0.
    Where no keypoint can be expected to be sure, all are looked at: the network is then new to the whole video.

    Args:
        results: The poses.
        pcutoff: Scores from here on are sure.
    """
    scores, here, names, owner = _scores(results)
    if pcutoff <= 0 or not len(names):
        return Judgement.nothing(len(scores))
    expected = _expected(scores >= pcutoff, here)
    shortfall = np.where(here & expected, np.clip(1 - scores / pcutoff, 0, 1), 0.0)  # (F, P)
    means = [
        shortfall[:, owner == one].sum(axis=1) / np.maximum((here & expected)[:, owner == one].sum(axis=1), 1)
        for one in np.unique(owner)
    ]
    severity = np.max(means, axis=0)
    severity[severity < LEAST] = 0.0

    def why(frame: int) -> str:
        low = [point for point in np.argsort(-shortfall[frame], kind="stable") if shortfall[frame, point] > 0]
        named = ", ".join(f"{names[point]} {_in_words(scores[frame, point])}" for point in low[:NAMED])
        more = f" and {len(low) - NAMED} more" if len(low) > NAMED else ""
        return f"low score: {named}{more}"

    return Judgement(severity, why)


def _in_words(score: float) -> str:
    return f"{score:.2f}" if score > 0 else "missing"


def _scores(results: Results) -> tuple[Floats, Array, list[str], Array]:
    """(F, P) scores, 0 for what is missing; (F, P) whether their animal was found; P names; (P,) numbers of animals."""
    frames, animals, keypoints = results.score.shape
    here = np.repeat(present(results), keypoints, axis=1)
    scores = results.score.reshape(frames, animals * keypoints)
    owner = np.repeat(np.arange(animals), keypoints)
    names = [
        f"{individual} {keypoint}" if animals > 1 else keypoint
        for individual in results.individuals
        for keypoint in results.keypoints
    ]
    if results.unique is not None:
        unique = results.unique[..., 2]
        scores = np.concatenate([scores, unique], axis=1)
        found = np.isfinite(unique).sum(axis=1, keepdims=True) > 0
        here = np.concatenate([here, np.broadcast_to(found, unique.shape)], axis=1)
        owner = np.concatenate([owner, np.full(unique.shape[1], animals)])
        names += results.unique_keypoints
    return np.nan_to_num(scores, nan=0.0), here, names, owner


def _expected(is_sure: Array, here: Array) -> Array:
    """(P,) the keypoints that are usually sure; all where none is."""
    found = here.sum(axis=0)
    usual = ((is_sure & here).sum(axis=0) >= USUALLY * found) & (found > 0)
    return usual if usual.any() else np.ones_like(usual)
