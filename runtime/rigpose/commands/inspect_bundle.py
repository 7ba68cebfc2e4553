"""``rigpose inspect BUNDLE``: what a bundle is, for people."""

from __future__ import annotations

import argparse

from rigpose.bundle import Bundle
from rigpose.certificate import read_certificate
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
        ("input", _input(bundle)),
    ]
    for name, graph in manifest.graphs.items():
        outputs = "; ".join(f"{o.name} {_shape(o.shape)}" for o in graph.outputs)
        rows += [
            (
                f"{name} graph",
                f"{graph.file}, {graph.precision}, opset {graph.opset}, {graph.nodes} nodes",
            ),
            (
                "",
                f"{graph.inputs[0].name} {_shape(graph.inputs[0].shape)} {graph.inputs[0].dtype} -> {outputs}",
            ),
            ("", f"needs onnxruntime {graph.minimum_onnxruntime} or newer"),
        ]
    source = manifest.provenance
    worst = max(case.difference.worst_px for case in certificate.cases)
    rows += [
        ("made", f"{manifest.created} by rigpose {source.rigpose} with torch {source.torch}"),
        ("from", f"{source.snapshot} (epoch {source.epoch}), {source.source}"),
        (
            "parity",
            f"{'passed' if certificate.passed else 'NOT PASSED'}: worst {worst:.2g} px over",
        ),
        (
            "",
            f"{len(certificate.cases)} sizes, {certificate.reference} against {certificate.compared}",
        ),
        (
            "size",
            f"{sum(r.bytes for r in manifest.files.values()) / 1e6:.1f} MB in {len(manifest.files)} files",
        ),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    return 0


def _input(bundle: Bundle) -> str:
    spec = bundle.manifest.model.input
    steps = ["BGR frames of any size" if spec.resize is None else "BGR frames"]
    if spec.resize is not None:
        steps.append(f"resized to {spec.resize.width} x {spec.resize.height}")
    if spec.longest_side is not None:
        steps.append(f"longer side scaled to {spec.longest_side} px")
    if spec.multiple_of > 1:
        steps.append(f"padded right and bottom to multiples of {spec.multiple_of}")
    return ", ".join(steps)


def _shape(shape: tuple[int | str, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


COMMAND = Command("inspect", "Show what a bundle holds and where it came from.", _configure, _run)
