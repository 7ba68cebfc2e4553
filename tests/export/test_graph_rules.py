"""Each rule refuses a small graph that breaks it, by node and reason, and lets the nearest allowed graph through."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rigpose.errors import BundleError
from rigpose_export.graphs.rules import backends_of, check_structure

FLOAT, HALF, UINT8, INT64, BOOL = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.UINT8,
    TensorProto.INT64,
    TensorProto.BOOL,
)
IMAGE = ("x", FLOAT, ["batch", 2, 8, 8])


def graph_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, int, list[int | str]]] = (IMAGE,),
    *,
    output: int = FLOAT,
    opset: int = 20,
    **constants: np.ndarray,
) -> onnx.ModelProto:
    """A model whose output is the last node's first."""
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(nodes[-1].output[0], output, None)],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10,
    )
    with suppress(onnx.shape_inference.InferenceError):  # of graphs that are wrong, as they should be
        model = onnx.shape_inference.infer_shapes(model)  # which gives the output its shape
    return model


def node(kind: str, *inputs: str, outputs: Sequence[str] = ("y",), **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), list(outputs), name=f"the {kind}", **attributes)


def branch(name: str) -> onnx.GraphProto:
    value = helper.make_tensor_value_info(name, FLOAT, None)
    return helper.make_graph([helper.make_node("Identity", ["x"], [name])], name, [], [value])


def loop_body() -> onnx.GraphProto:
    names = [("i", INT64), ("go", BOOL), ("v", FLOAT)]
    inputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in names]
    nodes = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["w"])]
    outputs = [helper.make_tensor_value_info(*value, None) for value in (("on", BOOL), ("w", FLOAT))]
    return helper.make_graph(nodes, "body", inputs, outputs)


def scan_body() -> onnx.GraphProto:
    value, out = (helper.make_tensor_value_info(name, FLOAT, None) for name in ("v", "w"))
    return helper.make_graph([helper.make_node("Identity", ["v"], ["w"])], "body", [value], [out])


