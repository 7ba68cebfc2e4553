"""Detectors against DeepLabCut's recorded ones, and that they learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from reference_weights import fill
from torchvision.models import get_model
from torchvision.models._api import WeightsEnum
from torchvision.ops import FrozenBatchNorm2d, box_iou

from rigpose.errors import ConfigError
from rigpose_training.models.detector_weights import initialise_detector
from rigpose_training.models.detectors import Detector, build_detector, detection_targets

SSDLITE = {"type": "SSDLite", "freeze_bn_stats": True, "freeze_bn_weights": False}
FASTER_RCNN = {"type": "FasterRCNN", "variant": "fasterrcnn_mobilenet_v3_large_fpn"}
# Relative to each map's spread; the rest is the order of float32 sums.
RELATIVE = 1e-4


@pytest.mark.parametrize(
    "name",
    [
        "ssdlite",
        "fasterrcnn_mobilenet_v3_large_fpn",
        pytest.param("fasterrcnn_resnet50_fpn_v2", marks=pytest.mark.slow),
    ],
)
def test_a_detector_is_deeplabcuts(golden: Path, name: str) -> None:
    facts = json.loads((golden / "networks" / f"detector.{name}.json").read_text())
    with np.load(golden / "networks" / f"detector.{name}.npz") as arrays:
        reference = {key: arrays[key] for key in arrays.files}
    detector = build_detector(facts["config"]).eval()
    recorded = {key: tuple(shape) for key, shape in facts["parameters"].items()}
    assert {key: tuple(value.shape) for key, value in detector.state_dict().items()} == recorded
    assert list(detector.state_dict()) == list(recorded)

    fill(detector, facts["salt"])
    drawn = np.random.default_rng(facts["input_seed"]).uniform(0, 1, facts["input"])
    images = torch.from_numpy(drawn.astype(np.float32))
    backbone: Any = detector.model.backbone
    with torch.inference_mode():
        features = backbone(torch.nn.functional.interpolate(images, size=(320, 320), mode="bilinear"))
    assert {f"features.{key}" for key in features} == {key for key in reference if key.startswith("features.")}
    for key, values in features.items():
        expected = reference[f"features.{key}"]
        found = values.numpy()[:, :: values.shape[1] // expected.shape[1]]
        assert np.abs(found - expected).max() <= RELATIVE * np.ptp(expected), key

    ((boxes, scores),) = detector.detect(images)
    # Random weights give hundreds of boxes with scores 1e-6 apart, so which of two equals comes first, or suppresses
    # the other, is left to the order of float32 sums, and so is how many are left: compared are the scores in
    # descending order and the boxes as a set, of which one in twenty may be another one.
    count = len(reference["detections.boxes"])
    assert abs(len(boxes) - count) <= count // 20
    descending, both = np.sort(reference["detections.scores"])[::-1], min(len(boxes), count)
    np.testing.assert_allclose(scores.numpy()[:both], descending[:both], atol=1e-4)
    nearest = box_iou(torch.from_numpy(reference["detections.boxes"]), boxes).amax(1)
    assert (nearest > 0.99).float().mean() >= 0.95


def scene(batch: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Grey images with one bright square each, and room for a second animal that is absent."""
    images = torch.zeros(batch, 3, 96, 128)
    boxes = torch.zeros(batch, 2, 4)
    for i in range(batch):
        x, y = 20 + 30 * i, 10 + 20 * i
        images[i, :, y : y + 40, x : x + 40] = 2.0
        boxes[i, 0] = torch.tensor([x, y, 40, 40])
    return images, {"boxes": boxes, "labels": torch.tensor([[1, 0]] * batch)}


def small(section: dict[str, Any]) -> Detector:
    torch.manual_seed(0)
    detector = build_detector(section)
    if section["type"] == "FasterRCNN":
        # With 800 px and 512 proposals per image, torchvision's choices, a few steps are most of a minute.
        model: Any = detector.model
        model.transform.min_size = (96,)
        model.roi_heads.fg_bg_sampler.batch_size_per_image = 64
    return detector.train()


@pytest.mark.parametrize(
    ("section", "names"),
    [
        (SSDLITE, {"bbox_regression", "classification"}),
        (FASTER_RCNN, {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}),
    ],
    ids=["ssdlite", "faster_rcnn"],
)
def test_losses_fall_on_a_drawn_square(section: dict[str, Any], names: set[str], one_thread: None) -> None:
    detector = small(section)
    images, annotations = scene(2)
    optimiser = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    totals = []
    for _ in range(8):
        losses = detector.losses(images, annotations)
        assert set(losses) == names and all(value.ndim == 0 for value in losses.values())
        total = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
    assert np.isfinite(totals).all()
    assert np.mean(totals[-2:]) < 0.8 * totals[0]


