"""Float16 arithmetic for machines that have none: a typed graph as a float32 one that rounds like it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Veltkamp's splitting: float32 has 24 bits, float16 has 11.
SPLITTER = np.float32(2**13 + 1)
# 2**16, the first power of two beyond float16, times this is beyond float32.
TO_INFINITY = np.float32(2.0**112)


def in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every value of ``model`` that is float16 becomes a float32 one, rounded to float16's 11 bits.

    That is what a GPU does, which sums in float32 and stores float16. ONNX Runtime on a CPU instead removes the casts
    between the operators that it has no float16 kernels for, and rounds almost nothing. A value beyond float16 is
    NaN. Numbers below its normal range keep their bits.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    half = half_values(model)
    for constant in out.graph.initializer:
        if constant.data_type == TensorProto.FLOAT16:
            wide = numpy_helper.to_array(constant).astype(np.float32)
            constant.CopyFrom(numpy_helper.from_array(wide, constant.name))
    for name, value in {"to_infinity": TO_INFINITY, "splitter": SPLITTER}.items():
        out.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    nodes = list(out.graph.node)
    del out.graph.node[:]
    for node in nodes:
        if node.op_type == "Cast":
            for attribute in node.attribute:
                attribute.i = TensorProto.FLOAT if attribute.i == TensorProto.FLOAT16 else attribute.i
        exact = [value for value in node.output if value in half]
        node.output[:] = [f"{value}_exact" if value in exact else value for value in node.output]
        out.graph.node.append(node)
        for value in exact:
            out.graph.node.extend(_rounding(f"{value}_exact", value))
    del out.graph.value_info[:]
    onnx.checker.check_model(out, full_check=True)
    return out


def half_values(model: onnx.ModelProto) -> set[str]:
    """The names of the values, initializers too, that are float16."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    typed = {v.name for v in (*graph.value_info, *graph.output) if v.type.tensor_type.elem_type == TensorProto.FLOAT16}
    return typed | {constant.name for constant in graph.initializer if constant.data_type == TensorProto.FLOAT16}


def _rounding(exact: str, rounded: str) -> list[onnx.NodeProto]:
    large, nothing, finite, high, low = (f"{rounded}_{part}" for part in ("large", "nothing", "finite", "high", "low"))
    return [
        helper.make_node("Mul", [exact, "to_infinity"], [large]),
        helper.make_node("Sub", [large, large], [nothing]),
        helper.make_node("Add", [exact, nothing], [finite]),
        helper.make_node("Mul", [finite, "splitter"], [high]),
        helper.make_node("Sub", [high, finite], [low]),
        helper.make_node("Sub", [high, low], [rounded]),
    ]
