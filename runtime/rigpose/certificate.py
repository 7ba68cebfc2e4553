"""The parity certificate: how far apart two ways of running one model are, and the replay of it on a rig.

Each fp32 graph is held against the training framework on the same frames and, where the pose graph looks into boxes or
starts from rough poses, on the same boxes and rough poses. What lies between the graphs is the same code on both sides.
Graphs in other precisions cannot give the same numbers: they are held against the fp32 graph, within stated bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import yaml

from rigpose.analyzer import Analyzer
from rigpose.arrays import Frames
from rigpose.box_metrics import Boxes
from rigpose.bundle import PARITY, BackendName, Bundle, Manifest, Precision, Role
from rigpose.combined import CombinedAnalyzer, by_the_pose_graph
from rigpose.conditional import ConditionalAnalyzer
from rigpose.differences import Difference, Tolerance, compare, compare_boxes
from rigpose.drift import Drift, drift
from rigpose.errors import BundleError, ConfigError
from rigpose.golden import Golden, Told, read_golden
from rigpose.model_spec import DetectorSpec, ModelSpec
from rigpose.poses import Poses
from rigpose.schema import parse
from rigpose.sessions import Session
from rigpose.sessions.backends import Backend
from rigpose.top_down import BoxAnalyzer, CropAnalyzer

Compared: TypeAlias = Literal["keypoints", "candidates", "boxes"]
Verdict: TypeAlias = Literal["passed", "accepted"]

OTHER_MACHINE = 2.0
"""Another machine adds in another order and makes rounding errors of its own, as large as the exporting machine's.

