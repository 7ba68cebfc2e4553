"""A step of its own for each channel of the maps that quantised convolutions read: narrow channels keep their digits.

A convolution in integers knows one step for all that it reads. So each channel is divided by a factor before it is
rounded, and its weights are multiplied by it: the network computes the same (Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction", ICCV 2019). The factors weigh the ranges of activations against those
of weights (Xiao et al., "SmoothQuant", ICML 2023). It is the rounding that divides, so that what else reads the
map, such as a shortcut, reads it as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

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
_LAYERS = ("Conv", "ConvTranspose")
_DIVIDED = "divided"
"""How the names of what is divided begin until ``fold_into_rounding``."""


def divide_channels(
    model: onnx.ModelProto, quantised: Iterable[str], batches: Iterable[Mapping[str, Array]]
) -> dict[str, str]:
    """Divide what quantised convolutions read, per channel, and multiply their weights, in place.

    Args:
        model: A float32 graph whose batch normalisations are folded.
        quantised: The names of the nodes that will be quantised.
        batches: Inputs of the graph by name; an activation's range is its extreme over all of them.

    Returns:
        The names of the divided maps, by those of the maps.
    """
    flow = dataflow(model)
    read = _maps_read(model, flow, set(quantised))
    if not read:
        return {}
    constants = {name: numpy_helper.to_array(constant) for name, constant in flow.constants.items()}
    extremes = _extremes(model, sorted(read), batches)
    divisions: dict[str, onnx.NodeProto] = {}
    for value, layers in read.items():
        factors = _factors(extremes[value], layers, constants)
        divisions[value] = _division(model, value, factors)
        for node in layers:
            # A weight of its own, as others may read the same.
            weight = constants[node.input[1]]
            node.input[0], node.input[1] = divisions[value].output[0], f"{node.name}_{_DIVIDED}_weight"
            multiplied = (weight * _along_inputs(node, weight, factors)).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(multiplied, node.input[1]))
    _put_behind_makers(model, divisions)
    drop_unused_constants(model)
    return {value: division.output[0] for value, division in divisions.items()}


def fold_into_rounding(model: onnx.ModelProto) -> None:
    """Let the rounding divide: a step for each channel in place of ``divide_channels``'s products, in place.

    OpenVINO takes such steps; ONNX Runtime (1.31) has no kernel of a convolution whose result is rounded by them.

    Args:
        model: The graph, quantised.
    """
    flow = dataflow(model)
    constants = {name: numpy_helper.to_array(constant) for name, constant in flow.constants.items()}
    for node in list(model.graph.node):
        if node.op_type != "Mul" or not node.name.startswith(_DIVIDED):
            continue
        for rounding in flow.readers[node.output[0]]:
            by, step, zero = (constants[name] for name in (node.input[1], rounding.input[1], rounding.input[2]))
            steps = {f"{rounding.name}_steps": step / by.ravel(), f"{rounding.name}_zeros": np.full(by.size, zero)}
            model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in steps.items())
            del rounding.input[:], rounding.attribute[:]
            rounding.input.extend([node.input[0], *steps])
            rounding.attribute.append(helper.make_attribute("axis", 1))
        model.graph.node.remove(node)
    drop_unused_constants(model)


def _maps_read(model: onnx.ModelProto, flow: Dataflow, chosen: set[str]) -> dict[str, list[onnx.NodeProto]]:
    """The maps that the network makes for chosen convolutions, and these."""
    network = network_nodes(model, flow)
    read: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        weight = flow.constants.get(node.input[1]) if node.name in chosen and node.op_type in _LAYERS else None
        maker = flow.producer.get(node.input[0]) if weight is not None and len(weight.dims) == 4 else None
        if maker is not None and maker.name in network and not _is_padded(maker, flow):
            read[node.input[0]].append(node)
    return read


def _is_padded(maker: onnx.NodeProto, flow: Dataflow) -> bool:
    """Whether a node pools what was padded: where that width is computed, OpenVINO does not know the channels of it."""
    while maker.op_type in ("AveragePool", "MaxPool") and maker.input[0] in flow.producer:
        maker = flow.producer[maker.input[0]]
    return maker.op_type == "Pad"


def _factors(extremes: Array, layers: Iterable[onnx.NodeProto], constants: Mapping[str, Array]) -> Array:
    """(C,) what a map's channels are divided by; one in the geometric mean."""
    weights = _together([_of_inputs(node, constants[node.input[1]]) for node in layers])
    factors = _together([extremes]) ** ACTIVATIONS_SHARE / weights ** (1 - ACTIVATIONS_SHARE)
    return (factors / np.exp(np.log(factors).mean())).astype(np.float32)


def _division(model: onnx.ModelProto, value: str, factors: Array) -> onnx.NodeProto:
    by = f"{_DIVIDED}_by_{value}"
    model.graph.initializer.append(numpy_helper.from_array(1 / factors.reshape(1, -1, 1, 1), by))
    return helper.make_node("Mul", [value, by], [f"{_DIVIDED}_{value}"], name=f"{_DIVIDED}_node_{value}")


def _put_behind_makers(model: onnx.ModelProto, divisions: Mapping[str, onnx.NodeProto]) -> None:
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        model.graph.node.append(node)
        model.graph.node.extend(divisions[value] for value in node.output if value in divisions)


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


def _groups(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
