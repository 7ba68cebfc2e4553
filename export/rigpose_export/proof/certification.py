"""The certificate of a bundle's graphs: fp32 against torch, other precisions against fp32, all against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import onnx
import onnxruntime
import torch

from rigpose import __version__
from rigpose.bundles.bundle import Bundle, GraphSpec, Role
from rigpose.bundles.certificate import Case, Certificate, GraphCertificate, LeftOut, Metric, read_certificate
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
from rigpose.sessions.openvino import OpenVinoSession
from rigpose_export.evidence import Evidence, Pictures
from rigpose_export.graphs.files import step
from rigpose_export.proof.exported import Exported, Run, plain_file
from rigpose_export.proof.parity import Proof, apart, certify
from rigpose_export.proof.precision_loss import Measured, drift_between, loss_of, measure, metric_of
from rigpose_export.proof.selection import refused, unmeasured
from rigpose_export.reference import Reference
from rigpose_export.source import ExportSource
from rigpose_export.witness import Witness

_WORST = ("lost", "worst_px", "p99_px", "mean_px", "median_px", "worst_score")


def prove_all(
    exported: Exported, reference: Reference, evidence: Evidence, source: ExportSource, *, show: Progress
) -> dict[str, Proof]:
    """Hold every fp32 graph against torch; by file.

    Raises:
        BundleError: One gives other answers, or there is nothing to compare.
    """
    proofs = {}
    for run in exported.runs:
        graph = run.graph
        if graph.precision != "fp32":
            continue
        with step(f"Proving {graph.file}", show):
            proof = certify(reference, graph.role, run.session, evidence)
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
    """Measure all graphs and judge the precisions; one that loses more than it may is among what is left out.

    Args:
        grounds: What it rests on.
        proofs: Of the fp32 graphs, by file.
        accept_loss: Keep a precision that loses more than it may.
        show: How progress is shown.

    Raises:
        MediaError: A picture is missing or broken.
    """
    reference, exported, pictures = grounds.reference, grounds.exported, grounds.pictures
    # A combined graph is its two graphs, as its proof says, and so as good as they are.
    shown: dict[str, tuple[Role, Session]] = {
        run.name: (run.graph.role, run.session) for run in exported.runs if run.graph.role != "pair"
    }
    if pictures.images:
        shown[_of_torch("pose")] = ("pose", reference.pose)
        if reference.detector is not None:
            shown[_of_torch("detector")] = ("detector", reference.detector)
    needed = pictures.images or any(run.graph.precision != "fp32" for run in exported.runs)
    measured = measure(reference, pictures, shown if needed else {}, show=show)
    metrics = {
        name: metric_of(reference, shown[name][0], answers, measured.images)
        for name, answers in measured.answers.items()
    }
    certified: list[GraphCertificate] = []
    left_out: list[LeftOut] = []
    for run in exported.runs:
        if run.graph.precision == "fp32":
            certified.append(_of_fp32(grounds, run.graph, proofs[run.graph.file], metrics.get(run.name)))
            continue
        with step(f"Certifying {run.name}", show):
            one = _of_precision(grounds, run, measured, metrics)
        if one.verdict == "passed" or accept_loss:
            certified.append(one)
        else:
            left_out.append(refused(run, one, pictures.described))
    if exported.without_openvino is not None:
        left_out.append(unmeasured(exported.without_openvino))
    of_torch = {role: metrics.get(_of_torch(role)) for role in ("pose", "detector")}
    return Certificate(
        versions=_versions(exported),
        reference=f"torch {torch.__version__} float32 on {reference.pose.device}",
        compared=f"onnxruntime {onnxruntime.__version__} on cpu",
        frames=grounds.evidence.described,
        measured=f"measured {pictures.described}" if needed else "not measured, as there are no labels",
        tolerance=Tolerance(),
        metric={role: metric for role, metric in of_torch.items() if metric is not None},
        graphs=tuple(certified),
        left_out=tuple(left_out),
    )


def _versions(exported: Exported) -> dict[str, str]:
    versions = {
        "rigpose": __version__,
        "torch": str(torch.__version__),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
    if any(run.backend == "openvino" for run in exported.runs):
        versions["openvino"] = version("openvino")
    return versions


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
    grounds: Grounds, run: Run, measured: Measured, metrics: Mapping[str, Metric | None]
) -> GraphCertificate:
    graph, reference = run.graph, grounds.reference
    plain = plain_file(graph)
    moved = drift_between(reference, graph.role, measured.answers[plain], measured.answers[run.name])
    both = metrics[plain], metrics[run.name]
    loss = loss_of(graph.role, graph.precision, measured, (moved, _golden(grounds, run)), both)
    witnesses = [Witness(session) for session in (grounds.exported.plain[graph.role], run.session)]
    rows = list(range(len(grounds.evidence.frames)))
    _, together = (_answers(grounds, graph.role, witness, rows) for witness in witnesses)
    alone = _answers(grounds, graph.role, run.session, rows[-1:])
    tensors: dict[str, float] = {}
    for outputs in zip(*(witness.given for witness in witnesses), strict=True):
        tensors = {name: max(tensors.get(name, 0.0), value) for name, value in apart(*outputs).items()}
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
        metric=metrics[run.name],
        verdict="accepted" if loss.beyond else "passed",
        backend=run.backend,
    )


def _answers(grounds: Grounds, role: Role, session: Session, rows: Sequence[int]) -> list[Poses]:
    """What a graph finds in these frames of the evidence."""
    frames, reference = [grounds.evidence.frames[row] for row in rows], grounds.reference
    if role == "pose":
        return poses_of(reference.spec, session, frames, grounds.evidence.told.take(rows))
    assert reference.detector_spec is not None
    return boxes_of(reference.detector_spec, session, frames, Tolerance())


def _golden(grounds: Grounds, run: Run) -> Drift:
    """The drift on the golden frames; of float16 the larger one of a CPU that rounds and one that does not."""
    graph, sessions = run.graph, [run.session]
    if graph.precision == "fp16":
        sessions.append(OnnxRuntimeSession(grounds.exported.folder / graph.file, device="cpu"))
    spec, detector = grounds.reference.spec, grounds.reference.detector_spec
    found = [golden_drift(grounds.golden, spec, detector, graph.role, session) for session in sessions]
    worst = {name: max(getattr(one, name) for one in found) for name in _WORST}
    return replace(found[0], **worst)


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
    golden, manifest = read_golden(bundle), bundle.manifest
    for proof in read_certificate(bundle).graphs:
        if proof.loss is None:
            continue
        file = bundle.file(proof.file)
        in_openvino = proof.backend == "openvino"
        session = OpenVinoSession(file, precision="int8") if in_openvino else OnnxRuntimeSession(file, device="cpu")
        found = golden_drift(golden, manifest.model, manifest.detector, proof.role, session)
        if not allowance(found, proof.loss).within:
            raise BundleError(
                f"{source.snapshot}: {proof.file} in {proof.backend} does not give what its certificate says on the "
                "golden frames; report this model."
            )


def _verdict(graph: GraphSpec, proof: Proof, frames: str) -> str:
    """Every bound that was broken, of all that was compared, where most are beyond it."""
    worst: dict[str, Case] = {}
    for case in proof.cases:
        if case.difference.beyond > (worst[case.what].difference.beyond if case.what in worst else 0):
            worst[case.what] = case
    if not worst:
        return _nothing_found(graph.role, frames)
    found = "; ".join(_broken(case, Tolerance()) for case in worst.values())
    return f"{graph.file} in ONNX Runtime differs from torch: {found}; so no bundle was made, report this model"


def _broken(case: Case, tolerance: Tolerance) -> str:
    d, boxes = case.difference, case.what == "boxes"
    px, score = (tolerance.box_px, tolerance.box_score) if boxes else (tolerance.position_px, tolerance.score)
    bounds = []
    if d.worst_px > px:
        bounds.append(f"{d.worst_px:.3g} px away (allowed {px:g} px)")
    if d.worst_score > score:
        bounds.append(f"{d.worst_score:.2g} away in score (allowed {score:g})")
    words = [f"up to {' and '.join(bounds)}"] if bounds else []
    words += [f"{d.missing} only on one side"] if d.missing else []
    return (
        f"{d.beyond} of {d.compared} {case.what} at batch {case.batch}, {case.height}x{case.width}, {', '.join(words)}"
    )


def _nothing_found(role: str, frames: str) -> str:
    return (
        f"the {role} network finds nothing in {frames}, or nothing that it is surer of than of all else, so there is "
        "nothing to prove; train it longer, or give frames that show animals with --frames"
    )