That two such draws differ in their largest value by less than this factor is taken for granted, not measured.
"""
OTHER_MACHINE_PX = 0.05
"""Added to it, where so few keypoints moved at the export that the largest says little; box pixels never show less."""
OTHER_MACHINE_SCORE = 0.01
"""The same for scores: cutoffs are said with two digits."""
LOST_SHARE = 0.01
"""Of the sure keypoints so many may be lost: the share that a 99th percentile leaves out."""


@dataclass(frozen=True)
class Case:
    """One comparison: a batch of frames of one size.

    Attributes:
        what: Keypoints of poses, all candidates that poses are put together from, or boxes.
        batch: Frames at once.
        height: Of the frames [px].
        width: Of the frames [px].
        difference: How far apart the two were.
    """

    what: Compared
    batch: int
    height: int
    width: int
    difference: Difference


@dataclass(frozen=True)
class Structure:
    """What a graph is made of. The checker of onnx and its shape inference passed, or there would be no bundle.

    Attributes:
        opset: ONNX operator set.
        nodes: How many.
        operators: How many of each kind.
    """

    opset: int
    nodes: int
    operators: dict[str, int]


@dataclass(frozen=True)
class Metric:
    """How good predictions are against labels, as ``rigpose evaluate`` says it.

    Attributes:
        px_error: Mean distance to the labels [px]; none for a detector, and where nothing was found.
        mAP: Of poses by object keypoint similarity, of boxes by overlap [0, 100]; none where nothing can be judged.
        labelled: Animals that were labelled.
    """

    px_error: float | None
    mAP: float | None  # noqa: N815 (the name everybody reads)
    labelled: int


@dataclass(frozen=True)
class Bounds:
    """What a graph in another precision may lose against the fp32 graph.

    Attributes:
        p99_px: 99th percentile of the sure keypoints' distances, or of the sure boxes' corners [px]; none where labels
            judge it.
        metric_share: Part of the error, and of the mAP, that it may be worse.
        least_px: A mean error that rises by less is not worse.
    """

    p99_px: float | None
    metric_share: float
    least_px: float


@dataclass(frozen=True)
class Loss:
    """A graph in another precision against the fp32 graph.

    Attributes:
        pictures: How many were looked at.
        drift: In them.
        golden: In the golden frames, against the training framework; a rig is held against this.
        bounds: What was allowed.
        beyond: What lay beyond the bounds, in words; nothing where all lay within.
    """

    pictures: int
    drift: Drift
    golden: Drift
    bounds: Bounds
    beyond: tuple[str, ...]


@dataclass(frozen=True)
class GraphCertificate:
    """What was found out about one file.

    Attributes:
        file: Its name.
        role: ``pose``, ``detector``, or ``pair`` for the combined graph.
        precision: Of its convolutions and matrix products.
        against: What it was held against: the training framework, or the fp32 graph's file.
        structure: What it is made of.
        tensors: Of each output, the largest difference relative to the output's largest number. Where candidates of
            equal score change places, this is large though nothing is wrong; poses and candidates decide.
        cases: Of an fp32 graph: the comparisons with the training framework.
        loss: Of any other: what it loses against the fp32 graph.
        batch_invariance_px: Largest distance between a frame alone and the same frame in a batch [px].
        metric: On the labelled images; none where there are none.
        verdict: ``passed`` where all lies within the tolerance or the bounds, ``accepted`` where it does not and the
            user wanted the graph all the same; there is no bundle of any other.
    """

    file: str
    role: Role
    precision: Precision
    against: str
    structure: Structure
    tensors: dict[str, float]
    cases: tuple[Case, ...]
    loss: Loss | None
    batch_invariance_px: float
    metric: Metric | None
    verdict: Verdict


@dataclass(frozen=True)
class Certificate:
    """``parity.yaml``.

    Attributes:
        versions: Of rigpose and of the libraries that took part.
        reference: What is right: framework, version and device.
        compared: What was held against it.
        frames: Where the frames came from.
        measured: Which pictures the metric and the loss of precisions were measured on.
        tolerance: What counted as the same in fp32.
        metric: Of the training framework, by role; nothing where there are no labels.
        graphs: One for each of the bundle's graphs.
    """

    versions: dict[str, str]
    reference: str
    compared: str
    frames: str
    measured: str
    tolerance: Tolerance
    metric: dict[str, Metric]
    graphs: tuple[GraphCertificate, ...]

    @property
    def cases(self) -> tuple[Case, ...]:
        """All comparisons with the training framework."""
        return tuple(case for graph in self.graphs for case in graph.cases)

    def of(self, file: str) -> GraphCertificate:
        """What was found out about a file.

        Raises:
            BundleError: The certificate does not name it.
        """
        for graph in self.graphs:
            if graph.file == file:
                return graph
        raise BundleError(f"{file}: has no entry in {PARITY}, so nobody knows what it gives; export the bundle again.")


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
    """The best boxes of frames by a detector graph, as ``best_boxes`` gives them."""
    return [best_boxes(spec, boxes, tolerance) for boxes in BoxAnalyzer(spec, session).predict(frames)]


def boxes_in(found: Sequence[Poses]) -> list[Poses]:
    """The boxes that a combined graph looked into, as poses of two keypoints like ``best_boxes``."""
    corners = []
    for poses in found:
        assert poses.boxes is not None
        assert poses.animal_score is not None
        xyxy = np.stack([poses.boxes[:, :2], poses.boxes[:, :2] + poses.boxes[:, 2:]], axis=1)
        corners.append(Poses(xyxy, np.repeat(poses.animal_score[:, None], 2, axis=1)))
    return corners


def best_boxes(spec: DetectorSpec, boxes: Boxes, tolerance: Tolerance) -> Poses:
    """The best boxes of a frame as poses of two keypoints: the upper left and the lower right.

    The first ``boxes_compared(spec)`` are the best; behind them are those that another rounding might put among them.
    """
    most = boxes_compared(spec)
    least = boxes.score[most - 1] - 2 * tolerance.box_score if len(boxes.score) > most else 0.0
    rows = boxes.score >= least
    return Poses(boxes.xyxy[rows].reshape(-1, 2, 2), np.repeat(boxes.score[rows, None], 2, axis=1))


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
    """A session for each of the graphs that a proof looks at.

    Raises:
        BackendError: The backend is missing or too old for one, or the device cannot run it as it was asked to.
        ConfigError: A precision that the backend does not have.
    """
    runs = Backend(backend, precision or "fp32", device)
    roles = proved_roles(bundle)
    # The combined graph is optional and in fp32 alone; in bf16 its boxes would be rounded before they cut crops.
    pairs = [graph for graph in bundle.manifest.graphs if graph.role == "pair" and graph.precision == runs.precision]
    if any(runs.graphs in graph.backends for graph in pairs):
        roles = (*roles, "pair")
    return {role: runs.open(bundle, role) for role in roles}


def proved_roles(bundle: Bundle) -> tuple[Role, ...]:
    """Those of the graphs that everything is made of: the pose graph, and the detector of a pair."""
    return ("pose",) if bundle.manifest.detector is None else ("pose", "detector")


def precisions_for(bundle: Bundle, backend: BackendName) -> tuple[Precision, ...]:
    """The precisions in which a backend has every graph that it needs, fp32 first."""
    graphs = [graph for graph in bundle.manifest.graphs if backend in graph.backends]
    there = {(graph.role, graph.precision) for graph in graphs}
    known: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    return tuple(one for one in known if all((role, one) in there for role in proved_roles(bundle)))


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
        if "pair" in sessions:
            replayed["pair"] = _replay_pair(manifest, sessions, golden, tolerance)
    return replayed


def _replay_pair(
    manifest: Manifest, sessions: Mapping[str, Session], golden: Golden, tolerance: Tolerance
) -> Difference:
    """The combined graph against this machine's two graphs, which are held against the training framework themselves.

    Boxes are compared first. Where they fit, keypoints are compared with those of the pose graph in the same boxes.
    """
    spec, detector = manifest.model, manifest.detector
    assert detector is not None
    every = DetectorSpec(detector.max_animals, detector.input)
    found = CombinedAnalyzer(spec, every, sessions["pair"], animals=detector.max_animals).predict(golden.frames)
    boxes = boxes_of(detector, sessions["detector"], golden.frames, tolerance)
    difference = compare_boxes(boxes, boxes_in(found), tolerance, most=detector.max_animals, also=golden.found)
    if not difference.within:
        return difference
    alone = by_the_pose_graph(found, CropAnalyzer(spec, sessions["pose"]), golden.frames)
    return compare(alone, found, tolerance)


@dataclass(frozen=True)
class Allowance:
    """The golden frames in another precision than fp32, on this machine.

    Attributes:
        drift: How far the answers lie from the training framework's.
        p99_px: What is allowed of that [px].
        median_px: The same of the median, which some keypoints at another peak do not hide anything in [px].
        score: Largest score difference that is allowed.
        lost: Most sure keypoints that may be lost.
    """

    drift: Drift
    p99_px: float
    median_px: float
    score: float
    lost: int

    @property
    def within(self) -> bool:
        """Whether this machine does as well as the certificate says."""
        found = self.drift
        near = found.p99_px <= self.p99_px and found.median_px <= self.median_px
        return near and found.worst_score <= self.score and found.lost <= self.lost and found.compared > 0


def replay_precision(
    bundle: Bundle, sessions: Mapping[str, Session], *, precision: Precision, backend: BackendName
) -> dict[str, Allowance]:
    """Run the golden frames in a precision other than fp32 and hold them against its certificate; by graph."""
    certificate, golden, manifest, replayed = read_certificate(bundle), read_golden(bundle), bundle.manifest, {}
    for role, session in sessions.items():
        file = manifest.graph(role, precision=precision, backend=backend).file  # type: ignore[arg-type]
        loss = certificate.of(file).loss
        if loss is None:
            raise BundleError(f"{bundle.path}: {PARITY} does not say what {file} loses; export the bundle again.")
        replayed[role] = allowance(golden_drift(golden, manifest.model, manifest.detector, role, session), loss)
    return replayed


def golden_drift(golden: Golden, spec: ModelSpec, detector: DetectorSpec | None, role: str, session: Session) -> Drift:
    """How far the answers of a graph lie from the training framework's on the golden frames."""
    if role == "pose":
        return drift(golden.answers[0], poses_of(spec, session, golden.frames, golden.told))
    assert detector is not None
    return drift_of_boxes(detector, golden.found[0], boxes_of(detector, session, golden.frames, Tolerance()))


def drift_of_boxes(spec: DetectorSpec, right: Sequence[Poses], found: Sequence[Poses]) -> Drift:
    """The same of boxes, as ``best_boxes`` gives them: each that is looked into against the nearest of those found."""
    return drift([boxes.take(np.arange(min(len(boxes), spec.max_animals))) for boxes in right], found)


def allowance(found: Drift, loss: Loss) -> Allowance:
    """Hold what a machine gives against what the export measured on the same frames."""
    measured, bound = loss.golden, loss.bounds.p99_px
    twice = OTHER_MACHINE * measured.p99_px
    more = twice + OTHER_MACHINE_PX
    # A graph within its bound stays there, but that another machine's rounding must have room.
    limit = more if bound is None or loss.beyond else max(twice, min(more, bound))
    lost = int(OTHER_MACHINE * measured.lost + LOST_SHARE * measured.compared)
    return Allowance(
        drift=found,
        p99_px=limit,
        median_px=OTHER_MACHINE * measured.median_px + OTHER_MACHINE_PX,
        score=OTHER_MACHINE * measured.worst_score + OTHER_MACHINE_SCORE,
        lost=lost,
    )
