"""Weights rounded to integers so that their errors cancel in what a convolution gives.

One input after the other is rounded, and the weights of the inputs that are still to come make up for the error as far
as what they multiply resembles it: GPTQ (Frantar et al., ICLR 2023), after Optimal Brain Surgeon (Hassibi and Stork,
1993). In maps, neighbours resemble each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from rigpose.arrays import Array
from rigpose.progress import Advance
from rigpose_export.graphs.inner_values import InnerValues
from rigpose_export.graphs.regions import dataflow

LARGEST = 127
PAIR = 128
"""Processors without VNNI add the products of two neighbouring input channels in 16 bits with a sign. Where inputs go
from 0 to 255, weights of one sign in a pair may come to this together."""
POSITIONS = 4096
"""Places of maps at which inputs are compared, over all batches."""
DAMPING = 0.01
"""Of the inputs' mean square: what places that were not looked at might add."""
_AT_ONCE = 2**30
"""Bytes for the products of inputs; layers beyond it wait for another run over the batches."""
TOGETHER = 6144
"""Inputs of a convolution that make up for each other's errors: the matrix of their products takes its square in memory
and its cube in time. Wider convolutions, as RTMPose's last of 7x7 cells, are rounded in blocks of input channels."""
_COLUMNS = 128
"""Inputs whose errors are carried to all later ones together."""


@dataclass(frozen=True)
class Integers:
    """A weight as integers, per output channel times a step.

    Attributes:
        values: In the shape of the weight, int8.
        steps: (O,) float32.
    """

    values: Array
    steps: Array


def rounded_weights(
    model: onnx.ModelProto,
    chosen: Sequence[str],
    batches: Sequence[Mapping[str, Array]],
    *,
    signed: bool,
    advance: Advance | None = None,
) -> dict[str, Integers]:
    """Round the weights of convolutions with all inputs in one group and more than one of them in a pair.

    Args:
        model: A float32 graph.
        chosen: The names of the nodes that will be quantised.
        batches: Inputs of the graph by name.
        signed: Whether inputs go from -127 to 127.
        advance: Told of each convolution by a note.

    Returns:
        By the name of the weight; those of the other nodes, and those that several nodes read, are left out.
    """
    flow = dataflow(model)
    weights = {name: numpy_helper.to_array(constant) for name, constant in flow.constants.items()}
    names = set(chosen)
    layers = [
        node
        for node in model.graph.node
        if node.name in names and node.op_type == "Conv" and _can_be_rounded(weights[node.input[1]], node)
        if len(flow.readers[node.input[1]]) == 1
    ]
    found = {}
    for some in _portions(layers, weights):
        for node, products in _products_of_inputs(model, some, weights, batches):
            found[node.input[1]] = _round(weights[node.input[1]], products, 2 * LARGEST if signed else PAIR)
            if advance is not None:
                advance(0, f"weights {len(found)}/{len(layers)}")
    return found


def _can_be_rounded(weight: Array, node: onnx.NodeProto) -> bool:
    # A depthwise kernel adds neighbouring pixels, and a lone third channel may meet whatever a kernel puts beside it.
    return _attribute(node, "group", 1) == 1 and weight.ndim == 4 and weight.shape[1] % 2 == 0


def _portions(layers: Sequence[onnx.NodeProto], weights: Mapping[str, Array]) -> Iterator[list[onnx.NodeProto]]:
    """The layers in lots whose products of inputs fit into memory."""
    lot: list[onnx.NodeProto] = []
    size = 0
    for node in layers:
        needed = sum(4 * (block.stop - block.start) ** 2 for block in _blocks(weights[node.input[1]]))
        if lot and size + needed > _AT_ONCE:
            yield lot
            lot, size = [], 0
        lot.append(node)
        size += needed
    if lot:
        yield lot


