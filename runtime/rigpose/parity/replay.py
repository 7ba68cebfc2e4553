"""The replay of a bundle's certificate on a rig: the golden frames in every precision, on this machine's sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rigpose.analyzers.combined import CombinedAnalyzer, by_the_pose_graph
from rigpose.analyzers.top_down import CropAnalyzer
from rigpose.bundles.bundle import PARITY, BackendName, Bundle, Manifest, Precision, Role
from rigpose.bundles.certificate import Loss, read_certificate
from rigpose.bundles.golden import Golden, read_golden
from rigpose.errors import BundleError
from rigpose.measures.differences import Difference, Tolerance, compare, compare_boxes
from rigpose.measures.drift import Drift, drift
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.parity.answers import boxes_compared, boxes_in, boxes_of, poses_of
from rigpose.poses import Poses
from rigpose.sessions import Session
from rigpose.sessions.backends import Backend

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


def open_sessions(
    bundle: Bundle, *, device: str = "auto", backend: str = "onnxruntime", precision: str | None = None
) -> dict[str, Session]:
    """A session for each of the graphs that a proof looks at.

    Raises:
        BackendError: The backend is missing or too old for one, or the device cannot run it as it was asked to.
        ConfigError: A precision that the backend, or the bundle for it, does not have.
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
    """Run the golden frames in a precision other than fp32 and hold them against its certificate; by graph.

    Raises:
        BundleError: The export did not measure a graph, or not in this backend.
    """
    certificate, golden, manifest, replayed = read_certificate(bundle), read_golden(bundle), bundle.manifest, {}
    for role, session in sessions.items():
        file = manifest.graph(role, precision=precision, backend=backend).file  # type: ignore[arg-type]
        loss = certificate.of(file, backend).loss
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
