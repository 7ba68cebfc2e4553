"""A float16 graph as a CPU can run it with float16's numbers.

ONNX Runtime has few float16 kernels for CPUs. It runs the others in float32 and leaves out the rounding between them,
so that on a CPU a float16 graph shows less of its loss than a GPU will. Here every float16 value is rounded where it
is born, and everything is computed in float32, which is what a GPU with float32 accumulators does.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def with_half_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in float32, with each of its float16 values rounded to float16.

    Args:
        model: A typed float16 graph; it is not changed.
    """
    rounded = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    typed = {value.name: value.type.tensor_type.elem_type for value in rounded.graph.value_info}
    half = {name for name, kind in typed.items() if kind == TensorProto.FLOAT16}
    for tensor in rounded.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    nodes: list[onnx.NodeProto] = []
    for node in rounded.graph.node:
        for attribute in node.attribute:
            _widen(node, attribute)
        nodes.append(node)
        # A constant and a value that only changes its place are rounded already; once more changes nothing.
        for place, value in enumerate(node.output):
            if value in half:
                node.output[place] = f"{value}_exact"
                nodes.append(_cast(f"{value}_exact", f"{value}_rounded", TensorProto.FLOAT16))
                nodes.append(_cast(f"{value}_rounded", value, TensorProto.FLOAT))
    del rounded.graph.node[:], rounded.graph.value_info[:]
    rounded.graph.node.extend(nodes)
    onnx.checker.check_model(rounded, full_check=True)
    return rounded


def _widen(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> None:
    """Let a node that makes or casts to float16 give float32."""
    if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
        attribute.i = TensorProto.FLOAT
    elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT16:
        attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float32)))


def _cast(value: str, name: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [value], [name], name=f"rounding_{name}", to=to)
