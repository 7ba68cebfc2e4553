"""Module -> ``.onnx``: traced with dynamic batch and frame size, checked structurally, contract inside."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import torch

from rigpose.bundle import GraphSpec, TensorSpec
from rigpose.errors import BundleError
from rigpose.model_spec import ModelSpec
from rigpose.schema import to_mapping
from rigpose_training.pose_graph import PoseGraph

OPSET = 20
MINIMUM_ONNXRUNTIME = "1.17"
"""The first release with opset 20."""

# Control flow and data-dependent shapes: inference engines reject them or run them on another device.
_FORBIDDEN = {"If", "Loop", "Scan", "NonZero", "NonMaxSuppression", "SequenceConstruct", "Unique"}


def write_onnx(graph: PoseGraph, spec: ModelSpec, path: Path) -> GraphSpec:
    """Trace ``graph`` to ``path`` and describe the file.

    The example frame is two frames of different sides, so that no axis is taken for a constant; its sides are
    multiples of what the network needs, and the axes are exported as that many times a free number.

    Raises:
        BundleError: The exported graph holds an operator that rigs cannot run.
    """
    graph = graph.eval()
    multiple = max(spec.input.multiple_of, 1)
    example = torch.zeros(2, 4 * max(multiple, 16), 6 * max(multiple, 16), 3, dtype=torch.uint8)
    shapes = ({0: "batch", 1: _axis("height", multiple), 2: _axis("width", multiple)},)
    with _quiet():
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=["frames"],
            output_names=list(graph.outputs),
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {"rigpose.model": json.dumps(to_mapping(spec))})
    onnx.checker.check_model(model, full_check=True)
    unfit = sorted({node.op_type for node in model.graph.node} & _FORBIDDEN)
    if unfit:
        raise BundleError(f"{path.name}: the graph holds {', '.join(unfit)}, which rigs cannot run; report this model.")
    onnx.save(model, str(path))
    return describe(path, model)


def describe(path: Path, model: onnx.ModelProto) -> GraphSpec:
    """What the manifest says about a float32 pose graph."""
    return GraphSpec(
        file=path.name,
        precision="fp32",
        opset=next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        nodes=len(model.graph.node),
        minimum_onnxruntime=MINIMUM_ONNXRUNTIME,
        inputs=tuple(_tensor(v) for v in model.graph.input),
        outputs=tuple(_tensor(v) for v in model.graph.output),
    )


def _axis(name: str, multiple: int) -> Any:
    return multiple * torch.export.Dim(name) if multiple > 1 else name


def _tensor(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(d.dim_param or d.dim_value for d in tensor.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return TensorSpec(name=value.name, dtype=str(dtype), shape=shape)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and deprecation notes off the user's console; errors still raise."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
