"""A bundle that finds three animals in any frame, at places that follow from how bright the frame is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
from hand_made_bundle import OPSET, sealed_bundle, write_graph
from onnx import TensorProto, helper, numpy_helper

from rigpose.bundles.bundle import Bundle, TensorSpec
from rigpose.models.model_spec import DekrGrouping, ModelSpec

SPEC = ModelSpec(
    task="dekr",
    architecture="herd",
    keypoints=("nose", "tail"),
    individuals=("ann", "bob", "cat"),
    grouping=DekrGrouping(max_animals=3, apply_pose_nms=False),
)
HEIGHT, WIDTH = 96, 160
_ANIMALS, _KEYPOINTS = 3, 2


def write_herd_bundle(folder: Path) -> Bundle:
    """The bundle; its folder is made here."""
    folder.mkdir(parents=True)
    outputs = (
        TensorSpec("poses", "float32", ("batch", _ANIMALS, _KEYPOINTS, 3)),
        TensorSpec("center", "float32", ("batch", _ANIMALS)),
    )
    return sealed_bundle(folder, SPEC, [write_graph(folder, _graph(), outputs)])


def write_herd_video(path: Path, frames: int, *, seed: int = 0) -> Path:
    """Frames whose three colours wander, and the animals with them; key frames are rare."""
    random = np.random.default_rng(seed)
    colours = 128 + 60 * np.sin(np.cumsum(random.uniform(0.01, 0.08, (frames, 3)), axis=0))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for colour in colours:
        writer.write(np.full((HEIGHT, WIDTH, 3), colour, np.uint8))
    writer.release()
    return path


def _graph() -> onnx.ModelProto:
    """Means of the three colours of a frame, mixed: each animal goes its own way, and scores stay near 0.9."""
    random = np.random.default_rng(3)
    mix = np.zeros((3, _ANIMALS, _KEYPOINTS, 3), np.float32)
    mix[..., :2] = random.normal(scale=25, size=(3, _ANIMALS, 1, 2))
    mix[..., 2] = 0.02
    places = np.zeros((_ANIMALS, _KEYPOINTS, 3), np.float32)
    for animal in range(_ANIMALS):
        places[animal] = [[30 + 45 * animal, 40, 0.9], [30 + 45 * animal, 52, 0.9]]
    constants = {
        "scale": np.array([1 / 255], np.float32),
        "sides": np.array([1, 2]),
        "mix": mix.reshape(3, -1),
        "places": places.reshape(1, -1),
        "form": np.array([-1, _ANIMALS, _KEYPOINTS, 3]),
        "none": np.zeros((3, _ANIMALS), np.float32),
        "sure": np.array([[0.9, 0.8, 0.7]], np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["frames"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "sides"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["colours"]),
        helper.make_node("MatMul", ["colours", "mix"], ["moves"]),
        helper.make_node("Add", ["moves", "places"], ["flat"]),
        helper.make_node("Reshape", ["flat", "form"], ["poses"]),
        helper.make_node("MatMul", ["colours", "none"], ["nothing"]),
        helper.make_node("Add", ["nothing", "sure"], ["center"]),
    ]
    graph = helper.make_graph(
        nodes,
        "herd",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [
            helper.make_tensor_value_info("poses", TensorProto.FLOAT, ["batch", _ANIMALS, _KEYPOINTS, 3]),
            helper.make_tensor_value_info("center", TensorProto.FLOAT, ["batch", _ANIMALS]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
