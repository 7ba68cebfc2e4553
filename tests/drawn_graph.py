"""A small graph with everything that matters for placement: layers, decode, and arithmetic with sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save


def write_graph(
    path: Path, *, sides: tuple[int, int] | None = None, batch: int | str = "batch", opset: int = 17
) -> Path:
    """Make a graph from frames to their mean colours and the brightest row of a map, weighted by a grid of its size.

    Args:
        path: Of the file.
        sides: Height and width; none for free ones.
        batch: Frames at once; a name for any number.
        opset: ONNX operator set.

    Returns:
        ``path``. Outputs are ``colours`` (B, 3) and ``peaks`` (B, 1, 2).
    """
    kernel = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32) / 100
    constants = {
        "kernel": kernel,
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "eight": np.array(8, np.int64),
        "rows": np.array(1, np.int64),
        "flat": np.array([0, 1, -1], np.int64),
        "single": np.array([1], np.int64),
        "half": np.array(0.5, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["frames"], ["floats"], "to_float", to=TensorProto.FLOAT),
        node("Transpose", ["floats"], ["planes"], "to_planes", perm=[0, 3, 1, 2]),
        node("ReduceMean", ["planes"], ["colours"], "colours", axes=[2, 3], keepdims=0),
        node("Conv", ["planes", "kernel"], ["map"], "layer", strides=[8, 8]),
        node("Shape", ["frames"], ["sizes"], "sizes"),
        node("Gather", ["sizes", "rows"], ["height"], "height"),
        node("Div", ["height", "eight"], ["cells"], "cells"),
        node("Range", ["zero", "cells", "one"], ["index"], "index"),
        node("Cast", ["index"], ["index_float"], "index_float", to=TensorProto.FLOAT),
        node("Add", ["index_float", "half"], ["centres"], "centres"),
        node("ReduceMax", ["map"], ["per_row"], "per_row", axes=[3], keepdims=0),
        node("Mul", ["per_row", "centres"], ["weighted"], "weighted"),
        node("Reshape", ["weighted", "flat"], ["listed"], "listed"),
        node("TopK", ["listed", "single"], ["score", "where"], "best", axis=2),
        node("Cast", ["where"], ["where_float"], "where_float", to=TensorProto.FLOAT),
        node("Concat", ["score", "where_float"], ["peaks"], "peaks", axis=2),
    ]
    height, width = sides or ("height", "width")
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [batch, height, width, 3])],
        [
            helper.make_tensor_value_info("colours", TensorProto.FLOAT, [batch, 3]),
            helper.make_tensor_value_info("peaks", TensorProto.FLOAT, [batch, 1, 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path
