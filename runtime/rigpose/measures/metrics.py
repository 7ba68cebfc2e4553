"""How good poses are against labels, by DeepLabCut's definitions, so that the numbers compare.

"RMSE" keeps DeepLabCut's name and its meaning: the mean Euclidean distance, not a root of squares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.poses import Poses

OKS_SIGMA = 0.1
OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
# Less similar than this to every label, a prediction belongs to no animal and has no distance.
PAIRING_OKS = 1e-6


@dataclass(frozen=True)
class Metrics:
    """One evaluation. NaN where nothing could be compared.

    Attributes:
        rmse: Mean distance over all compared keypoints, unique ones included [frame px].
        rmse_pcutoff: The same over keypoints whose score reaches the cutoff [frame px].
        mAP: Mean average precision over OKS thresholds .50:.05:.95 [0, 100]; of the animals alone.
        mAR: Mean recall over the same thresholds [0, 100].
        per_keypoint: (K + U,) mean distance [frame px], unique keypoints last.
        per_keypoint_pcutoff: (K + U,) the same over scores that reach the cutoff [frame px].
    """

    rmse: float
    rmse_pcutoff: float
    mAP: float  # noqa: N815 (the name everybody reads)
    mAR: float  # noqa: N815
    per_keypoint: Floats
    per_keypoint_pcutoff: Floats


@dataclass(frozen=True)
class Pairs:
    """Predictions laid beside the labels they belong to, M pairs in frame order.

    Attributes:
        frame: (M,) index of the frame.
        error: (M, K) distance [frame px], NaN where the label or the prediction is missing.
        score: (M, K) of the prediction [0, 1].
        size: (M,) longer side of the box around the label's keypoints [frame px].
    """

    frame: Array
    error: Floats
    score: Floats
    size: Floats


@dataclass(frozen=True)
class _Frames:
    """All frames padded with NaN to one shape, predictions by falling mean score.

    Attributes:
        xy: (F, P, K, 2) predicted [frame px].
        score: (F, P, K) predicted.
        animal_score: (F, P) mean over keypoints, where a missing one counts 0 as in DeepLabCut.
        truth: (F, N, K, 2) labels [frame px].
    """

    xy: Floats
    score: Floats
    animal_score: Floats
    truth: Floats


@dataclass(frozen=True)
class _Matching:
    """Each prediction's most similar label, and what may take it away.

    Attributes:
        best: (F, P) index of the label.
        oks: (F, P) similarity to it, -1 where there is none.
        rival: (F, P) largest similarity of a higher-scored prediction to the same label, else -1.
    """

    best: Array
    oks: Floats
    rival: Floats

    def at(self, threshold: float | Floats) -> Array:
        """(F, P) whether a prediction gets its label when pairs below ``threshold`` do not count.

        As in DeepLabCut a prediction only tries its best label, and goes empty if it is taken.
        """
        return (self.oks >= threshold) & (self.rival < threshold)


def evaluate_poses(
    predicted: Sequence[Poses],
    truth: Sequence[Floats],
    *,
    unique_truth: Sequence[Floats] | None = None,
    pcutoff: float | Sequence[float] = 0.6,
) -> Metrics:
    """All of DeepLabCut's pose metrics over a set of frames.

    Args:
        predicted: F frames.
        truth: F arrays (N, K, 2) of labels [frame px], NaN where a keypoint is not labelled.
        unique_truth: F arrays (U, 2) of the keypoints that exist once per frame, for models that find these.
        pcutoff: One cutoff, or one per keypoint, unique ones last.
    """
    frames = _stack(predicted, truth)
    pairs = [_pair(frames)]
    if unique_truth is not None:
        pairs.append(_pair(_stack_unique(predicted, unique_truth)))
    cutoffs = np.broadcast_to(np.asarray(pcutoff, float), sum(p.error.shape[1] for p in pairs))
    ends = np.cumsum([0, *(p.error.shape[1] for p in pairs)])
    sure = [
        np.where(p.score >= cutoffs[first:last], p.error, np.nan)
        for p, first, last in zip(pairs, ends, ends[1:], strict=False)
    ]
    precision, recall = _average_precision(frames)
    return Metrics(
        rmse=float(_mean(np.concatenate([p.error.ravel() for p in pairs]))),
        rmse_pcutoff=float(_mean(np.concatenate([error.ravel() for error in sure]))),
        mAP=precision,
        mAR=recall,
        per_keypoint=np.concatenate([_mean(p.error) for p in pairs]),
        per_keypoint_pcutoff=np.concatenate([_mean(error) for error in sure]),
    )


def pair_poses(predicted: Sequence[Poses], truth: Sequence[Floats]) -> Pairs:
    """Distances of predictions to their labels.

    With one animal per frame prediction and label are paired as they are. With several,
    predictions choose by OKS, the highest mean score first; what finds no partner is in no pair.
    """
    return _pair(_stack(predicted, truth))


def percent_correct(predicted: Sequence[Poses], truth: Sequence[Floats], *, within: float) -> float:
    """PCK: the percentage of labelled keypoints that were found within so many frame px.

    A labelled keypoint without a prediction counts as not found. NaN when nothing is labelled.
    """
    return _percentage(_stack(predicted, truth), lambda _: np.asarray(within))


def percent_correct_by_size(predicted: Sequence[Poses], truth: Sequence[Floats], *, share: float) -> float:
    """PCK where the distance that counts is a share of the animal's size, so that it compares between data sets.

    The size is the longer side of the box around the animal's labels (Yang and Ramanan 2013).
    """
    return _percentage(_stack(predicted, truth), lambda pairs: share * pairs.size[:, None])


def object_keypoint_similarity(xy: Floats, truth: Floats, *, sigma: float = OKS_SIGMA) -> Floats:
    """OKS of poses to labels, as COCO defines it, with the labels' own bounding box as the area.

    Args:
        xy: (..., K, 2) predicted [frame px]; a missing keypoint counts as infinitely far.
        truth: (..., K, 2) labels [frame px], leading axes broadcast against ``xy``.
        sigma: Tolerance, the same for every keypoint, relative to the root of the area.

    Returns:
        (...) [0, 1]; NaN for a label with fewer than two keypoints or whose box has no area.
    """
    labelled = _present(truth)  # (..., K)
    count = labelled.sum(axis=-1)
    low = np.where(labelled[..., None], truth, np.inf).min(axis=-2, initial=np.inf)
    high = np.where(labelled[..., None], truth, -np.inf).max(axis=-2, initial=-np.inf)
    area = np.prod(high - low + np.spacing(1), axis=-1)
    usable = (count >= 2) & ~np.isclose(area, 0)
    area = np.where(usable, area, 1.0)
    squared = np.square(xy - truth).sum(axis=-1)  # (..., K)
    closeness = np.exp(-squared / (2 * area[..., None] * (2 * sigma) ** 2))
    total = np.where(np.isfinite(closeness), closeness, 0.0).sum(axis=-1)
    return np.where(usable, total / np.maximum(count, 1), np.nan)


def _stack(predicted: Sequence[Poses], truth: Sequence[Floats]) -> _Frames:
    if len(predicted) != len(truth):
        raise ValueError(f"{len(predicted)} frames of poses but {len(truth)} frames of labels")
    K = truth[0].shape[1] if len(truth) else 0
    P = max((len(p) for p in predicted), default=0)
    N = max((len(t) for t in truth), default=0)
    poses = np.full((len(truth), P, K, 3), np.nan)
    labels = np.full((len(truth), N, K, 2), np.nan)
    for row, (found, label) in enumerate(zip(predicted, truth, strict=True)):
        poses[row, : len(found)] = found.to_array()
        labels[row, : len(label)] = label
    poses[~np.isfinite(poses).all(axis=-1)] = np.nan
    found = ~np.isnan(poses[..., 2])
    animal = np.where(found.any(axis=-1), np.where(found, poses[..., 2], 0.0).sum(axis=-1) / max(K, 1), np.nan)
    order = np.argsort(-animal, axis=-1, kind="stable")  # NaN, the padding, sorts last
    poses = np.take_along_axis(poses, order[..., None, None], axis=1)
    animal = np.take_along_axis(animal, order, axis=1)
    return _Frames(xy=poses[..., :2], score=poses[..., 2], animal_score=animal, truth=labels)


def _percentage(frames: _Frames, allowed: Callable[[Pairs], Floats]) -> float:
    labelled = int(_present(frames.truth).sum())
    pairs = _pair(frames)
    return 100.0 * int((pairs.error <= allowed(pairs)).sum()) / labelled if labelled else float("nan")


def _stack_unique(predicted: Sequence[Poses], truth: Sequence[Floats]) -> _Frames:
    """The keypoints that exist once per frame, as a frame's only animal."""
    U = truth[0].shape[0] if len(truth) else 0
    single = [Poses.empty(U) if p.unique is None else Poses.from_array(p.unique[None]) for p in predicted]
    return _stack(single, [label[None] for label in truth])


