"""``rigpose inspect BUNDLE``: what a bundle is, for people."""

from __future__ import annotations

import argparse

from rigpose.bundles.bundle import Bundle, GraphSpec, Provenance
from rigpose.bundles.certificate import Certificate, EngineTrial, GraphCertificate, Metric, read_certificate
from rigpose.bundles.described import animals_found, grouping_parameters, seen_by
from rigpose.commands.command import Command


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="the bundle's folder")


def _run(arguments: argparse.Namespace) -> int:
    bundle = Bundle.open(arguments.bundle)
    manifest, model = bundle.manifest, bundle.manifest.model
    certificate = read_certificate(bundle)
    rows = [
        (
            "bundle",
            f"{bundle.path} (format {manifest.rigpose_bundle}, every file's SHA-256 checked)",
        ),
        ("scorer", manifest.scorer),
        ("model", f"{model.architecture}, {model.task.replace('_', ' ')}"),
        ("keypoints", ", ".join(model.keypoints)),
        ("individuals", ", ".join(model.individuals)),
        ("skeleton", ", ".join("-".join(pair) for pair in model.skeleton) or "none"),
        ("input", seen_by(model)),
        *(("animals", found) for found in [animals_found(manifest)] if found is not None),
        *zip(("grouping", ""), grouping_parameters(model), strict=False),
    ]
    for graph in manifest.graphs:
        rows += _graph(bundle, graph, certificate)
    source = manifest.provenance
    rows += [
        ("made", f"{manifest.created} by rigpose {source.rigpose} with torch {source.torch}"),
        ("from", f"{source.snapshot} (epoch {source.epoch}){_and_detector(source)}, {source.source}"),
        ("parity", _parity(certificate)),
        *(("", text) for text in _metrics(certificate)),
        *(("left out", one.reason) for one in certificate.left_out),
        (
            "size",
            f"{sum(r.bytes for r in manifest.files.values()) / 1e6:.1f} MB in {len(manifest.files)} files",
        ),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    return 0


def _graph(bundle: Bundle, graph: GraphSpec, certificate: Certificate) -> list[tuple[str, str]]:
    """What a graph is, takes and gives, for whom, and what is known about its numbers."""
    inputs = "; ".join(f"{i.name} {_shape(i.shape)} {i.dtype}" for i in graph.inputs)
    outputs = "; ".join(f"{o.name} {_shape(o.shape)}" for o in graph.outputs)
    size = bundle.manifest.files[graph.file].bytes
    rows = [
        (
            f"{graph.role} graph",
            f"{graph.file}, {graph.precision}, opset {graph.opset}, {graph.nodes} nodes, {size / 1e6:.1f} MB",
        ),
        ("", f"{inputs} -> {outputs}"),
        ("", f"for {', '.join(graph.backends)}; needs onnxruntime {graph.minimum_onnxruntime} or newer"),
    ]
    texts = [text for proof in certificate.graphs if proof.file == graph.file for text in _proof(proof)]
    texts += [_trial(trial, certificate) for trial in certificate.tensorrt if trial.file == graph.file]
    return [*rows, *(("", text) for text in texts)]


def _proof(proof: GraphCertificate) -> list[str]:
    """What is known about a graph's numbers in one library."""
    if proof.loss is None:
        worst = max(case.difference.worst_px for case in proof.cases)
        return [f"{proof.verdict}: worst {worst:.2g} px from {proof.against}{_metric(proof.metric)}"]
    moved = proof.loss.drift
    measured = (
        f"{proof.verdict} in {proof.backend}: p99 {moved.p99_px:.2g} px, worst {moved.worst_px:.2g} px from "
        f"{proof.against} over {moved.compared} with a score of {moved.sure_score:.2g} or more{_metric(proof.metric)}"
    )
    return [measured, *(f"beyond its bounds: {text}" for text in proof.loss.beyond)]


def _trial(trial: EngineTrial, certificate: Certificate) -> str:
    library = f"TensorRT for RTX {certificate.versions.get('tensorrt_rtx', '')}".rstrip()
    if trial.seconds is None or trial.plan_bytes is None:
        return f"refused by {library}: {trial.refusal}"
    return f"built by {library} in {trial.seconds:.0f} s, {trial.plan_bytes / 1e6:.1f} MB"


def _parity(certificate: Certificate) -> str:
    return f"{len(certificate.cases)} comparisons passed, {certificate.reference} against {certificate.compared}"


def _metrics(certificate: Certificate) -> list[str]:
    return [f"{role} in torch{_metric(metric)}; {certificate.measured}" for role, metric in certificate.metric.items()]


def _metric(metric: Metric | None) -> str:
    if metric is None:
        return ""
    error = "" if metric.px_error is None else f", mean error {metric.px_error:.3g} px"
    return error + ("" if metric.mAP is None else f", mAP {metric.mAP:.4g}")


def _and_detector(source: Provenance) -> str:
    return f" and {source.detector}" if source.detector else ""


def _shape(shape: tuple[int | str, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


COMMAND = Command("inspect", "Show what a bundle holds and where it came from.", _configure, _run)