@pytest.mark.parametrize("section", [SSDLITE, FASTER_RCNN], ids=["ssdlite", "faster_rcnn"])
def test_images_without_animals_are_trained_on_and_searched(section: dict[str, Any], one_thread: None) -> None:
    detector = small(section)
    images, annotations = scene(2)
    annotations["labels"] = torch.tensor([[1, 0], [0, 0]])
    annotations["boxes"][1] = 0
    mixed = detector.losses(images, annotations)
    none = detector.losses(images, {"boxes": torch.zeros(2, 0, 4), "labels": torch.zeros(2, 0)})
    for losses in (mixed, none):
        total = torch.stack(list(losses.values())).sum()
        assert torch.isfinite(total)
        total.backward()
    assert mixed and all(value > 0 for value in mixed.values())
    # SSD takes three places without an animal for each one with, so it learns nothing from a batch without any.
    assert bool(torch.stack(list(none.values())).sum() > 0) == (section["type"] == "FasterRCNN")
    found = detector.eval().detect(images)
    assert len(found) == 2
    for boxes, scores in found:
        assert boxes.shape == (len(scores), 4)
        assert (scores.diff() <= 0).all()


def test_targets_leave_out_absent_animals_and_flat_boxes() -> None:
    boxes = torch.tensor(
        [[[10.0, 20, 30, 40], [0, 0, 0, 0], [5, 5, 0, 9]], [[1.0, 2, 3, 4], [9, 9, 9, 9], [0, 0, 1, 1]]]
    )
    annotations = {"boxes": boxes, "labels": torch.tensor([[1, 0, 1], [0, 1, 1]])}
    first, second = detection_targets(annotations)
    torch.testing.assert_close(first["boxes"], torch.tensor([[10.0, 20, 40, 60]]))
    torch.testing.assert_close(second["boxes"], torch.tensor([[9.0, 9, 18, 18], [0, 0, 1, 1]]))
    assert first["labels"].tolist() == [1] and second["labels"].tolist() == [1, 1]
    # The annotations are used again, for instance by a validation.
    torch.testing.assert_close(boxes[0, 0], torch.tensor([10.0, 20, 30, 40]))


def test_a_score_threshold_other_than_deeplabcuts_default_is_obeyed() -> None:
    for written, used in ((None, 0.001), (0.01, 0.001), (0.6, 0.6)):
        assert build_detector(SSDLITE | {"variant": None, "box_score_thresh": written}).model.score_thresh == used
    for written, used in ((None, 0.01), (0.01, 0.01), (0.6, 0.6)):
        heads: Any = build_detector(FASTER_RCNN | {"box_score_thresh": written}).model.roi_heads
        assert heads.score_thresh == used


def test_a_section_that_does_not_fit_is_named_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"detector.model.variant.*did you mean fasterrcnn_resnet50_fpn_v2"):
        build_detector(FASTER_RCNN | {"variant": "fasterrcnn_resnet50_fpn_v3"})
    with pytest.raises(ConfigError, match="did you mean SSDLite"):
        build_detector({"type": "SSDLit"})
    with pytest.raises(ConfigError, match="did you mean freeze_bn_stats"):
        build_detector(SSDLITE | {"freeze_bn_stat": True})


def coco(name: str) -> dict[str, torch.Tensor]:
    """A state dict as torchvision's download holds it, of random weights."""
    torch.manual_seed(3)
    return get_model(name, weights=None, weights_backbone=None, num_classes=91).state_dict()


def test_coco_weights_keep_background_and_person_of_every_anchor(monkeypatch: pytest.MonkeyPatch) -> None:
    given = coco("ssdlite320_mobilenet_v3_large")
    row = torch.arange(6 * 91)
    weight = "head.classification_head.module_list.2.1.weight"
    given[weight] = row.reshape(-1, 1, 1, 1).expand_as(given[weight]).float()
    given["head.classification_head.module_list.2.1.bias"] = row.float()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, **options: given)
    detector = build_detector(SSDLITE)
    assert "starting from COCO weights" in initialise_detector(detector)
    state = detector.model.state_dict()
    expected = [91 * anchor + kind for anchor in range(6) for kind in (0, 1)]
    assert state[weight][:, 0, 0, 0].tolist() == expected
    assert state["head.classification_head.module_list.2.1.bias"].tolist() == expected
    assert torch.equal(state["backbone.features.0.0.0.weight"], given["backbone.features.0.0.0.weight"])
    assert all(parameter.requires_grad for parameter in detector.parameters())


def test_coco_weights_leave_a_faster_rcnns_last_layer_random_and_its_first_ones_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = coco("fasterrcnn_mobilenet_v3_large_fpn")
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, **options: given)
    detector = build_detector(FASTER_RCNN)
    last = detector.model.state_dict()["roi_heads.box_predictor.cls_score.weight"].clone()
    initialise_detector(detector)
    state = detector.model.state_dict()
    assert torch.equal(state["roi_heads.box_predictor.cls_score.weight"], last)
    for key, value in state.items():
        assert key.startswith("roi_heads.box_predictor") or torch.equal(value, given[key]), key
    trains = {key for key, parameter in detector.model.named_parameters() if parameter.requires_grad}
    assert "backbone.body.0.0.weight" not in trains and "backbone.body.16.0.weight" in trains
    assert any(isinstance(layer, FrozenBatchNorm2d) for layer in detector.modules())


def test_without_a_network_the_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object, **options: object) -> None:
        raise URLError("no address for the host")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", unreachable)
    detector = build_detector(SSDLITE)
    said = initialise_detector(detector)
    assert "RANDOM WEIGHTS" in said and "no address for the host" in said
    assert "random weights, as asked" in initialise_detector(detector, weights="random")
    with pytest.raises(ConfigError, match="neither coco nor random"):
        initialise_detector(detector, weights="cocoa")  # pyright: ignore[reportArgumentType]