def _pair(frames: _Frames) -> Pairs:
    if frames.xy.shape[1] <= 1 and frames.truth.shape[1] <= 1:
        animals = min(frames.xy.shape[1], frames.truth.shape[1])
        partner = np.zeros((len(frames.xy), animals), int)
        paired = np.ones_like(partner, dtype=bool)
        paired &= _present(frames.xy)[:, :animals].any(-1) & _present(frames.truth)[:, :animals].any(-1)
    else:
        matching = _match(frames, at_least=1)
        partner, paired = matching.best, matching.at(PAIRING_OKS)
    frame, animal = np.nonzero(paired)
    xy, score = frames.xy[frame, animal], frames.score[frame, animal]
    label = frames.truth[frame, partner[frame, animal]]
    size = np.fmax.reduce(label, axis=1, initial=-np.inf) - np.fmin.reduce(label, axis=1, initial=np.inf)
    return Pairs(frame=frame, error=np.linalg.norm(xy - label, axis=-1), score=score, size=size.max(axis=-1))


def _match(frames: _Frames, *, at_least: int) -> _Matching:
    """Match predictions to labels, both with at least so many keypoints."""
    F, P, N = *frames.xy.shape[:2], frames.truth.shape[1]
    if N == 0:
        nobody = np.full((F, P), -1.0)
        return _Matching(best=np.zeros((F, P), int), oks=nobody, rival=nobody)
    oks = object_keypoint_similarity(frames.xy[:, :, None], frames.truth[:, None])  # (F, P, N)
    enough = _present(frames.xy).sum(-1) >= at_least  # (F, P)
    oks = np.where(np.isnan(oks) | ~enough[..., None], -1.0, oks)
    best = oks.argmax(axis=-1)
    own = oks.max(axis=-1)
    earlier = np.tri(P, k=-1, dtype=bool)  # (P, P): row i, the predictions before it
    wants_same = (best[:, :, None] == best[:, None, :]) & earlier
    rival = np.where(wants_same, own[:, None, :], -1.0).max(axis=-1, initial=-1.0)
    return _Matching(best=best, oks=own, rival=rival)


