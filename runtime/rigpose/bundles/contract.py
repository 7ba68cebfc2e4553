"""What an ONNX file says about itself, for programs that have nothing but the file.

The texts go into the file's ``metadata_props``, which every ONNX reader gives back by name. All of them follow from the
specs of the models, so nothing here is a second source. ``export/WITHOUT_RIGPOSE.md`` explains the keys.
"""

from __future__ import annotations

import json
from typing import Any

from rigpose.bundles.bundle import Precision
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DekrGrouping, DetectorSpec, Grouping, ModelSpec, PafGrouping
from rigpose.models.preprocess import InputSpec, plan
from rigpose.schema import to_mapping

CONTRACT = 1
"""Version of the keys and of what their values mean."""
PRECISION = "rigpose.precision"
"""The one key that differs between the precisions of a graph."""

COORDINATES = (
    "x to the right, y down, in pixels of the graph's input. The first pixel covers 0 to 1, so its centre is at 0.5, "
    "and every change of frame is a scale and a shift. Undo the steps in reverse order to get pixels of the frame."
)
_SCORE = "a confidence for ranking and thresholds, mostly from 0 to 1, no probability"
_KEYPOINT = ["x [input px]", "y [input px]", "score"]
_CORNERS = ["left [input px]", "top [input px]", "right [input px]", "bottom [input px]"]


def contract(*specs: ModelSpec | DetectorSpec, precision: Precision = "fp32") -> dict[str, str]:
    """The texts for a graph's ``metadata_props``, by key.

    Args:
        specs: Of the pose network or the detector that the file holds, or of both where it holds both.
        precision: Of its convolutions and matrix products.

    Returns:
        The first four are words, all others JSON.
    """
    (pose,) = [spec for spec in specs if isinstance(spec, ModelSpec)] or [None]
    (detector,) = [spec for spec in specs if isinstance(spec, DetectorSpec)] or [None]
    words = {
        "rigpose.contract": str(CONTRACT),
        "rigpose.role": "pair" if len(specs) == 2 else "detector" if pose is None else "pose",
        PRECISION: precision,
        "rigpose.coordinates": COORDINATES,
    }
    facts: dict[str, Any] = {}
    if pose is not None:
        facts |= {
            "rigpose.inputs": _inputs(pose),
            "rigpose.steps": _steps(pose),
            "rigpose.outputs": _outputs_of_pose(pose),
            "rigpose.keypoints": pose.keypoints,
            "rigpose.unique_keypoints": pose.unique_keypoints,
            "rigpose.individuals": pose.individuals,
            "rigpose.skeleton": pose.skeleton,
            "rigpose.animals": _animals_of(pose.grouping),
            "rigpose.model": to_mapping(pose),
        }
    if detector is not None:
        facts |= {
            "rigpose.inputs": _inputs(detector),
            "rigpose.steps": _input_steps(detector.input),
            "rigpose.outputs": _outputs_of_detector() if pose is None else _outputs_of_pair(),
            "rigpose.animals": _animals_in_boxes(detector),
            "rigpose.detector": to_mapping(detector),
        }
    return words | {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}


def _inputs(spec: ModelSpec | DetectorSpec) -> dict[str, Any]:
    crops = isinstance(spec, ModelSpec) and spec.crop is not None
    frames = {
        "dtype": "uint8",
        "axes": ["batch", "height", "width", "channel"],
        "channels": ["blue", "green", "red"],
        "values": "0 to 255 as a camera or a decoder gives them; the graph normalises them itself",
        "content": "crops of one animal each, after the steps" if crops else "frames after the steps",
    }
    if not (isinstance(spec, ModelSpec) and spec.task == "conditional_top_down"):
        return {"frames": frames}
    rough = {
        "dtype": "float32",
        "axes": ["batch", "keypoint", "column"],
        "columns": _KEYPOINT,
        "content": "of each crop the rough pose that it was cut out around; zeros where a keypoint is missing",
    }
    return {"frames": frames, "conditions": rough}


def _steps(spec: ModelSpec) -> list[dict[str, Any]]:
    """What happens to a frame before it is an input, in order; nothing else does."""
    return [*([] if spec.crop is None else [_crop_step(spec.crop)]), *_input_steps(spec.input)]


def _crop_step(crop: CropSpec) -> dict[str, Any]:
    shape = "then the shorter side is lengthened until width : height is that of the crop; "
    beside = (
        "it may reach beyond the frame, and there it is black"
        if crop.with_context
        else "it is cut to the frame, and black on two sides, (longer - shorter) // 2 each, gives it the crop's shape"
    )
    return {
        "step": "crop",
        "width": crop.width,
        "height": crop.height,
        "margin": crop.margin,
        "with_context": crop.with_context,
        "rule": (
            "around each animal's box: the margin [frame px] is added on every side; "
            f"{shape if crop.with_context else ''}the corners, centre minus and plus half a side, are rounded to whole "
            f"pixels, halves to the even one: this is the window; {beside}; it is resized to width x height, bilinear "
            "as cv2.INTER_LINEAR. Back: x * window width / width + window left, y alike."
        ),
    }


