"""How good detected boxes are, as COCO defines it: mean average precision and recall over IoU thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Array, Floats

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
MOST_PER_IMAGE = 100
"""Only so many boxes of an image count, the ones with the highest scores."""


@dataclass(frozen=True)
class BoxMetrics:
    """Metrics over a set of images [0, 100]; NaN where no box is labelled.

    Attributes:
        mAP: Precision over the IoU thresholds .50:.05:.95.
        mAP_50: At IoU .5 alone.
        mAP_75: At IoU .75 alone.
        mAR: Recall over the same thresholds, with at most 100 boxes per image.
        mAR_50: At IoU .5 alone.
        mAR_75: At IoU .75 alone.
    """

    mAP: float  # noqa: N815 (the names everybody reads)
    mAP_50: float  # noqa: N815
    mAP_75: float  # noqa: N815
    mAR: float  # noqa: N815
    mAR_50: float  # noqa: N815
    mAR_75: float  # noqa: N815


@dataclass(frozen=True)
class Boxes:
    """The boxes that were found in one image, D of them.

    Attributes:
        xyxy: (D, 4) left, top, right, bottom [image px].
        score: (D,) [0, 1].
    """

    xyxy: Floats
    score: Floats


def evaluate_boxes(predicted: Sequence[Boxes], truth: Sequence[Floats]) -> BoxMetrics:
    """COCO's box metrics for one class, with boxes of every size and none of them a crowd (Lin et al. 2014).

    Args:
        predicted: F images.
        truth: F arrays (N, 4) of labelled boxes, left, top, right, bottom [image px].
    """
    if len(predicted) != len(truth):
        raise ValueError(f"{len(predicted)} images of boxes but {len(truth)} images of labels")
    labelled = sum(len(boxes) for boxes in truth)
    if labelled == 0:
        return BoxMetrics(*[float("nan")] * 6)
    found = [_best(boxes) for boxes in predicted]
    score = np.concatenate([boxes.score for boxes in found] or [np.empty(0)])
    if not len(score):
        return BoxMetrics(*[0.0] * 6)
    order = np.argsort(-score, kind="stable")
    hits = np.concatenate([_hits(f.xyxy, t) for f, t in zip(found, truth, strict=True)], axis=1)[:, order]
    precision, recall = _average(hits, labelled)
    at_75 = int(np.flatnonzero(IOU_THRESHOLDS == 0.75)[0])
    figures = [figure for each in (precision, recall) for figure in (each.mean(), each[0], each[at_75])]
    return BoxMetrics(*(100 * float(figure) for figure in figures))


def intersection_over_union(first: Floats, second: Floats) -> Floats:
    """(D, 4) and (N, 4) left, top, right, bottom -> (D, N) [0, 1]; 0 for two boxes without any area."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - common
    return common / np.where(union > 0, union, 1.0)


def _best(boxes: Boxes) -> Boxes:
    """The boxes of an image that count, by falling score."""
    order = np.argsort(-boxes.score, kind="stable")[:MOST_PER_IMAGE]
    return Boxes(np.asarray(boxes.xyxy, np.float64)[order], np.asarray(boxes.score, np.float64)[order])


def _hits(found: Floats, truth: Floats) -> Array:
    """(T, D) whether each box, by falling score, gets a label at each threshold.

    A box takes the label that it covers best among those which are still free, if it covers one well enough; of two
    labels that it covers alike it takes the later one.
    """
    overlap = intersection_over_union(found, np.asarray(truth, np.float64).reshape(-1, 4))  # (D, N)
    hits = np.zeros((len(IOU_THRESHOLDS), len(found)), bool)
    for hit_out, threshold in zip(hits, IOU_THRESHOLDS, strict=True):
        free = np.where(overlap >= threshold, overlap, -1.0)
        for i in range(len(found)):
            if free.shape[1] and (best := free[i].max()) > 0:
                hit_out[i] = True
                free[:, np.flatnonzero(free[i] == best)[-1]] = -1.0
    return hits


def _average(hits: Array, labelled: int) -> tuple[Floats, Floats]:
    """(T, M) hits by falling score -> (T,) average precision and (T,) recall."""
    true, false = hits.cumsum(axis=1), (~hits).cumsum(axis=1)
    recall = true / labelled
    precision = true / (true + false + np.spacing(1))
    # Precision at a recall is the best one reached at that recall or beyond.
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.pad(envelope, ((0, 0), (0, 1)))  # recall that is never reached has precision 0
    reached = [np.searchsorted(r, RECALL_POINTS) for r in recall]
    sampled = np.stack([e[i] for e, i in zip(envelope, reached, strict=True)])
    return sampled.mean(axis=1), recall[:, -1]