def _average_precision(frames: _Frames) -> tuple[float, float]:
    """Return mAP and mAR [0, 100] over animals with at least two keypoints."""
    candidate = _present(frames.xy).sum(-1) >= 2  # (F, P)
    if not candidate.any():
        return 0.0, 0.0
    animals = int((_present(frames.truth).sum(-1) >= 2).sum())
    if animals == 0:
        return float("nan"), float("nan")
    order = np.argsort(-frames.animal_score[candidate], kind="stable")
    matching = _match(frames, at_least=2)
    hits = np.stack([matching.at(t)[candidate][order] for t in OKS_THRESHOLDS])  # (T, M)
    true, false = hits.cumsum(axis=1), (~hits).cumsum(axis=1)
    recall = true / animals
    precision = true / (true + false + np.spacing(1))
    # Precision at a recall is the best one reached at that recall or beyond.
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.pad(envelope, ((0, 0), (0, 1)))  # recall that is never reached has precision 0
    reached = [np.searchsorted(r, RECALL_POINTS) for r in recall]
    sampled = np.stack([e[i] for e, i in zip(envelope, reached, strict=True)])
    return 100 * float(sampled.mean()), 100 * float(recall[:, -1].mean())


def _present(xy: Floats) -> Array:
    """(..., K, 2) -> (..., K) whether the keypoint is there."""
    return np.asarray(~np.isnan(xy).any(axis=-1))


def _mean(values: Floats, axis: int = 0) -> Floats:
    """Mean over what is not NaN; NaN, without a warning, where all is."""
    present = ~np.isnan(values)
    count = present.sum(axis=axis)
    total = np.where(present, values, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
