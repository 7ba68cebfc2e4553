"""Graphs that a test wrote by hand, sealed as a bundle; it needs neither torch nor a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from rigpose.bundles.bundle import (
    FORMAT,
    TRAINING_CONFIG,
    BackendName,
    Bundle,
    Display,
    GraphSpec,
    Manifest,
    Precision,
    Provenance,
    Role,
    TensorSpec,
    record_files,
    seal,
)
from rigpose.models.model_spec import DetectorSpec, ModelSpec

OPSET = 20


def write_graph(
    folder: Path,
    model: onnx.ModelProto,
    outputs: Sequence[TensorSpec],
    *,
    role: Role = "pose",
    precision: Precision = "fp32",
    sides: Sequence[int | str] = ("height", "width"),
    backends: tuple[BackendName, ...] = ("onnxruntime", "openvino"),
) -> GraphSpec:
    """Write a graph that takes frames, and say what the manifest says of it."""
    file = f"{role}.onnx" if precision == "fp32" else f"{role}.{precision}.onnx"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / file))
    return GraphSpec(
        role=role,
        file=file,
        backends=backends,
        precision=precision,
        opset=OPSET,
        nodes=len(model.graph.node),
        minimum_onnxruntime="1.17",
        inputs=(TensorSpec("frames", "uint8", ("batch", *sides, 3)),),
        outputs=tuple(outputs),
    )


def sealed_bundle(
    folder: Path, spec: ModelSpec, graphs: Sequence[GraphSpec], *, detector: DetectorSpec | None = None
) -> Bundle:
    """The bundle of graphs that lie in its folder; its scorer has the architecture's name."""
    (folder / TRAINING_CONFIG).write_text(f"net_type: {spec.architecture}\n", encoding="utf-8")
    manifest = Manifest(
        rigpose_bundle=FORMAT,
        created="2026-01-01T00:00:00+00:00",
        scorer=f"DLC_{spec.architecture}",
        model=spec,
        detector=detector,
        graphs=tuple(graphs),
        display=Display(),
        provenance=Provenance("0", "none", "none", "", "", None, spec.architecture, None, None),
        files=record_files(folder),
    )
    seal(folder, manifest)
    return Bundle.open(folder)
