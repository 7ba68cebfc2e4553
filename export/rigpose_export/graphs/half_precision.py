"""A typed float16 graph out of a float32 one: the network's products in half precision, everything fragile not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rigpose_export.graphs.regions import (
    PRODUCTS,
    Dataflow,
    dataflow,
    drop_unused_constants,
    fold_batch_normalisation,
    largest,
    last_products,
    network_nodes,
)

LARGEST, SMALLEST = 65504.0, 2.0**-14
"""The largest float16, and the smallest with all of its 11 bits."""

# What runs in the precision of the values that it is given. All else, above all statistics (means, norms, powers),
# Softmax and sampling, is computed in float32.
_FOLLOWING = frozenset(
    {
        *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Min", "Max", "Clip", "Where"),
        *("Relu", "LeakyRelu", "Elu", "Gelu", "Mish", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"),
        *("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "Resize"),
        *("Concat", "Split", "Slice", "Gather", "Pad", "Tile", "Expand", "Identity", "Flatten"),
        *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "DepthToSpace", "SpaceToDepth"),
    }
)
# Operators that sample at places, and which input holds the places.
_PLACES = {"GridSample": 1, "DeformConv": 2}
# Float inputs that are numbers about a value, float32 in any precision: the region and the scales of a Resize.
_ALWAYS_FLOAT32 = {"Resize": (1, 2)}
# Without an upper bound, as a Softmax or a normalisation has one: a square of 256 is beyond float16.
_UNBOUNDED = ("Pow", "Exp")


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make a graph whose network runs in float16, with the same inputs and outputs.

    Convolutions, transposed convolutions and matrix products of the network take and give float16, with float16
    weights, and so do the cheap operators between them. Float32 stay

    - all nodes outside of the network: pixel normalisation, the maps of conditions, decoding, boxes, suppression;
    - statistics of normalisations, powers, Softmax, and what samples at places;
    - the products that give what decoders read: a heatmap's best two cells are soon the same number in float16, and
      an offset of 256 cells is exact to 1/8 cell. They are few and small beside the backbone's;
    - products whose results are places, the offsets of a deformable convolution, and products with a power;
    - nodes with a constant that float16 does not hold, like the epsilon of a norm.

    An operator of two precisions runs in float32, so no float32 value is rounded on its way to a float32 node.

    Args:
        model: A traced float32 graph whose nodes name their modules; it is not changed.

    Returns:
        The typed graph, checked.

    Raises:
        BundleError: The nodes do not say which of them are the network's.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    fold_batch_normalisation(half)
    flow = dataflow(half)
    _retype(half, flow, _half_nodes(half, flow))
    drop_unused_constants(half)
    del half.graph.value_info[:]
    onnx.checker.check_model(half, full_check=True)
    return half


def _half_nodes(model: onnx.ModelProto, flow: Dataflow) -> set[str]:
    """The names of the nodes that run in float16."""
    network = network_nodes(model, flow)
    single = _nodes_of_places(model, flow) | last_products(model, flow, network)
    half: set[str] = set()
    # Made of constants alone, like an expanded token: they take the precision of who reads them.
    free: set[str] = set()
    for node in model.graph.node:
        if node.name not in network or node.name in single or not _constants_fit(node, flow):
            continue
        values = [value for value in _data(node, flow) if value not in flow.constants]
        makers = [flow.producer.get(value) for value in values]
        if node.op_type in PRODUCTS:
            unbounded = node.op_type == "MatMul" and any(_unbounded(maker, flow, half) for maker in makers)
            half |= set() if unbounded else {node.name}
        elif node.op_type in _FOLLOWING and not _is_square(node):
            names = {None if maker is None else maker.name for maker in makers}
            if names <= free and _floats(node, flow):
                free.add(node.name)
            elif names <= half | free and names & half:
                half.add(node.name)
    for node in reversed(model.graph.node):
        if node.name in free and all(reader.name in half for reader in flow.following(node)):
            half.add(node.name)
    return half


def _nodes_of_places(model: onnx.ModelProto, flow: Dataflow) -> set[str]:
    """The names of the nodes that compute where an operator samples, up to the products that tell it."""
    found: set[str] = set()
    open_values = [node.input[_PLACES[node.op_type]] for node in model.graph.node if node.op_type in _PLACES]
    while open_values:
        node = flow.producer.get(open_values.pop())
        if node is None or node.name in found:
            continue
        found.add(node.name)
        if node.op_type in _FOLLOWING:
            open_values += _data(node, flow)
    return found


def _data(node: onnx.NodeProto, flow: Dataflow) -> list[str]:
    """The float32 inputs whose type follows the node's precision."""
    skipped = _ALWAYS_FLOAT32.get(node.op_type, ())
    return [value for place, value in enumerate(node.input) if place not in skipped and value in flow.floating]


