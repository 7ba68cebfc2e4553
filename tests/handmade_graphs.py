"""The two graphs of a top-down pair in a few nodes each: nothing is learnt, and every pixel of a crop counts."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from rigpose.arrays import Floats
from rigpose.bundles.contract import contract
from rigpose.models.model_spec import DetectorSpec, ModelSpec


def write_pair(folder: Path, boxes: Floats, scores: Floats, specs: tuple[DetectorSpec, ModelSpec]) -> None:
    """A detector that always finds these boxes, and a pose graph that says how blue, green and red each column is.

    What it says depends on every pixel of a crop, so that a crop that lies elsewhere gives other numbers. The model
    must have as many keypoints as its crops have columns.
    """
    told, spec = specs
    assert spec.crop is not None and len(spec.keypoints) == spec.crop.width
    frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", "height", "width", 3])
    outputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["batch", len(boxes), 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(boxes)]),
    ]
    constants = [
        helper.make_tensor("one_boxes", TensorProto.FLOAT, [1, *boxes.shape], boxes.ravel().tolist()),
        helper.make_tensor("one_scores", TensorProto.FLOAT, [1, *scores.shape], scores.ravel().tolist()),
        helper.make_tensor("start", TensorProto.INT64, [1], [0]),
        helper.make_tensor("end", TensorProto.INT64, [1], [1]),
        helper.make_tensor("ones", TensorProto.INT64, [2], [1, 1]),
    ]
    nodes = [
        helper.make_node("Shape", ["frames"], ["shape"]),
        helper.make_node("Slice", ["shape", "start", "end"], ["batch"]),
        helper.make_node("Concat", ["batch", "ones"], ["times_boxes"], axis=0),
        helper.make_node("Concat", ["batch", "end"], ["times_scores"], axis=0),
        *(helper.make_node("Tile", [f"one_{name}", f"times_{name}"], [name]) for name in ("boxes", "scores")),
    ]
    detector = helper.make_model(helper.make_graph(nodes, "detector", [frames], outputs, constants))
    crops = helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", spec.crop.height, spec.crop.width, 3])
    keypoints = helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["batch", spec.crop.width, 3])
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "down"], ["keypoints"], keepdims=0),
    ]
    axes = [helper.make_tensor("down", TensorProto.INT64, [1], [1])]
    pose = helper.make_model(helper.make_graph(nodes, "pose", [crops], [keypoints], axes))
    for name, model, of_model in (("detector", detector, told), ("pose", pose, spec)):
        model.ir_version, model.opset_import[0].version = 9, 20
        helper.set_model_props(model, contract(of_model))
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, folder / f"{name}.onnx")
