"""Which prediction stands for which label when both are only points."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Array, Floats

CANDIDATES = 3
"""A label whose three nearest predictions all belong to nearer labels goes without, as in DeepLabCut."""


def nearest_free(labels: Floats, predictions: Floats) -> Array:
    """(L,) index of the prediction (P, 2) that stands for each label (L, 2), -1 for none.

    The label with the nearest prediction chooses first.
    """
    partner = np.full(len(labels), -1)
    if not len(predictions):
        return partner
    distance = np.linalg.norm(labels[:, None] - predictions[None], axis=-1)  # (L, P)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :CANDIDATES]
    taken: set[int] = set()
    for label in np.argsort(distance.min(axis=1), kind="stable").tolist():
        free = [p for p in nearest[label].tolist() if p not in taken]
        if free:
            partner[label] = free[0]
            taken.add(free[0])
    return partner