def _floats(node: onnx.NodeProto, flow: Dataflow) -> bool:
    return any(value in flow.floating for value in node.output)


def _constants_fit(node: onnx.NodeProto, flow: Dataflow) -> bool:
    """Whether float16 holds a node's constants: none too large, and none so small that nothing would be left.

    Small weights beside large ones may be lost; a product with weights that are small altogether may not.
    """
    sizes = [largest(flow.constants[value]) for value in _data(node, flow) if value in flow.constants]
    return all(size <= LARGEST and (size == 0 or size >= SMALLEST) for size in sizes)


def _is_square(node: onnx.NodeProto) -> bool:
    return node.op_type == "Mul" and node.input[0] == node.input[1]


def _unbounded(maker: onnx.NodeProto | None, flow: Dataflow, half: set[str]) -> bool:
    """Whether a float32 value is a power, possibly in another layout."""
    while maker is not None and maker.name not in half:
        if maker.op_type in _UNBOUNDED or _is_square(maker):
            return True
        if maker.op_type not in _FOLLOWING:
            return False
        maker = next((flow.producer[value] for value in maker.input if value in flow.producer), None)
    return False


def _retype(model: onnx.ModelProto, flow: Dataflow, half: set[str]) -> None:
    """Give the nodes of ``half`` float16 inputs, all others float32 ones: casts of values, copies of constants."""
    is_half = {value for node in model.graph.node if node.name in half for value in node.output} & flow.floating
    nodes: list[onnx.NodeProto] = []
    made: set[str] = set()  # names of casts' results and of constants in float16
    for node in model.graph.node:
        takes_half = set(_data(node, flow)) if node.name in half else set()
        for place, value in enumerate(node.input):
            if value not in flow.floating or (value in takes_half) == (value in is_half):
                continue
            name = f"{value}_{'half' if value in takes_half else 'single'}"
            if name not in made:
                made.add(name)
                if value in flow.constants:
                    model.graph.initializer.append(_in_half(flow.constants[value], name))
                else:
                    nodes.append(_cast(value, name, to_half=value in takes_half))
            node.input[place] = name
        nodes.append(node)
    nodes += _restored_outputs(model, nodes, is_half)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _restored_outputs(
    model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], is_half: set[str]
) -> list[onnx.NodeProto]:
    """Casts to the types of the graph's outputs where a half node gives one."""
    casts = []
    for output in model.graph.output:
        if output.name in is_half:
            name = f"{output.name}_half"
            for node in nodes:
                for values in (node.input, node.output):
                    values[:] = [name if value == output.name else value for value in values]
            casts.append(_cast(name, output.name, to_half=False))
    return casts


def _cast(value: str, name: str, *, to_half: bool) -> onnx.NodeProto:
    return helper.make_node(
        "Cast", [value], [name], name=f"cast_{name}", to=TensorProto.FLOAT16 if to_half else TensorProto.FLOAT
    )


def _in_half(constant: onnx.TensorProto, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(constant).astype(np.float16), name)
