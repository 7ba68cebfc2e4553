"""Channels of equal range before quantisation: one step of int8 has to serve all channels of a map.

Between two layers, the first may be divided by a positive factor per channel and the second multiplied by it, where
such factors pass through all that stands between them: the network computes the same (Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", ICCV 2019). The factors weigh the ranges of activations
against those of weights (Xiao et al., "SmoothQuant", ICML 2023). A shortcut ties the layers of a whole stage to the
same factors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rigpose.arrays import Array
from rigpose_export.graphs.inner_values import InnerValues
from rigpose_export.graphs.regions import Dataflow, dataflow, drop_unused_constants, network_nodes

ACTIVATIONS_SHARE = 0.6
"""How much of the difference between channels is taken from the activations, as an exponent; the rest from weights."""
_NARROWEST = 1 / 32
"""A channel counts as at least this much of the widest: one that showed nothing would get an endless factor, and small
weights beside large ones are rounded badly."""
_PASSING = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "Identity", "Add")
"""Operators through which a positive factor per channel passes, from all inputs that are maps."""
_LAYERS = ("Conv", "ConvTranspose")


@dataclass
class _Tied:
    """Maps whose channels have the same factors.

    Attributes:
        layers: That read one of the maps.
        makers: That make one, and whose constants are all in proportion to it: layers, and products with a constant.
        shifts: Sums of one and a constant.
    """

    layers: list[onnx.NodeProto]
    makers: list[onnx.NodeProto]
    shifts: list[onnx.NodeProto]


def equalise(model: onnx.ModelProto, quantised: Iterable[str], batches: Iterable[Mapping[str, Array]]) -> int:
    """Bring the ranges of the channels that quantised layers read closer to each other, in place.

    Args:
        model: A float32 graph whose batch normalisations are folded.
        quantised: The names of the nodes that will be quantised.
        batches: Inputs of the graph by name; an activation's range is its extreme over all of them.

    Returns:
        How many groups of maps that share their factors were found.
    """
    chosen, flow = set(quantised), dataflow(model)
    constants = {name: numpy_helper.to_array(constant) for name, constant in flow.constants.items()}
    groups = [tied for tied in _tied_maps(model, flow) if any(node.name in chosen for node in tied.layers)]
    if not groups:
        return 0
    read = {node.input[0] for tied in groups for node in tied.layers if node.name in chosen}
    extremes = _extremes(model, sorted(read), batches)
    for tied in groups:
        layers = [node for node in tied.layers if node.name in chosen]
        activations = _together([extremes[node.input[0]] for node in layers])
        weights = _together([_of_inputs(node, constants[node.input[1]]) for node in layers])
        factors = activations**ACTIVATIONS_SHARE / weights ** (1 - ACTIVATIONS_SHARE)
        factors = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
        for node in tied.layers:
            _multiply(model, constants, node, 1, _along_inputs(node, constants[node.input[1]], factors))
        for node in (*tied.makers, *tied.shifts):
            for position in (i for i, name in enumerate(node.input) if name in constants):
                along = _along_outputs(node, constants[node.input[position]], 1 / factors)
                _multiply(model, constants, node, position, along)
    drop_unused_constants(model)
    return len(groups)


def _tied_maps(model: onnx.ModelProto, flow: Dataflow) -> list[_Tied]:
    """The groups of maps that factors can be given to: all that makes them and reads them can take its share."""
    of = {value: value for node in model.graph.node for value in node.output}

    def root(value: str) -> str:
        while of[value] != value:
            value = of[value]
        return value

    for node in model.graph.node:
        if node.op_type in _PASSING:
            for value in _maps_read(node, flow):
                if value in of:
                    of[root(value)] = root(node.output[0])
    members: dict[str, list[str]] = defaultdict(list)
    for value in of:
        members[root(value)].append(value)
    network = network_nodes(model, flow)
    given = {value.name for value in model.graph.output}
    found = []
    for values in members.values():
        tied = _Tied([], [], [])
        if all(value not in given and _takes_part(value, tied, flow, network) for value in values):
            found.append(tied)
    return found


def _takes_part(value: str, tied: _Tied, flow: Dataflow, network: set[str]) -> bool:
    """Note who makes and reads a map; false if one of them cannot take its share of a factor."""
    maker = flow.producer[value]
    constant = [name for name in maker.input if name in flow.constants]
    if maker.name not in network:
        return False
    is_layer = maker.op_type in _LAYERS and set(maker.input[1:]) == set(constant)
    if is_layer or (maker.op_type == "Mul" and len(constant) == 1):
        tied.makers.append(maker)
    elif maker.op_type not in _PASSING or any(read not in flow.producer for read in _maps_read(maker, flow)):
        return False
    elif maker.op_type == "Add" and constant:
        tied.shifts.append(maker)
    for reader in flow.readers.get(value, ()):
        weight = flow.constants.get(reader.input[1]) if reader.op_type in _LAYERS and value == reader.input[0] else None
        if weight is not None and len(weight.dims) == 4:
            tied.layers.append(reader)
        elif reader.op_type not in (*_PASSING, "Shape"):
            return False
    return True


def _maps_read(node: onnx.NodeProto, flow: Dataflow) -> list[str]:
    """What passes through a node: both terms of a sum, and otherwise its first input."""
    read = node.input if node.op_type == "Add" else node.input[:1]
    return [value for value in read if value not in flow.constants]


def _extremes(model: onnx.ModelProto, values: list[str], batches: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """The largest magnitude in each channel of maps (B, C, H, W)."""
    reduced = onnx.ModelProto()
    reduced.CopyFrom(model)
    reduced.graph.initializer.append(numpy_helper.from_array(np.array([0, 2, 3]), "all_but_channels"))
    for value in values:
        inside = [f"{value}_magnitude", f"{value}_extreme"]
        reduced.graph.node.append(helper.make_node("Abs", [value], inside[:1]))
        reduced.graph.node.append(
            helper.make_node("ReduceMax", [inside[0], "all_but_channels"], inside[1:], keepdims=0)
        )
    inner = InnerValues(reduced, [f"{value}_extreme" for value in values])
    every = [list(inner.of(batch).values()) for batch in batches]
    return {value: np.maximum.reduce(seen) for value, seen in zip(values, zip(*every, strict=True), strict=True)}


def _together(ranges: list[Array]) -> Array:
    """(C,) the widest of several ranges of each channel, each beside its own widest channel."""
    relative = [values / max(float(values.max()), np.finfo(np.float32).tiny) for values in ranges]
    return np.maximum(np.maximum.reduce(relative), _NARROWEST)


def _of_inputs(node: onnx.NodeProto, weight: Array) -> Array:
    """(C,) how large a layer's weights of each input are, beside the largest of the same output."""
    magnitude = np.abs(weight).max(axis=tuple(range(2, weight.ndim)))
    rows = magnitude if node.op_type == "Conv" else magnitude.T
    relative = rows / np.maximum(rows.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    groups = _groups(node)
    if groups == 1:
        return relative.max(axis=0)
    # A row of a group's output holds the group's inputs only.
    if node.op_type == "Conv":
        return relative.reshape(groups, -1, relative.shape[1]).max(axis=1).reshape(-1)
    return np.ones(weight.shape[0])


def _along_inputs(node: onnx.NodeProto, weight: Array, factors: Array) -> Array:
    """Factors of input channels in the shape that multiplies a layer's weight."""
    behind = [1] * (weight.ndim - 2)
    if node.op_type == "ConvTranspose":
        return factors.reshape(-1, 1, *behind)
    groups = _groups(node)
    each = factors.reshape(groups, -1)
    return np.repeat(each, len(weight) // groups, axis=0).reshape(len(weight), -1, *behind)


def _along_outputs(node: onnx.NodeProto, constant: Array, factors: Array) -> Array:
    """Factors of output channels in the shape that multiplies a layer's weight or bias, or what maps are scaled by."""
    if node.op_type not in _LAYERS:
        return factors.reshape(-1, 1, 1)
    if constant.ndim == 1:
        return factors
    behind = [1] * (constant.ndim - 2)
    if node.op_type == "Conv":
        return factors.reshape(-1, 1, *behind)
    groups = _groups(node)
    each = factors.reshape(groups, 1, -1)
    return np.repeat(each, len(constant) // groups, axis=1).reshape(len(constant), -1, *behind)


def _groups(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _multiply(
    model: onnx.ModelProto, constants: dict[str, Array], node: onnx.NodeProto, position: int, factors: Array
) -> None:
    """Give a node a constant of its own, as others may read the same."""
    name = f"{node.name}_equalised_{position}_{len(constants)}"
    constants[name] = (constants[node.input[position]] * factors).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(constants[name], name))
    node.input[position] = name
