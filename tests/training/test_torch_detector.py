"""A torch detector behind the rig's box analyzer: the network's numbers, and what the project file says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from reference_weights import fill

from rigpose.errors import ConfigError
from rigpose_training.models.detectors import build_detector
from rigpose_training.pose_config.templates import Metadata, make_pose_config
from rigpose_training.pose_graph import PixelNormalisation
from rigpose_training.spec import Normalisation
from rigpose_training.torch_detector import box_analyzer

IMAGENET = Normalisation(imagenet=True, unit_range=False)


def pair_config() -> dict[str, Any]:
    names = Metadata("", "", ("nose", "tail"), individuals=("a", "b"))
    return make_pose_config("top_down_resnet_50", names, detector_type="ssdlite")


def test_boxes_are_the_networks_and_stay_in_evaluation_mode() -> None:
    config = pair_config()
    detector = build_detector(config["detector"]["model"]).train()
    fill(detector, "analyzer")
    frames = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), np.uint8)
    found = box_analyzer(detector, config).predict(frames)
    assert not detector.training
    images = PixelNormalisation(IMAGENET)(torch.from_numpy(frames))
    for boxes, (xyxy, score) in zip(found, detector.detect(images), strict=True):
        assert len(boxes.score) > 0
        np.testing.assert_array_equal(boxes.xyxy, xyxy.numpy())
        np.testing.assert_array_equal(boxes.score, score.numpy())


def test_as_many_animals_as_the_project_has_come_out_of_the_boxes() -> None:
    config = pair_config()
    analyzer = box_analyzer(build_detector(config["detector"]["model"]), config, min_score=0.25)
    assert analyzer.spec.max_animals == 2 and analyzer.spec.min_score == 0.25


def test_a_file_without_detector_is_a_sentence() -> None:
    config = pair_config()
    detector = build_detector(config["detector"]["model"])
    with pytest.raises(ConfigError, match="no detector section"):
        box_analyzer(detector, config | {"detector": None})
    config["detector"]["data"]["inference"]["affine"] = {"p": 1.0}
    with pytest.raises(ConfigError, match=r"detector\.data\.inference\.affine.*detector\.data\.train is its place"):
        box_analyzer(detector, config)
