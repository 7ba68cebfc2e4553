"""The parity certificate: how far apart two ways of running one model are, and the replay of it on a rig.

Each graph is held against the training framework on the same frames and, where the pose graph looks into boxes or
starts from rough poses, on the same boxes and rough poses. What lies between the graphs is the same code on both sides.

Some decisions hang on rounding alone: which of two equal cells is the peak, which of two equal pairs is linked. There
the training framework itself gives several answers when its numbers are disturbed as little as rounding does, and each
of these is right. So a pose is compared with all of them where it differs from the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import yaml

from rigpose.analyzer import Analyzer
from rigpose.arrays import Array, Floats, Frames
from rigpose.bundle import PARITY, Bundle
from rigpose.conditional import ConditionalAnalyzer
from rigpose.errors import BundleError, ConfigError
from rigpose.golden import Told, read_golden
from rigpose.model_spec import DetectorSpec, ModelSpec
from rigpose.poses import Poses
from rigpose.schema import parse
from rigpose.sessions import Session
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose.top_down import BoxAnalyzer, CropAnalyzer

Compared: TypeAlias = Literal["keypoints", "candidates", "boxes"]


@dataclass(frozen=True)
class Tolerance:
    """What still counts as the same pose, or the same box.

    Attributes:
        position_px: Per keypoint; half a map cell, the smallest real mistake, is a hundred times more.
        position_relative: Added per px of the coordinate: float32 keeps about 1e-7 of a number, and untrained
            networks point far outside the frame.
        box_px: Per corner of a box. A detector scales its frame, and moves and stretches anchors of up to half the
            frame by exponentials; crops are cut at whole pixels, so a twentieth of one never shows.
        score: Of keypoints, animals and boxes; of a score above 1, which untrained networks give, this part of it.
    """

    position_px: float = 0.01
    position_relative: float = 2e-6
    box_px: float = 0.05
    score: float = 1e-4


@dataclass(frozen=True)
class Difference:
    """Answers of one run against answers of another, keypoint by keypoint or box by box.

    Attributes:
        compared: How many keypoints (or boxes) were compared.
        worst_px: Largest distance [px], of boxes between corners.
        p99_px: 99th percentile of the distances [px].
        mean_px: Mean distance [px].
        worst_score: Largest score difference.
        beyond: How many lie beyond the tolerance of every answer that the reference gives.
        ties: How many agree not with the reference's first answer, but with another one that rounding alone decides.
    """

    compared: int
    worst_px: float
    p99_px: float
    mean_px: float
    worst_score: float
    beyond: int
    ties: int = 0

    @property
    def within(self) -> bool:
        """Whether everything lies within the tolerance and something was compared."""
        return self.beyond == 0 and self.compared > 0


@dataclass(frozen=True)
class Case:
    """One comparison: a batch of frames of one size.

    Attributes:
        graph: ``pose`` or ``detector``.
        what: Keypoints of poses, all candidates that poses are put together from, or boxes.
        batch: Frames at once.
        height: Of the frames [px].
        width: Of the frames [px].
        difference: How far apart the two were.
    """

    graph: str
    what: Compared
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
        cases: Graphs, sizes and batches compared.
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


def poses_of(spec: ModelSpec, session: Session, frames: Sequence[Frames], told: Told) -> list[Poses]:
    """Poses of frames by a pose graph alone, which is told what other models would have found [frame px]."""
    if spec.crop is None:
        return Analyzer(spec, session).predict(frames)
    crops = CropAnalyzer(spec, session)
    if spec.task == "conditional_top_down":
        assert told.conditions is not None
        return ConditionalAnalyzer(crops).predict(frames, told.conditions)
    assert told.boxes is not None
    return crops.predict(frames, told.boxes)


def boxes_of(spec: DetectorSpec, session: Session, frames: Sequence[Frames]) -> list[Poses]:
    """The best boxes of frames by a detector graph, as poses of two keypoints: the upper left and the lower right.

    Twice as many as poses are looked for in, so that there is room to raise that number.
    """
    found = BoxAnalyzer(spec, session).predict(frames)
    best = [slice(2 * spec.max_animals)] * len(found)
    return [
        Poses(boxes.xyxy[rows].reshape(-1, 2, 2), np.repeat(boxes.score[rows, None], 2, axis=1))
        for boxes, rows in zip(found, best, strict=True)
    ]


def compare(
    reference: Sequence[Poses],
    found: Sequence[Poses],
    tolerance: Tolerance,
    *,
    also: Sequence[Sequence[Poses]] = (),
    position_px: float | None = None,
) -> Difference:
    """Compare poses frame by frame, animal by animal in the order of the grouping, keypoint by keypoint.

    Scores of animals count as their keypoints' scores do, and keypoints that exist once per frame as one more animal;
    an animal that is another individual is infinitely far.

    Args:
        reference: The poses that count as right.
        found: The poses to judge; a different number of animals is beyond any tolerance.
        tolerance: What counts as the same.
        also: Further answers of the reference, each for all frames; what agrees with one of them is right.
        position_px: In place of the tolerance's, for boxes.

    Returns:
        The differences; a keypoint that only one side misses is infinitely far.
    """
    allowed = replace(tolerance, position_px=tolerance.position_px if position_px is None else position_px)
    chosen = [
        _nearest([_Gap.between(answer[f], other, allowed) for answer in (reference, *also)])
        for f, other in enumerate(found)
    ]
    if len(reference) != len(found):
        raise ValueError(f"{len(reference)} frames of reference poses but {len(found)} frames of poses to judge")
    gaps = [gap for gap, _ in chosen]
    distance, score, beyond = (
        np.concatenate([getattr(gap, name) for gap in gaps] or [np.empty(0)])
        for name in ("distance", "score", "beyond")
    )
    if not len(distance):
        return Difference(0, 0.0, 0.0, 0.0, 0.0, beyond=0)
    return Difference(
        compared=len(distance),
        worst_px=float(distance.max()),
        p99_px=float(np.percentile(distance, 99, method="higher")),
        mean_px=float(distance.mean()),
        worst_score=float(score.max()),
        beyond=int(beyond.sum()),
        ties=sum(ties for _, ties in chosen),
    )


@dataclass(frozen=True)
class _Gap:
    """One frame of an answer against the poses to judge, per keypoint.

    Attributes:
        distance: (M,) [px].
        score: (M,) largest difference of its scores.
        beyond: (M,) whether the keypoint is beyond the tolerance.
        comparable: Whether both sides have as many animals.
    """

    distance: Floats
    score: Floats
    beyond: Array
    comparable: bool

    @classmethod
    def between(cls, right: Poses, other: Poses, tolerance: Tolerance) -> _Gap:
        first, second = _rows(right), _rows(other)
        if len(first) != len(second):
            missing = np.full(max(len(first), len(second)), np.inf)
            return cls(missing, np.zeros_like(missing), np.ones(len(missing), bool), comparable=False)
        distance = np.linalg.norm(first[:, :2] - second[:, :2], axis=1)
        absent, absent_there = np.isnan(first[:, :2]).any(axis=1), np.isnan(second[:, :2]).any(axis=1)
        distance = np.where(absent & absent_there, 0.0, np.where(absent ^ absent_there, np.inf, distance))
        distance = np.where(first[:, -1] == second[:, -1], distance, np.inf)
        scores = np.nan_to_num(first[:, 2:-1])
        score = np.abs(scores - np.nan_to_num(second[:, 2:-1]))
        extent = np.abs(np.nan_to_num(first[:, :2])).max(axis=1)
        beyond = distance > tolerance.position_px + tolerance.position_relative * extent
        beyond |= (score > tolerance.score * np.maximum(np.abs(scores), 1.0)).any(axis=1)
        return cls(distance, score.max(axis=1), beyond, comparable=True)


def _rows(poses: Poses) -> Floats:
    """(M, 5 + I) of all keypoints of a frame: x, y [px], scores, and last which individual the animal is.

    The scores are the keypoint's, its animal's, and how much it looks like each of I individuals.
    """
    N, K = poses.score.shape
    animal = np.zeros(N) if poses.animal_score is None else poses.animal_score
    identity = np.full(N, -1) if poses.identity is None else poses.identity
    alike = np.empty((N, K, 0)) if poses.identity_scores is None else poses.identity_scores
    columns = [poses.xy, poses.score[..., None], np.broadcast_to(animal[:, None, None], (N, K, 1)), alike]
    columns += [np.broadcast_to(identity[:, None, None], (N, K, 1))]
    joined = np.concatenate(columns, axis=2).astype(np.float64)
    rows = joined.reshape(N * K, joined.shape[2])
    if poses.unique is None:
        return rows
    return np.concatenate([rows, np.pad(poses.unique.astype(np.float64), ((0, 0), (0, rows.shape[1] - 3)))])


def _nearest(gaps: Sequence[_Gap]) -> tuple[_Gap, int]:
    """The gap to the reference's first answer, or to another where that is beyond the tolerance; how many of these."""
    first = gaps[0]
    comparable = [gap for gap in gaps if gap.comparable]
    if not first.beyond.any() or not comparable:
        return first, 0
    beyond = np.stack([gap.beyond for gap in comparable])  # (A, M)
    which = beyond.argmin(axis=0)  # the first answer within, or the first of all
    row = np.arange(beyond.shape[1])
    distance, score = (np.stack([getattr(g, name) for g in comparable])[which, row] for name in ("distance", "score"))
    ties = int((which > 0).sum()) if first.comparable else len(row)
    return _Gap(distance, score, beyond[which, row], comparable=True), ties


