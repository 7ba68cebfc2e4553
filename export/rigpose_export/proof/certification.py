"""The certificate of a bundle's graphs: fp32 against torch, other precisions against fp32, all against labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnxruntime
import torch

from rigpose import __version__
from rigpose.bundles.bundle import Bundle, GraphSpec, Role
from rigpose.bundles.certificate import Certificate, GraphCertificate, Metric, Structure, read_certificate
from rigpose.bundles.golden import Golden, read_golden
from rigpose.errors import BundleError
from rigpose.measures.differences import Tolerance
from rigpose.measures.drift import Drift, drift
from rigpose.parity.answers import boxes_of, poses_of
from rigpose.parity.replay import allowance, golden_drift, open_sessions, replay
from rigpose.poses import Poses
from rigpose.progress import Progress
from rigpose.sessions import Session
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose_export.evidence import Evidence, Pictures
from rigpose_export.graphs.files import cpu_session, step
from rigpose_export.proof.parity import Proof, Witness, apart, certify
from rigpose_export.proof.precision_loss import Measured, drift_between, loss_of, measure, metric_of
from rigpose_export.reference import Reference
from rigpose_export.source import ExportSource


@dataclass(frozen=True)
class Exported:
    """The graphs of a bundle in the making.

    Attributes:
        folder: Where their files are.
        graphs: All of them.
        sessions: By file, on this machine's CPU.
    """

    folder: Path
    graphs: tuple[GraphSpec, ...]
    sessions: Mapping[str, Session]

    @classmethod
    def opened(cls, folder: Path, graphs: list[GraphSpec]) -> Exported:
        """Load them all."""
        return cls(folder, tuple(graphs), {graph.file: cpu_session(folder, graph) for graph in graphs})

    @property
    def plain(self) -> dict[str, Session]:
        """The fp32 graphs for ONNX Runtime, by role."""
        return {graph.role: self.sessions[graph.file] for graph in self.graphs if graph.file == plain_file(graph)}

    def structure(self, graph: GraphSpec) -> Structure:
        """What a file is made of."""
        model = onnx.load(str(self.folder / graph.file), load_external_data=False)
        operators = Counter(node.op_type for node in model.graph.node)
        return Structure(graph.opset, graph.nodes, dict(sorted(operators.items())))


_WORST = ("lost", "worst_px", "p99_px", "mean_px", "median_px", "worst_score")


def plain_file(graph: GraphSpec) -> str:
    """The fp32 graph for ONNX Runtime that a graph does the work of."""
    return f"{graph.role}.onnx"


def prove_all(
    exported: Exported, reference: Reference, evidence: Evidence, source: ExportSource, *, show: Progress
) -> dict[str, Proof]:
    """Hold every fp32 graph against torch; by file.

    Raises:
        BundleError: One gives other answers, or there is nothing to compare.
    """
    proofs = {}
    for graph in exported.graphs:
        if graph.precision != "fp32":
            continue
        with step(f"Proving {graph.file}", show):
            proof = certify(reference, graph.role, exported.sessions[graph.file], evidence)
        if not proof.passed:
            raise BundleError(f"{source.snapshot}: {_verdict(graph, proof, evidence.described)}.")
        proofs[graph.file] = proof
    return proofs


@dataclass(frozen=True)
class Grounds:
    """What a certificate rests on.

    Attributes:
        exported: The graphs.
        reference: In torch.
        evidence: What fp32 graphs are proved on.
        golden: The golden frames.
        pictures: What losses and metrics are measured on.
    """

    exported: Exported
    reference: Reference
    evidence: Evidence
    golden: Golden
    pictures: Pictures


def certificate_of(
    grounds: Grounds, proofs: Mapping[str, Proof], *, accept_loss: bool = False, show: Progress
) -> Certificate:
    """Measure all graphs and judge the precisions.

    Args:
        grounds: What it rests on.
        proofs: Of the fp32 graphs, by file.
        accept_loss: Keep a precision that loses more than it may.
        show: How progress is shown.

    Raises:
        BundleError: A precision loses more than it may.
        MediaError: A picture is missing or broken.
    """
    reference, graphs, pictures = grounds.reference, grounds.exported.graphs, grounds.pictures
    shown: dict[str, tuple[Role, Session]] = {
        # A combined graph is its two graphs, as its proof says, and so as good as they are.
        g.file: (g.role, grounds.exported.sessions[g.file])
        for g in graphs
        if g.role != "pair"
    }
    if pictures.images:
        shown[_of_torch("pose")] = ("pose", reference.pose)
        if reference.detector is not None:
            shown[_of_torch("detector")] = ("detector", reference.detector)
    needed = pictures.images or any(graph.precision != "fp32" for graph in graphs)
    measured = measure(reference, pictures, shown if needed else {}, show=show)
    metrics = {
        name: metric_of(reference, shown[name][0], answers, measured.images)
        for name, answers in measured.answers.items()
    }
    certified = []
    for graph in graphs:
        if graph.precision == "fp32":
            certified.append(_of_fp32(grounds, graph, proofs[graph.file], metrics.get(graph.file)))
        else:
            with step(f"Certifying {graph.file}", show):
                certified.append(_of_precision(grounds, graph, measured, metrics))
            if certified[-1].verdict != "passed" and not accept_loss:
                raise BundleError(_refusal(certified[-1], pictures))
    of_torch = {role: metrics.get(_of_torch(role)) for role in ("pose", "detector")}
    return Certificate(
        versions={
            "rigpose": __version__,
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        reference=f"torch {torch.__version__} float32 on {reference.pose.device}",
        compared=f"onnxruntime {onnxruntime.__version__} on cpu",
        frames=grounds.evidence.described,
        measured=f"measured {pictures.described}" if needed else "not measured, as there are no labels",
        tolerance=Tolerance(),
        metric={role: metric for role, metric in of_torch.items() if metric is not None},
        graphs=tuple(certified),
    )


def _of_torch(role: str) -> str:
    return f"{role} in torch"


def _of_fp32(grounds: Grounds, graph: GraphSpec, proof: Proof, metric: Metric | None) -> GraphCertificate:
    return GraphCertificate(
        file=graph.file,
        role=graph.role,
        precision=graph.precision,
        against="torch",
        structure=grounds.exported.structure(graph),
        tensors=proof.tensors,
        cases=proof.cases,
        loss=None,
        batch_invariance_px=proof.batch_invariance_px,
        metric=metric,
        verdict="passed",
    )


def _of_precision(
    grounds: Grounds, graph: GraphSpec, measured: Measured, metrics: Mapping[str, Metric | None]
) -> GraphCertificate:
    plain, reference = plain_file(graph), grounds.reference
    moved = drift_between(reference, graph.role, measured.answers[plain], measured.answers[graph.file])
    both = metrics[plain], metrics[graph.file]
    loss = loss_of(graph.role, graph.precision, measured, (moved, _golden(grounds, graph)), both)
    witnesses = [Witness(grounds.exported.sessions[file]) for file in (plain, graph.file)]
    rows = list(range(len(grounds.evidence.frames)))
    _, together = (_answers(grounds, graph.role, witness, rows) for witness in witnesses)
    alone = _answers(grounds, graph.role, grounds.exported.sessions[graph.file], rows[-1:])
    tensors: dict[str, float] = {}
    for right, other in zip(*(witness.seen for witness in witnesses), strict=True):
        tensors = {name: max(tensors.get(name, 0.0), value) for name, value in apart(right, other).items()}
    return GraphCertificate(
        file=graph.file,
        role=graph.role,
        precision=graph.precision,
        against=plain,
        structure=grounds.exported.structure(graph),
        tensors=tensors,
        cases=(),
        loss=loss,
        batch_invariance_px=drift(alone, together[-1:]).worst_px,
        metric=metrics[graph.file],
        verdict="accepted" if loss.beyond else "passed",
    )


def _answers(grounds: Grounds, role: Role, session: Session, rows: Sequence[int]) -> list[Poses]:
    """What a graph finds in these frames of the evidence."""
    frames, reference = [grounds.evidence.frames[row] for row in rows], grounds.reference
    if role == "pose":
        return poses_of(reference.spec, session, frames, grounds.evidence.told.take(rows))
    assert reference.detector_spec is not None
    return boxes_of(reference.detector_spec, session, frames, Tolerance())


def _golden(grounds: Grounds, graph: GraphSpec) -> Drift:
    """The drift on the golden frames; of float16 the larger one of a CPU that rounds and one that does not."""
    file = grounds.exported.folder / graph.file
    sessions = [grounds.exported.sessions[graph.file]]
    if graph.precision == "fp16":
        sessions.append(OnnxRuntimeSession(file, device="cpu"))
    spec, detector = grounds.reference.spec, grounds.reference.detector_spec
    found = [golden_drift(grounds.golden, spec, detector, graph.role, session) for session in sessions]
    worst = {name: max(getattr(one, name) for one in found) for name in _WORST}
    return replace(found[0], **worst)


def _refusal(graph: GraphCertificate, pictures: Pictures) -> str:
    assert graph.loss is not None
    more = "" if graph.precision == "fp16" else " (more varied training images calibrate better)"
    return (
        f"{graph.file}: loses more than {graph.precision} may, {' and '.join(graph.loss.beyond)}, measured "
        f"{pictures.described}; leave {graph.precision} out{more}, or keep it with --accept-loss, which the "
        "certificate will say."
    )


def check_replay(bundle: Bundle, source: ExportSource) -> None:
    """Replay the golden frames of a sealed bundle as a rig does, with every graph on this machine's CPU.

    Raises:
        BundleError: One does not give what the certificate says.
    """
    for role, difference in replay(bundle, open_sessions(bundle, device="cpu")).items():
        if not difference.compared:
            raise BundleError(f"{source.snapshot}: {_nothing_found(role, source.frames_described)}.")
        if not difference.within:
            raise BundleError(f"{source.snapshot}: the golden frames do not give the golden poses; report this model.")
    golden, manifest, certificate = read_golden(bundle), bundle.manifest, read_certificate(bundle)
    for graph in manifest.graphs:
        loss = certificate.of(graph.file).loss
        if loss is not None:
            session = OnnxRuntimeSession(bundle.file(graph.file), device="cpu")
            found = golden_drift(golden, manifest.model, manifest.detector, graph.role, session)
            if not allowance(found, loss).within:
                raise BundleError(
                    f"{source.snapshot}: {graph.file} does not give what its certificate says on the golden frames; "
                    "report this model."
                )


def _verdict(graph: GraphSpec, proof: Proof, frames: str) -> str:
    worst = max(proof.cases, key=lambda case: case.difference.beyond)
    d, tolerance = worst.difference, Tolerance()
    if not d.beyond:
        return _nothing_found(graph.role, frames)
    allowed = tolerance.box_px if worst.what == "boxes" else tolerance.position_px
    missing = f", {d.missing} only on one side" if d.missing else ""
    return (
        f"{graph.file} in ONNX Runtime differs from torch at batch {worst.batch}, {worst.height}x{worst.width}: "
        f"{d.beyond} of {d.compared} {worst.what} beyond {allowed:g} px (worst {d.worst_px:.3g} px, "
        f"{d.worst_score:.2g} in score{missing}), so no bundle was made; report this model"
    )


def _nothing_found(role: str, frames: str) -> str:
    return (
        f"the {role} network finds nothing in {frames}, or nothing that it is surer of than of all else, so there is "
        "nothing to prove; train it longer, or give frames that show animals with --frames"
    )
