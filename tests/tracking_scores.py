"""How good tracks are against known truth: MOTA, IDF1 and HOTA of TrackEval, over the similarity of poses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from rigpose.arrays import Array, Floats
from rigpose.measures.metrics import object_keypoint_similarity

MATCH_OKS = 0.5
"""So similar are a pose and the animal that it stands for, at least."""


@dataclass(frozen=True)
class TrackingScores:
    """One recording. Animals of which fewer than two keypoints are visible count neither for nor against.

    Attributes:
        mota: Multiple object tracking accuracy: 1 - (missed + extra + switches) / animals (Bernardin and
            Stiefelhagen 2008).
        idf1: Share of animals and poses that the best pairing of whole tracks with whole animals explains (Ristani
            et al. 2016) [0, 1].
        hota: Geometric mean of detection and association, over similarities .05:.05:.95 (Luiten et al. 2021) [0, 1].
        detection: The part of HOTA that judges poses, DetA [0, 1].
        association: The part of HOTA that judges identity over time, AssA [0, 1].
        switches: How often an animal goes on in another track.
        missed: Animals without a pose, over all frames.
        extra: Poses without an animal, over all frames.
        animals: Animals to be found, over all frames.
    """

    mota: float
    idf1: float
    hota: float
    detection: float
    association: float
    switches: int
    missed: int
    extra: int
    animals: int


def score_tracks(tracks: Floats, truth: Floats, visible: Array) -> TrackingScores:
    """Compare the tracks of a recording with its truth.

    Args:
        tracks: (F, T, K, 2) x, y [frame px]; NaN where a track has no animal, or the animal no such keypoint.
        truth: (F, N, K, 2) x, y [frame px], of hidden keypoints, too.
        visible: (F, N, K) bool.
    """
    # Imported here, as poses can be judged without it.
    from trackeval.metrics import CLEAR, HOTA, Identity

    data = _sequence(tracks, truth, visible)
    quiet = {"THRESHOLD": MATCH_OKS, "PRINT_CONFIG": False}
    clear, identity = CLEAR(quiet).eval_sequence(data), Identity(quiet).eval_sequence(data)
    hota = HOTA().eval_sequence(data)
    return TrackingScores(
        mota=float(clear["MOTA"]),
        idf1=float(identity["IDF1"]),
        hota=float(np.mean(hota["HOTA"])),
        detection=float(np.mean(hota["DetA"])),
        association=float(np.mean(hota["AssA"])),
        switches=int(clear["IDSW"]),
        missed=int(clear["CLR_FN"]),
        extra=int(clear["CLR_FP"]),
        animals=int(data["num_gt_dets"]),
    )


def visible_similarity(xy: Floats, truth: Floats, visible: Array) -> Floats:
    """OKS over visible keypoints, relative to the area of the whole animal, which truth knows.

    Args:
        xy: (T, K, 2) predicted [frame px].
        truth: (N, K, 2) all keypoints [frame px].
        visible: (N, K) bool; what is hidden is not judged.

    Returns:
        (N, T) [0, 1], 0 for animals without a visible keypoint.
    """
    return _similarity(xy, truth, np.broadcast_to(visible[:, None], (len(truth), len(xy), visible.shape[1])))


def _similarity(xy: Floats, truth: Floats, judged: Array) -> Floats:
    """(N, T) mean closeness over those keypoints that are ``judged``, (N, T, K)."""
    placed = np.where(judged[..., None], xy[None], truth[:, None])
    # The other keypoints now have a closeness of 1 each: take them out of the mean again.
    whole = object_keypoint_similarity(placed, truth[:, None]) * judged.shape[-1]
    count = judged.sum(axis=-1)
    return np.where(count > 0, (whole - (~judged).sum(axis=-1)) / np.maximum(count, 1), 0.0).clip(0, 1)


def _sequence(tracks: Floats, truth: Floats, visible: Array) -> dict[str, Any]:
    """What TrackEval's metrics read, with identities counted from 0."""
    animals, poses, similarities = [], [], []
    for xy, animal, seen in zip(tracks, truth, visible, strict=True):
        there = np.flatnonzero(~np.isnan(xy).any(axis=-1).all(axis=-1))
        judged = seen.sum(axis=1) >= 2
        similarity = visible_similarity(xy[there], animal, seen)  # (N, t)
        free = ~_of_hidden(xy[there], animal, similarity, judged)
        animals.append(np.flatnonzero(judged))
        poses.append(there[free])
        similarities.append(similarity[judged][:, free])
    names, numbers = np.unique(np.concatenate(poses), return_inverse=True)
    ends = np.cumsum([len(p) for p in poses])[:-1]
    return {
        "num_timesteps": len(truth),
        "num_gt_ids": truth.shape[1],
        "num_tracker_ids": len(names),
        "num_gt_dets": sum(map(len, animals)),
        "num_tracker_dets": sum(map(len, poses)),
        "gt_ids": animals,
        "tracker_ids": np.split(numbers, ends),
        "similarity_scores": similarities,
    }


def _of_hidden(xy: Floats, truth: Floats, similarity: Floats, judged: Array) -> Array:
    """(t,) which poses stand for an animal that is hidden: a model may know where it is, and need not."""
    # Nothing is asked for where an animal is hidden: what there is of a pose decides.
    present = np.broadcast_to(~np.isnan(xy).any(axis=-1), (len(truth), *xy.shape[:2]))
    similarity = np.where(judged[:, None], similarity, _similarity(xy, truth, present))
    rows, columns = linear_sum_assignment(np.where(similarity >= MATCH_OKS, similarity, 0.0), maximize=True)
    found = ~judged[rows] & (similarity[rows, columns] >= MATCH_OKS)
    hidden = np.zeros(len(xy), bool)
    hidden[columns[found]] = True
    return hidden
