"""The parity certificate: how far apart two ways of running one model are, and the replay of it on a rig."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from rigpose.analyzer import Analyzer
from rigpose.arrays import Floats, Frames
from rigpose.bundle import GOLDEN_KEYPOINTS, PARITY, Bundle
from rigpose.errors import BundleError, ConfigError
from rigpose.poses import Poses
from rigpose.schema import parse


@dataclass(frozen=True)
class Tolerance:
    """What still counts as the same pose.

    Attributes:
        position_px: Per keypoint; half a map cell, the smallest real mistake, is a hundred times more.
        position_relative: Added per px of the coordinate: float32 keeps about 1e-7 of a number, and untrained
            networks point far outside the frame.
        score: Absolute.
    """

    position_px: float = 0.01
    position_relative: float = 2e-6
    score: float = 1e-4


@dataclass(frozen=True)
class Difference:
    """Poses of one run against poses of another, over all their keypoints.

    Attributes:
        keypoints: How many were compared.
        worst_px: Largest distance [px].
        p99_px: 99th percentile of the distances [px].
        mean_px: Mean distance [px].
        worst_score: Largest score difference.
        beyond: How many lie beyond the tolerance.
        ties: How many were left out, because two cells of the map were equally good and either may win.
    """

    keypoints: int
    worst_px: float
    p99_px: float
    mean_px: float
    worst_score: float
    beyond: int
    ties: int = 0

    @property
    def within(self) -> bool:
        """Whether every keypoint lies within the tolerance and at least one was compared."""
        return self.beyond == 0 and self.keypoints > 0


@dataclass(frozen=True)
class Case:
    """One comparison: a batch of frames of one size."""

    batch: int
    height: int
    width: int
    difference: Difference


@dataclass(frozen=True)
class Certificate:
    """``parity.yaml``.

    Attributes:
        reference: What is right: framework, version and device.
        compared: What was held against it.
        frames: Where the frames came from.
        tolerance: What counted as the same.
        cases: Sizes and batches compared.
        batch_invariance_px: Largest distance between a frame alone and the same frame in a batch [px].
        passed: Whether every case lies within the tolerance.
    """

    reference: str
    compared: str
    frames: str
    tolerance: Tolerance
    cases: tuple[Case, ...]
    batch_invariance_px: float
    passed: bool


def compare(
    reference: Sequence[Poses],
    found: Sequence[Poses],
    tolerance: Tolerance,
    *,
    ambiguous: Floats | None = None,
) -> Difference:
    """Compare poses frame by frame, animal by animal, keypoint by keypoint.

    Args:
        reference: The poses that count as right.
        found: The poses to judge; a different number of animals is beyond any tolerance.
        tolerance: What counts as the same.
        ambiguous: (F, K) true where the reference itself could as well have chosen another map cell; such
            keypoints are left out if they differ.

    Returns:
        The differences; a keypoint that only one side misses is infinitely far.
    """
    frames = [_frame_gap(right, other) for right, other in zip(reference, found, strict=True)]
    distance, score, extent = (np.concatenate(parts) for parts in zip(*frames, strict=True))
    far = distance > tolerance.position_px + tolerance.position_relative * extent
    if ambiguous is not None:
        unclear = [np.resize(row, len(gap[0])) for row, gap in zip(ambiguous, frames, strict=True)]
        tie = far & np.concatenate(unclear) & (score <= tolerance.score)
    else:
        tie = np.zeros_like(far)
    distance, score, far = distance[~tie], score[~tie], far[~tie]
    if not len(distance):
        return Difference(0, 0.0, 0.0, 0.0, 0.0, beyond=0, ties=int(tie.sum()))
    return Difference(
        keypoints=len(distance),
        worst_px=float(distance.max()),
        p99_px=float(np.percentile(distance, 99, method="higher")),
        mean_px=float(distance.mean()),
        worst_score=float(score.max()),
        beyond=int((far | (score > tolerance.score)).sum()),
        ties=int(tie.sum()),
    )


def _frame_gap(right: Poses, other: Poses) -> tuple[Floats, Floats, Floats]:
    """Per keypoint of a frame, flat: distance [px], score difference, largest coordinate [px].

    A keypoint or an animal that only one side has is infinitely far.
    """
    if len(right) != len(other):
        missing = np.full(max(len(right), len(other)) * right.keypoints, np.inf)
        return missing, np.zeros_like(missing), np.zeros_like(missing)
    distance = np.linalg.norm(right.xy.astype(np.float64) - other.xy, axis=-1)
    absent, absent_there = np.isnan(right.xy).any(-1), np.isnan(other.xy).any(-1)
    distance = np.where(absent & absent_there, 0.0, np.where(absent ^ absent_there, np.inf, distance))
    score = np.abs(np.nan_to_num(right.score) - np.nan_to_num(other.score))
    extent = np.abs(np.nan_to_num(right.xy)).max(axis=-1)
    return distance.ravel(), score.ravel(), extent.ravel()


def read_certificate(bundle: Bundle) -> Certificate:
    """The certificate that the export wrote."""
    path = bundle.file(PARITY)
    try:
        return parse(Certificate, yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))
    except (OSError, yaml.YAMLError, ConfigError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); export the bundle again.") from error


def read_golden(bundle: Bundle) -> tuple[list[Frames], list[Poses]]:
    """The golden frames and the poses that the training framework gave for them."""
    keypoints = np.load(bundle.file(GOLDEN_KEYPOINTS), allow_pickle=False)
    frames = []
    for i in range(len(keypoints)):
        path = bundle.file(golden_frame_name(i))
        frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if frame is None:
            raise BundleError(f"{path}: cannot be read as a picture; copy the bundle again.")
        frames.append(frame)
    return frames, [Poses.from_array(k) for k in keypoints]


def golden_frame_name(index: int) -> str:
    """Where a golden frame lies inside the bundle."""
    return f"golden/{index:03d}.png"


def write_picture(path: Path, frame: Frames) -> None:
    """Write a frame as a lossless PNG."""
    ok, encoded = cv2.imencode(".png", frame)
    assert ok
    path.write_bytes(encoded.tobytes())


def replay(analyzer: Analyzer, bundle: Bundle) -> Difference:
    """Run the golden frames on this machine and compare with the training framework's poses."""
    frames, expected = read_golden(bundle)
    return compare(expected, analyzer.predict(frames), read_certificate(bundle).tolerance)
