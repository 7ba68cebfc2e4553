"""sleap-nn's exported graph as a bundle, so that both programs run the same network with the same weights.

In front of it frames get the order of axes and colours that it takes, and behind it its points and their scores become
one output; nothing else is changed.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rigpose.bundles.bundle import (
    FORMAT,
    TRAINING_CONFIG,
    Bundle,
    Display,
    GraphSpec,
    Manifest,
    Provenance,
    TensorSpec,
    record_files,
    seal,
)
from rigpose.models.model_spec import ModelSpec
from rigpose.models.preprocess import InputSpec

NAME = "sleap-nn"


def bundle_of(exported: Path, folder: Path, names: Sequence[str], *, multiple_of: int) -> Bundle:
    """Write the bundle.

    Args:
        exported: What ``sleap-nn export`` wrote of a model of one animal.
        folder: To be written; what is there is replaced.
        names: Of its keypoints, in its order.
        multiple_of: What both sides of a frame must be a multiple of [px]; the network's deepest stride.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = with_our_ends(onnx.load(str(exported / "model.onnx")), len(names), multiple_of)
    onnx.save(model, str(folder / "pose.onnx"))
    (folder / TRAINING_CONFIG).write_text(f"net_type: {NAME}\n", encoding="utf-8")
    graph = GraphSpec(
        role="pose",
        file="pose.onnx",
        backends=("onnxruntime", "openvino"),
        precision="fp32",
        opset=model.opset_import[0].version,
        nodes=len(model.graph.node),
        minimum_onnxruntime="1.17",
        inputs=(TensorSpec("frames", "uint8", ("batch", *_sides(multiple_of), 3)),),
        outputs=(TensorSpec("keypoints", "float32", ("batch", len(names), 3)),),
    )
    manifest = Manifest(
        rigpose_bundle=FORMAT,
        created="",
        scorer=NAME,
        model=ModelSpec("single_animal", NAME, tuple(names), input=InputSpec(multiple_of=multiple_of)),
        detector=None,
        graphs=(graph,),
        display=Display(),
        provenance=Provenance("", "", NAME, "", "", None, NAME, None, None),
        files=record_files(folder),
    )
    seal(folder, manifest)
    return Bundle.open(folder)


def with_our_ends(theirs: onnx.ModelProto, keypoints: int, multiple_of: int) -> onnx.ModelProto:
    """Frames (B, H, W, 3) uint8 BGR -> keypoints (B, K, 3) x, y, score [input px, the first pixel's centre is 0].

    Theirs takes (B, 3, H, W) uint8 RGB and gives ``peaks`` (B, K, 2) and ``peak_vals`` (B, K); the points are NaN where
    it is not sure.
    """
    (image,) = theirs.graph.input
    nodes = [
        helper.make_node("Transpose", ["frames"], ["our_planes"], "our_planes", perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["our_planes", "our_colours"], [image.name], "our_colours", axis=1),
        *theirs.graph.node,
        helper.make_node("Unsqueeze", ["peak_vals", "our_axis"], ["our_scores"], "our_scores"),
        helper.make_node("Concat", ["peaks", "our_scores"], ["keypoints"], "our_keypoints", axis=2),
    ]
    numbers = {"our_colours": np.array([2, 1, 0]), "our_axis": np.array([2])}
    shape: list[int | str] = ["batch", *_sides(multiple_of), 3]
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["batch", keypoints, 3])],
        [*theirs.graph.initializer, *(numpy_helper.from_array(value, name) for name, value in numbers.items())],
    )
    model = helper.make_model(graph, opset_imports=theirs.opset_import, ir_version=theirs.ir_version)
    onnx.checker.check_model(model, full_check=True)
    return model


def _sides(multiple_of: int) -> tuple[str, str]:
    return f"{multiple_of}*height", f"{multiple_of}*width"
