"""Module -> ``.onnx``: traced with dynamic batch and frame size, checked structurally, contract inside."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch

from rigpose.bundles.bundle import BackendName, GraphSpec, Precision, Role, TensorSpec
from rigpose.bundles.contract import contract
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.models.preprocess import InputSpec, plan
from rigpose_export.graphs.rules import backends_of, check_structure
from rigpose_training.detector_graph import DetectorGraph
from rigpose_training.pair_graph import PairGraph
from rigpose_training.pose_graph import PoseGraph
from rigpose_training.sampling import grid_sampling

OPSET = 20
MINIMUM_ONNXRUNTIME = "1.17"
"""The first release with opset 20."""
MINIMUM_OF_OPERATOR = {"DeformConv": "1.25"}
"""The first releases with kernels for operators that came later than their opset."""


def write_onnx(graph: PoseGraph, spec: ModelSpec, path: Path, *, portable: bool = False) -> GraphSpec:
    """Trace a pose graph to ``path`` and describe the file.

    Batches may be of any size, and so may frames; crops are of the size that the model has for them.

    Args:
        graph: It is put into evaluation mode.
        spec: What the file says about itself.
        path: The ``.onnx`` file.
        portable: Trace GridSample in place of DeformConv and RoiAlign, which TensorRT for RTX does not have and
            TensorRT has as plugins: the same numbers, more slowly on CPUs.

    Returns:
        The file's place in the manifest.

    Raises:
        BundleError: The exported graph holds an operator that rigs cannot run.
    """
    if spec.crop is None:
        frames, axes = _any_frames(spec.input)
    else:
        size = plan(spec.input, spec.crop.height, spec.crop.width).input_size
        frames, axes = torch.zeros(2, *size, 3, dtype=torch.uint8), {0: "batch"}
    examples, shapes = [frames], [axes]
    if "conditions" in graph.inputs:
        examples.append(torch.zeros(2, len(spec.keypoints), 3))
        shapes.append({0: "batch"})
    with grid_sampling() if portable else contextlib.nullcontext():
        model = _trace(graph, examples, shapes)
    return _write(model, path, "pose", contract(spec), portable=portable)


def write_detector(graph: DetectorGraph, spec: DetectorSpec, path: Path, *, portable: bool = False) -> GraphSpec:
    """Trace the graph of a detector, for batches and frames of any size; the rest is as in ``write_onnx``."""
    frames, axes = _any_frames(spec.input)
    with grid_sampling() if portable else contextlib.nullcontext():
        model = _trace(graph, [frames], [axes])
    return _write(model, path, "detector", contract(spec), portable=portable)


def write_pair(
    graph: PairGraph, boxes: DetectorSpec, spec: ModelSpec, path: Path, *, portable: bool = False
) -> GraphSpec:
    """Trace the combined graph of a pair, for batches and frames of any size; the rest is as in ``write_onnx``."""
    frames, axes = _any_frames(boxes.input)
    with grid_sampling() if portable else contextlib.nullcontext():
        model = _trace(graph, [frames], [axes])
    return _write(model, path, "pair", contract(spec, boxes), portable=portable)


def _any_frames(spec: InputSpec) -> tuple[torch.Tensor, dict[int, Any]]:
    """Example frames and their axes that may vary.

    They are two frames of different sides, so that no axis is taken for a constant; the sides are multiples of what
    the network needs, and the axes are exported as that many times a free number.
    """
    multiple = max(spec.multiple_of, 1)
    sides = 4 * max(multiple, 16), 6 * max(multiple, 16)
    axes = {0: "batch", 1: _axis("height", multiple), 2: _axis("width", multiple)}
    return torch.zeros(2, *sides, 3, dtype=torch.uint8), axes


def _trace(
    graph: PoseGraph | DetectorGraph | PairGraph, examples: Sequence[torch.Tensor], shapes: Sequence[Mapping[int, Any]]
) -> onnx.ModelProto:
    with _quiet():
        program = torch.onnx.export(
            graph.eval(),
            tuple(examples),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=tuple(shapes),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
        )
    assert program is not None
    return program.model_proto


def _write(model: onnx.ModelProto, path: Path, role: Role, props: dict[str, str], *, portable: bool) -> GraphSpec:
    onnx.helper.set_model_props(model, props)
    check_structure(model, path.name)
    onnx.save(model, str(path))
    return describe(path, model, role, backends=("tensorrt",) if portable else None)


def describe(
    path: Path,
    model: onnx.ModelProto,
    role: Role,
    *,
    precision: Precision = "fp32",
    backends: tuple[BackendName, ...] | None = None,
) -> GraphSpec:
    """What the manifest says about a graph; without ``backends``, that it is for all that have its operators."""
    needed = [MINIMUM_OF_OPERATOR.get(node.op_type, MINIMUM_ONNXRUNTIME) for node in model.graph.node]
    return GraphSpec(
        role=role,
        file=path.name,
        backends=backends or backends_of(model),
        precision=precision,
        opset=next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        nodes=len(model.graph.node),
        minimum_onnxruntime=max(needed, key=lambda version: tuple(map(int, version.split(".")))),
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
