"""``rigpose inspect BUNDLE``: what a bundle is, for people."""

from __future__ import annotations

import argparse

from rigpose.bundle import Bundle, Manifest, Provenance
from rigpose.certificate import read_certificate
from rigpose.commands.command import Command
from rigpose.model_spec import ModelSpec
from rigpose.preprocess import InputSpec
from rigpose.schema import to_mapping


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
        ("input", _input(model)),
        *_finds(bundle.manifest),
        *_parameters(model),
    ]
    for graph in manifest.graphs:
        inputs = "; ".join(f"{i.name} {_shape(i.shape)} {i.dtype}" for i in graph.inputs)
        outputs = "; ".join(f"{o.name} {_shape(o.shape)}" for o in graph.outputs)
        rows += [
            (
                f"{graph.role} graph",
                f"{graph.file}, {graph.precision}, opset {graph.opset}, {graph.nodes} nodes",
            ),
            ("", f"{inputs} -> {outputs}"),
            ("", f"for {', '.join(graph.backends)}; needs onnxruntime {graph.minimum_onnxruntime} or newer"),
        ]
    source = manifest.provenance
    worst = {case.graph: 0.0 for case in certificate.cases}
    for case in certificate.cases:
        worst[case.graph] = max(worst[case.graph], case.difference.worst_px)
    rows += [
        ("made", f"{manifest.created} by rigpose {source.rigpose} with torch {source.torch}"),
        ("from", f"{source.snapshot} (epoch {source.epoch}){_and_detector(source)}, {source.source}"),
        (
            "parity",
            f"{'passed' if certificate.passed else 'NOT PASSED'}: worst "
            + ", ".join(f"{px:.2g} px ({graph})" for graph, px in worst.items())
            + " over",
        ),
        (
            "",
            f"{len(certificate.cases)} comparisons, {certificate.reference} against {certificate.compared}",
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


def _input(model: ModelSpec) -> str:
    if model.crop is not None:
        return f"crops of {model.crop.width} x {model.crop.height} px, one for each animal"
    return _steps(model.input)


def _steps(spec: InputSpec) -> str:
    steps = ["BGR frames of any size" if spec.resize is None else "BGR frames"]
    if spec.resize is not None:
        steps.append(f"resized to {spec.resize.width} x {spec.resize.height}")
    if spec.longest_side is not None:
        steps.append(f"longer side scaled to {spec.longest_side} px")
    if spec.multiple_of > 1:
        steps.append(f"padded right and bottom to multiples of {spec.multiple_of}")
    return ", ".join(steps)


def _finds(manifest: Manifest) -> list[tuple[str, str]]:
    """What finds the animals that the pose graph sees one at a time."""
    model, detector = manifest.model, manifest.detector
    if model.task == "conditional_top_down":
        return [("animals", "where the rough poses of a bottom-up bundle are")]
    if model.task != "top_down":
        return []
    if detector is None:
        return [("animals", "in boxes that must be given; the bundle has no detector")]
    return [("animals", f"in the best {detector.max_animals} boxes of its detector: {_steps(detector.input)}")]


def _parameters(model: ModelSpec) -> list[tuple[str, str]]:
    """What ``rigpose analyze --set`` may change."""
    if model.grouping is None:
        return []
    fields = to_mapping(model.grouping)
    values = [f"{name}={value:g}" for name, value in fields.items() if type(value) in (int, float)]
    switches = [f"{name}={str(value).lower()}" for name, value in fields.items() if isinstance(value, bool)]
    return [("grouping", " ".join(values)), ("", " ".join(switches))]


def _and_detector(source: Provenance) -> str:
    return f" and {source.detector}" if source.detector else ""


def _shape(shape: tuple[int | str, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


COMMAND = Command("inspect", "Show what a bundle holds and where it came from.", _configure, _run)
