"""The animals of one frame as the tracker sees them: keypoints that count, centres and sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.poses import Poses
from rigpose.tracking.settings import TrackingSettings


@dataclass(frozen=True)
class Found:
    """M of a frame's animals, those with at least one keypoint that counts.

    Attributes:
        rows: (M,) which of the frame's animals they are.
        xy: (M, K, 2) float64 places of keypoints [frame px], NaN for those that do not count.
        seen: (M, K) which count.
        centre: (M, 2) mean of them [frame px].
        size: (M,) diagonal of their bounding box, at least ``least`` [frame px].
        weight: (M,) mean score over all keypoints, 0 for those that do not count [0, 1].
        identity: (M,) index of the individual, -1 for none.
        least: Extent that an animal has at least [frame px].
    """

    rows: Array
    xy: Floats
    seen: Array
    centre: Floats
    size: Floats
    weight: Floats
    identity: Array
    least: float

    def __len__(self) -> int:
        return len(self.rows)


def look(poses: Poses, settings: TrackingSettings) -> Found:
    """The animals of a frame, in an order that depends on where they are and not on their rows."""
    xy = np.asarray(poses.xy, np.float64)
    score = np.asarray(poses.score, np.float64)
    seen = (score >= settings.min_score) & np.isfinite(xy).all(axis=2)
    present = np.flatnonzero(seen.any(axis=1))
    rows = np.array(sorted(present.tolist(), key=lambda row: (xy[row].tobytes(), score[row].tobytes())), np.intp)
    seen = seen[rows]
    xy = np.where(seen[..., None], xy[rows], np.nan)
    count = seen.sum(axis=1)
    centre = np.where(seen[..., None], xy, 0.0).sum(axis=1) / count[:, None]
    extent = np.fmax.reduce(xy, axis=1, initial=-np.inf) - np.fmin.reduce(xy, axis=1, initial=np.inf)
    least = settings.least_size(poses.keypoints)
    identity = np.full(len(rows), -1)
    if settings.use_identity and poses.identity is not None:
        identity = np.asarray(poses.identity, np.intp)[rows]
    return Found(
        rows=rows,
        xy=xy,
        seen=seen,
        centre=centre,
        size=np.maximum(np.hypot(extent[:, 0], extent[:, 1]), least),
        weight=np.where(seen, score[rows], 0.0).sum(axis=1) / poses.keypoints,
        identity=identity,
        least=least,
    )
