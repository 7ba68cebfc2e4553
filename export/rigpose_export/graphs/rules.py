"""What a graph may hold so that every rig's inference engine takes it: checked before a file is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import onnx
from onnx import TensorProto

from rigpose.bundles.bundle import BackendName
from rigpose.errors import BundleError

# Control flow, and shapes that depend on data: engines refuse them or leave the GPU for them.
_FORBIDDEN = {"If", "Loop", "Scan", "NonZero", "NonMaxSuppression", "Unique", "Compress"}
_MOST_OF_TOPK = 3840
"""TensorRT's largest K."""
_WITHOUT_TENSORRT = {"DeformConv", "RoiAlign"}
"""Plugins in TensorRT, and absent from TensorRT for RTX; they have a form of GridSample (``write_onnx``)."""


def check_structure(model: onnx.ModelProto, name: str) -> dict[str, int]:
    """Check a graph's operators and types.

    Args:
        model: With its weights inside.
        name: Of its file, for the message.

    Returns:
        How many nodes it has of each operator, by operator.

    Raises:
        BundleError: An engine would refuse it; names the node and the reason.
    """
    graph = _Graph(model)
    for node in model.graph.node:
        for rule in _RULES:
            if reason := rule(graph, node):
                raise BundleError(
                    f"{name}: node {node.name or '(unnamed)'} ({node.op_type}) {reason}, which rigs cannot run; "
                    "report this model."
                )
    try:
        # Types, too: TensorRT takes no node of float16 and float32 without a cast between them.
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BundleError(f"{name}: is no valid graph ({' '.join(str(error).split())}); report this model.") from error
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def backends_of(model: onnx.ModelProto) -> tuple[BackendName, ...]:
    """What takes a float32 graph that ``check_structure`` has passed."""
    if any(node.op_type in _WITHOUT_TENSORRT for node in model.graph.node):
        return ("onnxruntime", "openvino")
    return ("onnxruntime", "openvino", "tensorrt")


class _Graph:
    """A model, and what the rules look up in it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        inputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
        self.bytes_in = {name for name, kind in inputs.items() if kind == TensorProto.UINT8}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name not in inputs}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t


def _control_flow(_: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type in _FORBIDDEN or "Sequence" in node.op_type or node.op_type.startswith("Optional"):
        return "is control flow, or has an output whose shape depends on data"
    return None


def _known(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.domain not in ("", "ai.onnx"):
        return f"belongs to {node.domain} and not to ONNX"
    if not onnx.defs.has(node.op_type):
        return "is no operator of ONNX"
    try:
        onnx.defs.get_schema(node.op_type, graph.opset)
    except onnx.defs.SchemaError:
        since = min(s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == node.op_type)
        return f"exists since opset {since}, and the graph is of opset {graph.opset}"
    return None


def _top_k(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type != "TopK":
        return None
    if node.input[1] not in graph.constants:
        return "takes a number K that is no constant"
    count = int(onnx.numpy_helper.to_array(graph.constants[node.input[1]]).item())
    if count > _MOST_OF_TOPK:
        return f"takes {count} values, and TensorRT at most {_MOST_OF_TOPK}"
    return None if _attribute(node, "sorted", 1) else "leaves its values unsorted"


def _resize(_: _Graph, node: onnx.NodeProto) -> str | None:
    return "smooths before it resizes" if node.op_type == "Resize" and _attribute(node, "antialias", 0) else None


def _max_pool(_: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type != "MaxPool":
        return None
    if len(node.output) > 1 and node.output[1]:
        return "gives indices"
    return "is dilated" if max(_attribute(node, "dilations", [1])) > 1 else None


def _scatter(_: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type in ("ScatterND", "ScatterElements") and _attribute(node, "reduction", b"none") != b"none":
        return "adds up what it scatters"
    return None


def _bytes(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type not in ("Cast", "Shape") and graph.bytes_in & set(node.input):
        return "reads uint8, which has to be cast first"
    return None


def _conv_transpose(_: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type != "ConvTranspose":
        return None
    both = max(_attribute(node, "strides", [1])) > 1 and max(_attribute(node, "dilations", [1])) > 1
    return "has strides and is dilated" if both else None


_RULES: tuple[Callable[[_Graph, onnx.NodeProto], str | None], ...] = (
    _control_flow,
    _known,
    _top_k,
    _resize,
    _max_pool,
    _scatter,
    _bytes,
    _conv_transpose,
)


def _attribute(node: onnx.NodeProto, name: str, default: object) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default
