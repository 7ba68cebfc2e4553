"""A float16 graph on a CPU without float16, against numpy's float16 operator by operator."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from traced_graphs import run

from rigpose.arrays import Floats
from rigpose_export.graphs.half_rounding import with_half_rounding

RNG = np.random.default_rng(0)
WEIGHT, SHIFT = RNG.normal(size=(8, 8)).astype(np.float16), RNG.normal(size=8).astype(np.float16)


def half_graph(*nodes: tuple[str, list[str]]) -> onnx.ModelProto:
    """x in float32, nodes in float16, each with an operator and its inputs; the last one's output is y in float32."""
    made = [helper.make_node("Cast", ["x"], ["v0"], to=TensorProto.FLOAT16)]
    made += [helper.make_node(kind, names, [f"v{i}"]) for i, (kind, names) in enumerate(nodes, 1)]
    made.append(helper.make_node("Cast", [f"v{len(nodes)}"], ["y"], to=TensorProto.FLOAT))
    constants = [numpy_helper.from_array(WEIGHT, "weight"), numpy_helper.from_array(SHIFT, "shift")]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in "xy"]
    graph = helper.make_graph(made, "half", tensors[:1], tensors[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def answer(model: onnx.ModelProto, x: Floats) -> Floats:
    return run(with_half_rounding(model), {"x": x})["y"]


def test_every_operator_gives_what_numpy_gives_in_float16() -> None:
    model = half_graph(
        ("MatMul", ["v0", "weight"]),
        ("Add", ["v1", "shift"]),
        ("Relu", ["v2"]),
        ("Mul", ["v3", "v1"]),
        ("Sub", ["v4", "v0"]),
        ("Div", ["v5", "shift"]),
    )
    x = RNG.normal(size=(64, 8)).astype(np.float32)
    v0 = x.astype(np.float16)
    # Float32 sums of products, as a GPU has them, and one rounding behind.
    v1 = (v0.astype(np.float32) @ WEIGHT.astype(np.float32)).astype(np.float16)
    right = (np.maximum(v1 + SHIFT, np.float16(0)) * v1 - v0) / SHIFT
    assert right.dtype == np.float16
    found = answer(model, x)
    np.testing.assert_array_equal(found, right.astype(np.float32))
    exact = x @ WEIGHT.astype(np.float32)
    exact = (np.maximum(exact + SHIFT, 0) * exact - x) / SHIFT
    assert (found != exact).mean() > 0.9, "rounding shows"


@pytest.mark.filterwarnings("ignore:overflow")
def test_what_is_too_large_for_float16_is_infinite_and_what_is_too_small_is_coarse() -> None:
    model = half_graph(("Mul", ["v0", "v0"]))
    x = np.array([[300, 255, 1, 2.0**-12, 3 * 2.0**-13, 0, -300, 0.1]], np.float32)
    right = x.astype(np.float16) * x.astype(np.float16)
    assert np.isinf(right).sum() == 2 and right[0, 3] == 2.0**-24
    np.testing.assert_array_equal(answer(model, x), right.astype(np.float32))


def test_the_graph_that_was_given_is_not_changed() -> None:
    model = half_graph(("Relu", ["v0"]))
    kept = model.SerializeToString()
    with_half_rounding(model)
    assert model.SerializeToString() == kept
