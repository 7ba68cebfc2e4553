"""A torch detector behind the rig's box analyzer: fixed shapes for any number of boxes, with the network's numbers."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from rigpose.errors import ConfigError
from rigpose_training.models.detectors import Detector, build_detector
from rigpose_training.pose_config.templates import Metadata, make_pose_config
from rigpose_training.pose_graph import PixelNormalisation
from rigpose_training.spec import Normalisation
from rigpose_training.torch_detector import TorchDetectorSession, box_analyzer

IMAGENET = Normalisation(imagenet=True, unit_range=False)


def pair_config() -> dict[str, Any]:
    names = Metadata("", "", ("nose", "tail"), individuals=("a", "b"))
    return make_pose_config("top_down_resnet_50", names, detector_type="ssdlite")


class AsManyAsBright(nn.Module):
    """Finds as many boxes as the image's first pixel says."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def detect(self, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        counts = [int(image[0, 0, 0].round()) for image in images]
        return [(torch.ones(n, 4) * n, torch.linspace(0.9, 0.1, n)) for n in counts]


def test_images_with_fewer_boxes_are_filled_up_with_nan() -> None:
    session = TorchDetectorSession(cast(Detector, AsManyAsBright()), Normalisation(imagenet=False, unit_range=False))
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[0], frames[2] = 3, 1
    found = session.run({"frames": frames})
    assert found["boxes"].shape == (3, 3, 4) and found["scores"].shape == (3, 3)
    assert np.isfinite(found["scores"]).sum(axis=1).tolist() == [3, 0, 1]
    assert np.isfinite(found["boxes"]).all(axis=2).sum(axis=1).tolist() == [3, 0, 1]
    nothing = session.run({"frames": frames[1:2]})
    assert nothing["boxes"].shape == (1, 0, 4)


def test_boxes_are_the_networks_and_stay_in_evaluation_mode() -> None:
    config = pair_config()
    torch.manual_seed(2)
    detector = build_detector(config["detector"]["model"]).train()
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
