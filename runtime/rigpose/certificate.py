"""The parity certificate: how far apart two ways of running one model are, and the replay of it on a rig.

Each graph is held against the training framework on the same frames and, where the pose graph looks into boxes or
starts from rough poses, on the same boxes and rough poses. What lies between the graphs is the same code on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import yaml

from rigpose.analyzer import Analyzer
from rigpose.arrays import Frames
from rigpose.bundle import PARITY, Bundle
from rigpose.conditional import ConditionalAnalyzer
from rigpose.differences import Difference, Tolerance, compare, compare_boxes
from rigpose.errors import BundleError, ConfigError
from rigpose.golden import Told, read_golden
from rigpose.model_spec import DetectorSpec, ModelSpec
from rigpose.poses import Poses
from rigpose.schema import parse
from rigpose.sessions import Session
from rigpose.sessions.backends import Backend
from rigpose.top_down import BoxAnalyzer, CropAnalyzer

Compared: TypeAlias = Literal["keypoints", "candidates", "boxes"]


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


def boxes_of(spec: DetectorSpec, session: Session, frames: Sequence[Frames], tolerance: Tolerance) -> list[Poses]:
    """The best boxes of frames by a detector graph, as poses of two keypoints: the upper left and the lower right.

    The first ``boxes_compared(spec)`` are the best; behind them are those that another rounding might put among them.
    """
    most, found = boxes_compared(spec), []
    for boxes in BoxAnalyzer(spec, session).predict(frames):
        least = boxes.score[most - 1] - 2 * tolerance.score if len(boxes.score) > most else 0.0
        rows = boxes.score >= least
        found.append(Poses(boxes.xyxy[rows].reshape(-1, 2, 2), np.repeat(boxes.score[rows, None], 2, axis=1)))
    return found


def boxes_compared(spec: DetectorSpec) -> int:
    """Boxes of a frame that are compared: twice as many as poses are looked for in, so that there is room for more."""
    return 2 * spec.max_animals


def read_certificate(bundle: Bundle) -> Certificate:
    """The certificate that the export wrote."""
    path = bundle.file(PARITY)
    try:
        return parse(Certificate, yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))
    except (OSError, yaml.YAMLError, ConfigError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); export the bundle again.") from error


def open_sessions(
    bundle: Bundle, *, device: str = "auto", backend: str = "onnxruntime", precision: str | None = None
) -> dict[str, Session]:
    """A session for each of the bundle's roles.

    Raises:
        BackendError: The backend is missing or too old for one, or the device cannot run it as it was asked to.
        ConfigError: A precision that the backend does not have.
    """
    runs = Backend(backend, precision or "fp32", device)
    return {role: runs.open(bundle, role) for role in bundle.manifest.roles}


def replay(bundle: Bundle, sessions: Mapping[str, Session]) -> dict[str, Difference]:
    """Run the golden frames on this machine and compare with what the training framework gave; by graph."""
    golden = read_golden(bundle)
    manifest, tolerance = bundle.manifest, read_certificate(bundle).tolerance
    found = poses_of(manifest.model, sessions["pose"], golden.frames, golden.told)
    replayed = {"pose": compare(golden.answers[0], found, tolerance, also=golden.answers[1:])}
    if manifest.detector is not None:
        boxes = boxes_of(manifest.detector, sessions["detector"], golden.frames, tolerance)
        most, also = boxes_compared(manifest.detector), golden.found[1:]
        replayed["detector"] = compare_boxes(golden.found[0], boxes, tolerance, most=most, also=also)
    return replayed
