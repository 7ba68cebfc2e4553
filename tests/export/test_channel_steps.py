"""Channels that are read by integers come closer to each other, and the network still computes the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from traced_graphs import PRODUCTS, graph, inputs_of, is_network, run, scope

from rigpose.arrays import Array
from rigpose_export.graphs.channel_steps import divide_channels, fold_into_rounding
from rigpose_export.graphs.regions import dataflow, fold_batch_normalisation, last_products, network_nodes

GRAPHS = ["top_down_resnet_50", "dekr_w18", "rtmpose_s", pytest.param("ssdlite", marks=pytest.mark.slow)]


def prepared(name: str) -> tuple[onnx.ModelProto, list[str]]:
    """A graph as quantisation has it, and the names of its convolutions."""
    model = graph(name)
    fold_batch_normalisation(model)
    return model, [node.name for node in model.graph.node if node.op_type in PRODUCTS and is_network(node)]


def values_of(model: onnx.ModelProto, names: list[str], feeds: Mapping[str, Array]) -> dict[str, Array]:
    watched = onnx.load_from_string(model.SerializeToString())
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return run(watched, feeds)


def spread_of_channels(maps: Array) -> float:
    """How many times the median channel's extreme the widest one's is."""
    extremes = np.abs(maps).max(axis=(0, 2, 3))
    return float(extremes.max() / np.median(extremes))


@pytest.mark.parametrize("name", GRAPHS)
def test_what_decoders_read_stays_the_same(name: str) -> None:
    model, convolutions = prepared(name)
    flow = dataflow(model)
    given = sorted(
        value
        for node in model.graph.node
        if node.name in last_products(model, flow, network_nodes(model, flow))
        for value in node.output
    )
    feeds = inputs_of(model, batch=2, first=50)
    expected = values_of(model, given, feeds)
    outside = constants_outside(model)
    assert len(divide_channels(model, convolutions, [inputs_of(model, batch=1)])) > 2
    onnx.checker.check_model(model, full_check=True)
    for value, found in values_of(model, given, feeds).items():
        assert np.abs(found - expected[value]).max() <= 2e-4 * np.abs(expected[value]).max()
    assert constants_outside(model) == outside


def constants_outside(model: onnx.ModelProto) -> dict[str, Any]:
    """What nodes outside of the network read, such as the mean and deviation of pixels."""
    constants = {constant.name: numpy_helper.to_array(constant).tobytes() for constant in model.graph.initializer}
    return {
        node.name: [constants.get(value) for value in node.input]
        for node in model.graph.node
        if scope(node) is not None and not is_network(node)
    }


def test_a_wide_channel_of_a_shortcut_is_narrowed_for_the_convolutions_alone() -> None:
    """One channel of a stage, which a shortcut carries on, is made a hundred times as wide."""
    model, convolutions = prepared("top_down_resnet_50")
    flow = dataflow(model)
    added = [
        n for n in model.graph.node if n.op_type == "Add" and is_network(n) and not set(n.input) & set(flow.constants)
    ]
    behind = next(node.output[0] for node in flow.following(added[0]) if node.op_type == "Relu")
    for maker in makers_of(added[0], flow):
        widen(model, maker, channel=3, factor=100.0)
    feeds = inputs_of(model, batch=2)
    before = values_of(model, [behind], feeds)[behind]
    divided = divide_channels(model, convolutions, [feeds])[behind]
    readers = [node.op_type for node in model.graph.node if behind in node.input]
    assert readers.count("Mul") == 1 and len(readers) > 1 and "Conv" not in readers
    after = values_of(model, [behind, divided], feeds)
    np.testing.assert_allclose(after[behind], before, rtol=1e-3, atol=1e-4 * np.abs(before).max())
    assert spread_of_channels(before) > 20
    assert spread_of_channels(after[divided]) < spread_of_channels(before) / 3


def test_rounding_by_steps_of_channels_is_the_division_and_one_step() -> None:
    maps = (np.random.default_rng(0).normal(size=(1, 3, 5, 5)) * np.array([1, 20, 300]).reshape(1, 3, 1, 1)).astype(
        "f4"
    )
    constants = {"divided_by_maps": 1 / np.array([0.1, 2, 30], np.float32).reshape(1, 3, 1, 1)}
    constants |= {"step": np.array(0.1, np.float32), "zero": np.array(128, np.uint8)}
    pair = ("divided_maps", "step", "zero"), ("rounded", "step", "zero")
    nodes = [
        helper.make_node("Mul", ["maps", "divided_by_maps"], ["divided_maps"], name="divided_node_maps"),
        helper.make_node("QuantizeLinear", pair[0], ["rounded"], name="divided_maps_QuantizeLinear"),
        helper.make_node("DequantizeLinear", pair[1], ["out"], name="divided_maps_DequantizeLinear"),
    ]
    form = [helper.make_tensor_value_info(name, TensorProto.FLOAT, maps.shape) for name in ("maps", "out")]
    model = helper.make_model(
        helper.make_graph(
            nodes, "pair", form[:1], form[1:], [numpy_helper.from_array(v, k) for k, v in constants.items()]
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    expected = run(model, {"maps": maps})["out"]
    fold_into_rounding(model)
    assert [node.op_type for node in model.graph.node] == ["QuantizeLinear", "DequantizeLinear"]
    onnx.checker.check_model(model, full_check=True)
    found = run(model, {"maps": maps})["out"]
    # A division of another order may round the other way.
    assert np.abs(found - expected).max() < 0.11 and np.mean(found == expected) > 0.9
    assert len(np.unique(expected)) > 20


def makers_of(added: onnx.NodeProto, flow: Any) -> list[onnx.NodeProto]:
    """The convolutions, or the scales behind normalisations, that give both terms."""
    found = []
    for value in added.input:
        node = flow.producer[value]
        while node.op_type not in ("Conv", "Mul"):
            node = flow.producer[next(v for v in node.input if v not in flow.constants)]
        found.append(node)
    return found


def widen(model: onnx.ModelProto, maker: onnx.NodeProto, *, channel: int, factor: float) -> None:
    names = {constant.name: constant for constant in model.graph.initializer}
    held = next(names[value] for value in maker.input if value in names)
    array = numpy_helper.to_array(held).copy()
    array[channel] *= factor
    held.CopyFrom(numpy_helper.from_array(array, held.name))


def test_maps_that_leave_the_network_keep_their_channels() -> None:
    """A scaled output would be another answer."""
    model, convolutions = prepared("top_down_resnet_50")
    first = next(node for node in model.graph.node if node.op_type == "Relu" and is_network(node))
    model.graph.output.append(helper.make_tensor_value_info(first.output[0], TensorProto.FLOAT, None))
    feeds = inputs_of(model, batch=1)
    expected = values_of(model, [first.output[0]], feeds)[first.output[0]]
    divide_channels(model, convolutions, [feeds])
    assert np.array_equal(values_of(model, [first.output[0]], feeds)[first.output[0]], expected)
