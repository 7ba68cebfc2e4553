"""A bundle around hand-written graphs, so that tests of what runs them need neither torch nor a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from hand_made_bundle import OPSET, sealed_bundle, write_graph
from onnx import TensorProto, helper, numpy_helper

from rigpose.bundles.bundle import Bundle, GraphSpec, Precision, Role, TensorSpec
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.models.preprocess import InputSpec

KEYPOINTS = ("nose", "left", "right", "tail")


def write_bundle(
    folder: Path, *, crop: int | None = None, multiple_of: int = 1, longest_side: int | None = None
) -> Bundle:
    """A bundle with the graph in fp32 and fp16.

    Args:
        folder: Made here.
        crop: Side of the crops that it takes [px]; none for frames of any size.
        multiple_of: What sides of frames must be a multiple of.
        longest_side: Of what a detector sees, which the bundle has if this is given, and a combined graph with it [px].
    """
    folder.mkdir(parents=True)
    graphs = [_write_graph(folder, "pose", p, crop, multiple_of) for p in ("fp32", "fp16")]
    if longest_side is not None:
        graphs += [_write_graph(folder, role, "fp32", None, multiple_of) for role in ("detector", "pair")]
    seen = InputSpec(multiple_of=multiple_of, longest_side=longest_side)
    spec = ModelSpec(
        "top_down" if crop else "single_animal",
        "drawn",
        KEYPOINTS,
        input=InputSpec() if crop else seen,
        crop=CropSpec(crop, crop) if crop else None,
    )
    detector = DetectorSpec(max_animals=2, input=seen) if longest_side else None
    return sealed_bundle(folder, spec, graphs, detector=detector)


def _write_graph(folder: Path, role: Role, precision: Precision, crop: int | None, multiple_of: int) -> GraphSpec:
    """Frames (B, H, W, 3) -> keypoints (B, K, 3): means of a convolution, mixed; the convolution in the precision."""
    sides = [crop, crop] if crop else [f"{multiple_of}*{a}" if multiple_of > 1 else a for a in ("height", "width")]
    return write_graph(
        folder,
        drawn_graph(["batch", *sides, 3], precision),
        (TensorSpec("keypoints", "float32", ("batch", len(KEYPOINTS), 3)),),
        role=role,
        precision=precision,
        sides=sides,
        backends=("onnxruntime", "openvino", "tensorrt"),
    )


def drawn_graph(shape: list[int | str], precision: Precision = "fp32") -> onnx.ModelProto:
    """The graph for frames of this shape."""
    random = np.random.default_rng(7)
    half = np.float16 if precision == "fp16" else np.float32
    weights: Mapping[str, np.ndarray] = {
        "scale": np.array([1 / 255], np.float32),
        "kernel": random.normal(size=(8, 3, 3, 3)).astype(half),
        "mix": (10 * random.normal(size=(8, 3 * len(KEYPOINTS)))).astype(np.float32),
        "axes": np.array([2, 3]),
        "form": np.array([-1, len(KEYPOINTS), 3]),
    }
    graph = helper.make_graph(
        _nodes(precision),
        "drawn",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["batch", len(KEYPOINTS), 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _nodes(precision: Precision) -> list[onnx.NodeProto]:
    typed = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT
    return [
        helper.make_node("Cast", ["frames"], ["numbers"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["scaled"], "scale"),
        helper.make_node("Transpose", ["scaled"], ["planes"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["typed"], "to_precision", to=typed),
        helper.make_node("Conv", ["typed", "kernel"], ["maps"], "convolve", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["positive"], "relu"),
        helper.make_node("Cast", ["positive"], ["whole"], "from_precision", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["whole", "axes"], ["means"], "mean", keepdims=0),
        helper.make_node("MatMul", ["means", "mix"], ["flat"], "mix"),
        helper.make_node("Reshape", ["flat", "form"], ["keypoints"], "form"),
    ]