def read_certificate(bundle: Bundle) -> Certificate:
    """The certificate that the export wrote."""
    path = bundle.file(PARITY)
    try:
        return parse(Certificate, yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))
    except (OSError, yaml.YAMLError, ConfigError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); export the bundle again.") from error


def open_sessions(bundle: Bundle, *, device: str = "auto") -> dict[str, Session]:
    """A session of each of the bundle's graphs."""
    graphs = bundle.manifest.graphs
    return {name: OnnxRuntimeSession(bundle.file(graph.file), device=device) for name, graph in graphs.items()}


def replay(bundle: Bundle, sessions: Mapping[str, Session]) -> dict[str, Difference]:
    """Run the golden frames on this machine and compare with what the training framework gave; by graph."""
    golden = read_golden(bundle)
    manifest, tolerance = bundle.manifest, read_certificate(bundle).tolerance
    found = poses_of(manifest.model, sessions["pose"], golden.frames, golden.told)
    replayed = {"pose": compare(golden.answers[0], found, tolerance, also=golden.answers[1:])}
    if manifest.detector is not None:
        boxes = boxes_of(manifest.detector, sessions["detector"], golden.frames)
        position = tolerance.box_px
        replayed["detector"] = compare(golden.found[0], boxes, tolerance, also=golden.found[1:], position_px=position)
    return replayed