FLAT = ("x", FLOAT, ["batch", 5000])
K = np.array([4000])
WEIGHT = np.ones((2, 2, 3, 3), np.float32)
REFUSED: dict[str, tuple[onnx.ModelProto, str, str]] = {
    "nonzero": (graph_of([node("NonZero", "x")], output=INT64), "the NonZero", "control flow"),
    "unique": (graph_of([node("Unique", "x")]), "the Unique", "depends on data"),
    "compress": (
        graph_of([node("Compress", "x", "c")], c=np.array([True, False])),
        "the Compress",
        "depends on data",
    ),
    "suppression": (
        graph_of(
            [node("NonMaxSuppression", "x", "s")],
            [("x", FLOAT, [1, 9, 4]), ("s", FLOAT, [1, 1, 9])],
            output=INT64,
        ),
        "the NonMaxSuppression",
        "depends on data",
    ),
    "if": (
        graph_of([node("If", "c", then_branch=branch("a"), else_branch=branch("b"))], [IMAGE, ("c", BOOL, [])]),
        "the If",
        "control flow",
    ),
    "loop": (graph_of([node("Loop", "n", "", "x", body=loop_body())], n=np.array(3)), "the Loop", "control flow"),
    "scan": (graph_of([node("Scan", "x", body=scan_body(), num_scan_inputs=1)]), "the Scan", "control flow"),
    "sequence": (
        graph_of(
            [
                node("SequenceConstruct", "x", "x", outputs=["s"]),
                node("ConcatFromSequence", "s", axis=0),
            ]
        ),
        "the SequenceConstruct",
        "control flow",
    ),
    "largest K": (graph_of([node("TopK", "x", "k", outputs=["y", "i"])], [FLAT], k=K), "the TopK", "4000 values"),
    "free K": (
        graph_of([node("TopK", "x", "k", outputs=["y", "i"])], [FLAT, ("k", INT64, [1])]),
        "the TopK",
        "no constant",
    ),
    "unsorted": (
        graph_of([node("TopK", "x", "k", outputs=["y", "i"], sorted=0)], [FLAT], k=K // 2),
        "the TopK",
        "unsorted",
    ),
    "antialias": (
        graph_of([node("Resize", "x", "", "s", mode="linear", antialias=1)], s=np.array([1, 1, 0.5, 0.5], np.float32)),
        "the Resize",
        "smooths",
    ),
    "indices": (
        graph_of([node("MaxPool", "x", outputs=["y", "i"], kernel_shape=[2, 2])]),
        "the MaxPool",
        "gives indices",
    ),
    "dilated pool": (
        graph_of([node("MaxPool", "x", kernel_shape=[2, 2], dilations=[1, 2])]),
        "the MaxPool",
        "dilated",
    ),
    "scatter": (
        graph_of(
            [node("ScatterND", "x", "i", "u", reduction="add")],
            [("x", FLOAT, [8])],
            i=np.zeros((2, 1), np.int64),
            u=np.ones(2, np.float32),
        ),
        "the ScatterND",
        "adds up",
    ),
    "scatter elements": (
        graph_of(
            [node("ScatterElements", "x", "i", "u", reduction="max")],
            [("x", FLOAT, [8])],
            i=np.zeros(2, np.int64),
            u=np.ones(2, np.float32),
        ),
        "the ScatterElements",
        "adds up",
    ),
    "bytes": (
        graph_of(
            [node("Transpose", "x", outputs=["t"], perm=[0, 3, 1, 2]), node("Cast", "t", to=FLOAT)],
            [("x", UINT8, ["batch", 8, 8, 3])],
        ),
        "the Transpose",
        "uint8",
    ),
    "dilated stride": (
        graph_of([node("ConvTranspose", "x", "w", strides=[2, 2], dilations=[2, 2])], w=WEIGHT),
        "the ConvTranspose",
        "dilated",
    ),
    "too early": (
        graph_of([node("DeformConv", "x", "w", "o")], [IMAGE, ("o", FLOAT, ["batch", 18, 6, 6])], w=WEIGHT, opset=18),
        "the DeformConv",
        "since opset 19",
    ),
    "not ONNX's": (
        graph_of([helper.make_node("FusedConv", ["x"], ["y"], name="the FusedConv", domain="com.microsoft")]),
        "the FusedConv",
        "com.microsoft",
    ),
    "unknown": (graph_of([node("Convolve", "x")]), "the Convolve", "no operator"),
    "mixed types": (
        graph_of([node("Conv", "x", "w")], w=WEIGHT.astype(np.float16)),
        "the Conv",
        "no valid graph",
    ),
    "later type": (
        graph_of([node("Relu", "x", outputs=["r"]), node("Add", "r", "h")], h=np.ones(8, np.float16)),
        "the Add",
        "no valid graph",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_graph_that_breaks_a_rule_is_refused_with_node_and_reason(name: str) -> None:
    model, where, reason = REFUSED[name]
    with pytest.raises(BundleError) as caught:
        check_structure(model, "pose.onnx")
    message = str(caught.value)
    assert message.startswith("pose.onnx: ") and where in message and reason in message
    assert message.count("\n") == 0 and message.endswith("report this model.")


ALLOWED: dict[str, onnx.ModelProto] = {
    "K": graph_of([node("TopK", "x", "k", outputs=["y", "i"])], [FLAT], k=np.array([3840])),
    "resize": graph_of([node("Resize", "x", "", "s", mode="linear")], s=np.array([1, 1, 2, 2], np.float32)),
    "pool": graph_of([node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])]),
    "scatter": graph_of(
        [node("ScatterND", "x", "i", "u")],
        [("x", FLOAT, [8])],
        i=np.zeros((2, 1), np.int64),
        u=np.ones(2, np.float32),
    ),
    "bytes": graph_of(
        [helper.make_node("Shape", ["x"], ["s"]), node("Cast", "x", to=FLOAT)], [("x", UINT8, ["batch", 8])]
    ),
    "stride": graph_of([node("ConvTranspose", "x", "w", strides=[2, 2])], w=WEIGHT),
    "dilation": graph_of([node("ConvTranspose", "x", "w", dilations=[2, 2])], w=WEIGHT),
    "cast between types": graph_of(
        [node("Cast", "x", outputs=["h"], to=HALF), node("Conv", "h", "w")], output=HALF, w=WEIGHT.astype(np.float16)
    ),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_its_allowed_neighbour_passes_and_is_counted(name: str) -> None:
    model = ALLOWED[name]
    found = check_structure(model, "pose.onnx")
    assert sum(found.values()) == len(model.graph.node)
    assert set(found) == {n.op_type for n in model.graph.node} and list(found) == sorted(found)


def test_operators_that_are_plugins_in_tensorrt_are_not_for_it() -> None:
    moved = graph_of([node("DeformConv", "x", "w", "o")], [IMAGE, ("o", FLOAT, ["batch", 18, 6, 6])], w=WEIGHT)
    check_structure(moved, "pose.onnx")
    assert backends_of(moved) == ("onnxruntime", "openvino")
    assert backends_of(ALLOWED["pool"]) == ("onnxruntime", "openvino", "tensorrt")