def _input_steps(spec: InputSpec) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    how = "bilinear as cv2.INTER_LINEAR, sides rounded, halves to the even number"
    if spec.resize is not None:
        size = {"width": spec.resize.width, "height": spec.resize.height}
        if spec.resize.keep_ratio:
            # The padding to a multiple is of the same black and comes in one with that to the size.
            height, width = plan(spec, spec.resize.height, spec.resize.width).input_size
            steps += [
                {"step": "fit", **size, "rule": f"to the largest size inside that keeps the proportions; {how}"},
                {"step": "fill", "width": width, "height": height, "rule": "black, right and bottom"},
            ]
            return steps
        steps.append({"step": "stretch", **size, "rule": f"to this size, whatever the proportions; {how}"})
    elif spec.longest_side is not None:
        rule = f"both sides by one factor, so that the longer one has this length; {how}"
        steps.append({"step": "scale", "longest_side": spec.longest_side, "rule": rule})
    if spec.multiple_of > 1:
        rule = "right and bottom, to the next multiple; the border mirrors the frame without its edge (reflect_101)"
        steps.append({"step": "pad", "multiple_of": spec.multiple_of, "rule": rule})
    return steps


def _outputs_of_detector() -> dict[str, Any]:
    return {
        "boxes": _output(["batch", "box"], _CORNERS, "of animals, the best first"),
        "scores": _output(["batch", "box"], [], f"of the boxes: {_SCORE}; 0 where there is no box"),
    }


def _outputs_of_pair() -> dict[str, Any]:
    """The input is the frame, so all of it is in frame px."""
    pose = f"of the animal in each box, NaN where there is none; score: {_SCORE}"
    return {**_outputs_of_detector(), "keypoints": _output(["batch", "box", "keypoint"], _KEYPOINT, pose)}


def _outputs_of_pose(spec: ModelSpec) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    if spec.task == "paf":
        peaks = f"places where a keypoint may be, in no order; NaN where there are fewer; score: {_SCORE}"
        affinity = (
            "how well two peaks belong to one animal, for each edge of rigpose.animals: the peak of its first "
            "keypoint, then that of its second; 0 where a peak is missing"
        )
        outputs["peaks"] = _output(["batch", "keypoint", "peak"], _KEYPOINT, peaks)
        outputs["affinity"] = _output(["batch", "edge", "peak", "peak"], [], affinity)
    elif spec.task == "dekr":
        poses = f"whole animals in no order, some of them of the same animal; score: {_SCORE}"
        outputs["poses"] = _output(["batch", "pose", "keypoint"], _KEYPOINT, poses)
        outputs["center"] = _output(["batch", "pose"], [], "score of each pose's centre; 0 where there is no pose")
    else:
        pose = f"of the one animal; every keypoint has a place, NaN only where nothing stands out; score: {_SCORE}"
        outputs["keypoints"] = _output(["batch", "keypoint"], _KEYPOINT, pose)
    if spec.unique_keypoints:
        there = f"of what exists once per frame, in the order of rigpose.unique_keypoints; score: {_SCORE}"
        outputs["unique"] = _output(["batch", "unique keypoint"], _KEYPOINT, there)
    if "identity" in spec.dense:
        alike = "how much each candidate of a keypoint looks like each individual, 0 to 1; 0 where there is none"
        outputs["identity"] = _output(["batch", "keypoint", "candidate", "individual"], [], alike)
    return outputs


def _output(axes: list[str], columns: list[str], meaning: str) -> dict[str, Any]:
    """One output; all of them are float32 in every precision."""
    return {"dtype": "float32", "axes": [*axes, "column"] if columns else axes, "columns": columns, "meaning": meaning}


def _animals_of(grouping: Grouping) -> dict[str, Any]:
    """How the outputs become animals, with the parameters; those of ``rigpose.model`` have more detail."""
    if isinstance(grouping, PafGrouping):
        rule = (
            "in outline: of each keypoint the max_animals best peaks of at least min_score count; for each edge they "
            "are paired one to one so that the affinities sum to the most, and pairs below min_affinity dropped; peaks "
            "that pairs connect are one animal, the strongest pairs first where two peaks of one keypoint would meet; "
            "animals that fewer than min_links pairs hold together are dropped, as is the weaker of two of which one "
            "lies on the other by max_overlap or more; at most max_animals stay. In full: rigpose/grouping/paf.py"
        )
        names = ("edges", "max_animals", "min_affinity", "min_score", "min_links", "max_overlap")
    elif isinstance(grouping, DekrGrouping):
        rule = (
            "the max_animals best of the poses whose center is above min_center_score; then, if apply_pose_nms, a pose "
            "is dropped that has a keypoint nearer to the same one of a better pose than nms_threshold times the "
            "diagonal of its own box, which counts as 1 px at least"
        )
        names = ("max_animals", "min_center_score", "nms_threshold", "apply_pose_nms")
    else:
        return {"rule": "one animal per input: its keypoints are the output", "max_animals": 1}
    return {"rule": rule, **{name: getattr(grouping, name) for name in names}}


def _animals_in_boxes(spec: DetectorSpec) -> dict[str, Any]:
    rule = (
        "boxes with a score above 0 and of at least min_score; of two whose intersection over union is above "
        "max_overlap the weaker is dropped; the max_animals best of the rest are animals, and the pose network sees a "
        "crop around each"
    )
    names = ("max_animals", "min_score", "max_overlap")
    return {"rule": rule, **{name: getattr(spec, name) for name in names}}