def _products_of_inputs(
    model: onnx.ModelProto,
    layers: Sequence[onnx.NodeProto],
    weights: Mapping[str, Array],
    batches: Sequence[Mapping[str, Array]],
) -> Iterator[tuple[onnx.NodeProto, list[Tensor]]]:
    """Each layer and, for each block of K inputs, (K, K) the sums of their products over some places of its maps."""
    inner = InnerValues(model, sorted({node.input[0] for node in layers}))
    random = np.random.default_rng(0)
    sums = {node.name: [torch.zeros(())] * len(_blocks(weights[node.input[1]])) for node in layers}
    for batch in batches:
        maps = inner.of(batch)
        for node in layers:
            seen = _inputs_at(maps[node.input[0]], node, weights, POSITIONS // len(batches), random)
            blocks = (seen[:, block] for block in _blocks(weights[node.input[1]]))
            sums[node.name] = [before + some.T @ some for before, some in zip(sums[node.name], blocks, strict=True)]
    yield from ((node, sums.pop(node.name)) for node in layers)


def _inputs_at(
    maps: Array, node: onnx.NodeProto, weights: Mapping[str, Array], count: int, random: np.random.Generator
) -> Tensor:
    """(N, K) what the weights of an output meet at random places, in the order of the weights."""
    kernel = weights[node.input[1]].shape[2:]
    strides, dilations = _attribute(node, "strides", [1, 1]), _attribute(node, "dilations", [1, 1])
    top, left, bottom, right = _attribute(node, "pads", [0, 0, 0, 0])
    padded = functional.pad(torch.from_numpy(maps), (left, right, top, bottom))
    across = [
        (size - dilation * (taps - 1) - 1) // stride + 1
        for size, dilation, taps, stride in zip(padded.shape[2:], dilations, kernel, strides, strict=True)
    ]
    places = len(padded) * across[0] * across[1]
    picked = random.choice(places, min(count, places), replace=False)
    which, row, column = np.unravel_index(picked, (len(padded), *across))
    rows = row[:, None, None] * strides[0] + np.arange(kernel[0])[None, :, None] * dilations[0]
    columns = column[:, None, None] * strides[1] + np.arange(kernel[1])[None, None, :] * dilations[1]
    return padded.movedim(1, -1)[which[:, None, None], rows, columns].movedim(-1, 1).flatten(1)


def _blocks(weight: Array) -> list[slice]:
    """Where, in the order of the weights, the inputs lie that are rounded together; no pair is parted."""
    inputs, taps = weight.shape[1], weight[0, 0].size
    channels = max(2, TOGETHER // taps // 2 * 2)
    return [slice(first * taps, min(first + channels, inputs) * taps) for first in range(0, inputs, channels)]


def _round(weight: Array, products: Sequence[Tensor], pair: int) -> Integers:
    """Round (O, I, H, W) with the products (K, K) of each block of its inputs; no pair comes to more."""
    outputs, inputs, taps = len(weight), weight.shape[1], weight[0, 0].size
    rows = torch.from_numpy(weight.reshape(outputs, -1).astype(np.float32))
    steps = _steps(rows.reshape(outputs, inputs // 2, 2, taps), pair)
    found = [
        _round_block(rows[:, block], steps, taps, of_block, pair)
        for block, of_block in zip(_blocks(weight), products, strict=True)
    ]
    return Integers(torch.cat(found, dim=1).reshape(weight.shape).numpy().astype(np.int8), steps.numpy())


def _round_block(rows: Tensor, steps: Tensor, taps: int, products: Tensor, pair: int) -> Tensor:
    """(O, K) the integers of the weights (O, K), which are used up."""
    outputs, inputs = len(rows), rows.shape[1] // taps
    carry = _carry(products)
    partner = ((torch.arange(inputs) ^ 1)[:, None] * taps + torch.arange(taps)).flatten().tolist()
    found = torch.zeros_like(rows)
    for first in range(0, rows.shape[1], _COLUMNS):
        end = min(first + _COLUMNS, rows.shape[1])
        errors = torch.zeros(outputs, end - first)
        for column in range(first, end):
            integers = (rows[:, column] / steps).round().clamp(-LARGEST, LARGEST)
            if partner[column] < column:
                beside = found[:, partner[column]]
                integers = torch.minimum(integers, pair - beside.clamp(min=0))
                integers = torch.maximum(integers, -pair - beside.clamp(max=0))
            found[:, column] = integers
            error = (rows[:, column] - integers * steps) / carry[column, column]
            rows[:, column:end] -= torch.outer(error, carry[column, column:end])
            errors[:, column - first] = error
        rows[:, end:] -= errors @ carry[first:end, end:]
    return found


def _steps(pairs: Tensor, most: int) -> Tensor:
    """(O,) the step of each output's weights (O, I / 2, 2, T), with which no pair comes to more."""
    alone = pairs.abs().amax((1, 2, 3)) / LARGEST
    together = torch.maximum(pairs.clamp(min=0).sum(2), pairs.clamp(max=0).sum(2).abs()).amax((1, 2))
    # Each of the two may be rounded up by a half.
    return torch.maximum(alone, together / (most - 1)).clamp(min=1e-30)


def _carry(products: Tensor) -> Tensor:
    """(K, K) upper triangular: how an error at an input, over the diagonal, is made up for at later ones.

    It is the Cholesky factor of the inverse, by way of the factor of the matrix turned around.
    """
    diagonal = products.diagonal().mean().clamp(min=1e-12)
    damped = products + DAMPING * diagonal * torch.eye(len(products))
    upper = torch.linalg.cholesky(damped.flip(0, 1)).flip(0, 1)
    return torch.linalg.solve_triangular(upper, torch.eye(len(products)), upper=True)


def _attribute(node: onnx.NodeProto, name: str, otherwise: Any) -> Any:
    found = next((each for each in node.attribute if each.name == name), None)
    return otherwise if found is None else helper.get_attribute_value(found)
