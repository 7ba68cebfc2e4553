"""What a network costs, whoever wrote it: its parameters and multiply-adds, counted from its ONNX graph.

Counted are convolutions and matrix products; additions, activations, resizing and decoding are not, as in the counts
that papers give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

from rigpose.arrays import Array

_CONVOLUTIONS = ("Conv", "DeformConv")
_PRODUCTS = ("MatMul", "Gemm")
_COUNTED = (*_CONVOLUTIONS, "ConvTranspose", *_PRODUCTS)
_FLOATING = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


@dataclass(frozen=True)
class GraphCost:
    """What a graph holds, and what one run of it takes.

    Attributes:
        parameters: Numbers of its floating arrays: weights, biases and what a decoding keeps.
        multiply_adds: Of its convolutions and matrix products.
    """

    parameters: int
    multiply_adds: int


def graph_cost(path: Path, shape: Sequence[int]) -> GraphCost:
    """The cost of a graph with one uint8 input of that shape, which it runs once to see the shapes inside.

    Raises:
        SystemExit: It branches or loops, so that its cost depends on what it sees.
    """
    model = onnx.load(str(path))
    graph = model.graph
    if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for n in graph.node for a in n.attribute):
        raise SystemExit(f"{path}: has branches or loops, whose multiply-adds cannot be counted.")
    kept = list(graph.initializer)
    kept += [a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute if a.name == "value"]
    parameters = sum(math.prod(t.dims) for t in kept if t.data_type in _FLOATING and t.dims)
    counted = [node for node in graph.node if node.op_type in _COUNTED]
    shapes = _shapes_inside(model, counted, shape)
    total = sum(
        multiply_adds(node, *(shapes[value] for value in (*node.input[:2], node.output[0]))) for node in counted
    )
    return GraphCost(parameters, total)


def multiply_adds(node: onnx.NodeProto, data: Sequence[int], weight: Sequence[int], result: Sequence[int]) -> int:
    """Of one node, from the shapes of its first two inputs and of its output."""
    if node.op_type in _CONVOLUTIONS:  # weight (C_out, C_in / groups, ...): each output is a sum of so many products
        return math.prod(result) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":  # weight (C_in, C_out / groups, ...): each input is added to so many outputs
        return math.prod(data) * math.prod(weight[1:])
    transposed = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(result) * data[-2 if transposed else -1]


def _shapes_inside(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], shape: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """The shapes of what nodes read and write, by running the graph on a black frame."""
    graph = model.graph
    (fed,) = [value.name for value in graph.input if value.name not in {i.name for i in graph.initializer}]
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer} | {fed: tuple(shape)}
    wanted = {value for node in nodes for value in (*node.input[:2], node.output[0])} - set(shapes)
    given = {value.name for value in graph.output}
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted - given))
    options = onnxruntime.SessionOptions()
    # Nothing is fused, so that every node's output is there.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = sorted(wanted)
    found: Sequence[Array] = [np.asarray(a) for a in session.run(names, {fed: np.zeros(shape, np.uint8)})]
    return shapes | {name: array.shape for name, array in zip(names, found, strict=True)}
