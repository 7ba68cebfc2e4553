"""What an ONNX file says about itself follows from the specs, and says enough to be used alone."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from rigpose.bundles.contract import CONTRACT, contract
from rigpose.grouping import group
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DekrGrouping, DetectorSpec, ModelSpec, PafGrouping, Task
from rigpose.models.preprocess import InputSpec, Resize, plan
from rigpose.schema import parse

NAMES = ("snout", "Schwanzspitze ä")
ONE = ModelSpec("single_animal", "resnet_50", NAMES, skeleton=(NAMES,), dense={"bodypart": {}})
SPECS: dict[Task, ModelSpec] = {
    "single_animal": ONE,
    "paf": replace(ONE, task="paf", individuals=("a", "b"), grouping=PafGrouping(((0, 1),), 2)),
    "dekr": replace(ONE, task="dekr", individuals=("a", "b"), grouping=DekrGrouping(2)),
    "top_down": replace(ONE, task="top_down", crop=CropSpec(64, 48, margin=3), box_margin=20),
    "conditional_top_down": replace(ONE, task="conditional_top_down", crop=CropSpec(64, 64, with_context=False)),
}
NUMBERS = {"batch": 1, "keypoint": 2, "edge": 1, "peak": 4, "pose": 4, "unique keypoint": 1, "candidate": 4}
NUMBERS |= {"individual": 2, "column": 3}


@pytest.mark.parametrize("task", SPECS)
def test_every_model_can_be_read_back_from_its_file(task: Task) -> None:
    texts = contract(SPECS[task], precision="fp16")
    assert parse(ModelSpec, json.loads(texts["rigpose.model"]), where="contract") == SPECS[task]
    assert (texts["rigpose.contract"], texts["rigpose.role"]) == (str(CONTRACT), "pose")
    assert texts["rigpose.precision"] == "fp16"
    assert json.loads(texts["rigpose.keypoints"]) == list(NAMES)
    assert "ä" in texts["rigpose.keypoints"], "readable without a JSON parser"
    assert list(json.loads(texts["rigpose.inputs"])) == (
        ["frames", "conditions"] if task == "conditional_top_down" else ["frames"]
    )


@pytest.mark.parametrize("task", SPECS)
def test_the_outputs_are_those_that_the_grouping_takes(task: Task) -> None:
    """Arrays made by nothing but the described axes are grouped without a complaint."""
    spec = SPECS[task]
    if task in ("paf", "dekr"):
        spec = replace(spec, unique_keypoints=("door",), dense={"bodypart": {}, "unique_bodypart": {}, "identity": {}})
    outputs = json.loads(contract(spec)["rigpose.outputs"])
    if task in ("paf", "dekr"):
        assert {"unique", "identity"} < set(outputs)
    made = {
        name: np.full([NUMBERS[axis] for axis in output["axes"]], 0.5, output["dtype"])
        for name, output in outputs.items()
    }
    for name, output in outputs.items():
        assert len(output["columns"]) == (made[name].shape[-1] if output["axes"][-1] == "column" else 0)
    (poses,) = group(spec, made)
    assert poses.xy.shape[1:] == (2, 2)


def test_a_detector_says_which_boxes_are_animals() -> None:
    spec = DetectorSpec(max_animals=3, min_score=0.25)
    texts = contract(spec)
    assert texts["rigpose.role"] == "detector" and "rigpose.model" not in texts
    assert parse(DetectorSpec, json.loads(texts["rigpose.detector"]), where="contract") == spec
    rule = json.loads(texts["rigpose.animals"])
    assert (rule["max_animals"], rule["min_score"], rule["max_overlap"]) == (3, 0.25, 1.0)
    assert list(json.loads(texts["rigpose.outputs"])) == ["boxes", "scores"]


def test_a_combined_graph_takes_frames_and_says_what_both_networks_say() -> None:
    boxes, spec = DetectorSpec(max_animals=3), SPECS["top_down"]
    texts = contract(spec, boxes)
    assert texts == contract(boxes, spec) and texts["rigpose.role"] == "pair"
    assert json.loads(texts["rigpose.steps"]) == [], "crops are cut inside"
    assert list(json.loads(texts["rigpose.outputs"])) == ["boxes", "scores", "keypoints"]
    both = contract(spec) | {"rigpose.detector": contract(boxes)["rigpose.detector"]}
    assert texts.keys() == both.keys()
    assert all(texts[key] == both[key] for key in ("rigpose.keypoints", "rigpose.model", "rigpose.detector"))


@pytest.mark.parametrize(
    ("spec", "steps"),
    [
        (InputSpec(), []),
        (InputSpec(multiple_of=32), ["pad"]),
        (InputSpec(longest_side=75), ["scale"]),
        (InputSpec(longest_side=75, multiple_of=32), ["scale", "pad"]),
        (InputSpec(Resize(90, 50)), ["fit", "fill"]),
        (InputSpec(Resize(90, 50), multiple_of=32), ["fit", "fill"]),
        (InputSpec(Resize(90, 50, keep_ratio=False)), ["stretch"]),
        (InputSpec(Resize(90, 50, keep_ratio=False), multiple_of=32), ["stretch", "pad"]),
    ],
)
def test_steps_done_by_their_description_give_the_input_that_is_planned(spec: InputSpec, steps: list[str]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    preparation = plan(spec, 61, 83)
    planned = np.empty((*preparation.input_size, 3), np.uint8)
    preparation.write(frame, out=planned)

    told = json.loads(contract(replace(ONE, input=spec))["rigpose.steps"])
    assert [step["step"] for step in told] == steps
    image = frame
    for step in told:
        h, w = image.shape[:2]
        match step["step"]:
            case "stretch":
                image = cv2.resize(image, (step["width"], step["height"]), interpolation=cv2.INTER_LINEAR)
            case "fit" | "scale":
                ratios = (step.get("width", 0) / w, step.get("height", 0) / h)
                factor = min(ratios) if step["step"] == "fit" else step["longest_side"] / max(h, w)
                image = cv2.resize(image, (round(w * factor), round(h * factor)), interpolation=cv2.INTER_LINEAR)
            case "fill":
                image = np.pad(image, ((0, step["height"] - h), (0, step["width"] - w), (0, 0)))
            case "pad":
                more = (-h % step["multiple_of"], -w % step["multiple_of"])
                image = np.pad(image, ((0, more[0]), (0, more[1]), (0, 0)), mode="reflect")
    assert np.array_equal(image, planned)


def test_the_crop_comes_before_the_steps_of_the_crop() -> None:
    spec = replace(SPECS["top_down"], input=InputSpec(multiple_of=32))
    crop, pad = json.loads(contract(spec)["rigpose.steps"])
    assert (crop["step"], crop["width"], crop["height"], crop["margin"], crop["with_context"]) == (
        "crop", 64, 48, 3, True,
    )  # fmt: skip
    assert pad["step"] == "pad"
