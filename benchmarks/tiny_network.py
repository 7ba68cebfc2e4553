"""A network that costs next to nothing, so that what is measured is the rest."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rigpose.analyzers.analyzer import Analyzer
from rigpose.models.model_spec import ModelSpec
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose.videos.metadata import ResultIdentity

IDENTITY = ResultIdentity("tiny", "0")
KEYPOINTS = 4


def tiny_analyzer() -> Analyzer:
    """One animal of four keypoints, whose places mean nothing: the brightest of every 32nd pixel, in each colour."""
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "tiny.onnx"
        onnx.save(_graph(), str(graph))
        session = OnnxRuntimeSession(graph, device="cpu", threads=1)
    return Analyzer(ModelSpec("single_animal", "tiny", tuple(f"k{i}" for i in range(KEYPOINTS))), session)


def _graph() -> onnx.ModelProto:
    numbers = {"start": [0, 0], "end": [2**31, 2**31], "axes": [1, 2], "step": [32, 32], "one": [1]}
    nodes = [
        helper.make_node("Slice", ["frames", "start", "end", "axes", "step"], ["few"]),
        helper.make_node("Cast", ["few"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["values", "axes"], ["brightest"], keepdims=0),
        helper.make_node("Unsqueeze", ["brightest", "one"], ["point"]),
        helper.make_node("Concat", ["point"] * KEYPOINTS, ["keypoints"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["batch", KEYPOINTS, 3])],
        [numpy_helper.from_array(np.array(value), name) for name, value in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
