"""The detectors' graph: torchvision's boxes in fixed shapes, in torch and in ONNX Runtime."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from detectors_with_boxes import MOBILENET, RESNET, detector_graph
from exported_once import shared_folder
from exported_pairs import drawn
from reference_weights import fill
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign, nms
from traced_graphs import traced_file

from rigpose.arrays import Frames
from rigpose.errors import ConfigError
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose_training.dense_boxes.faster_rcnn import pool_regions
from rigpose_training.dense_boxes.geometry import resized_sides
from rigpose_training.dense_boxes.suppression import ROUNDS, best_boxes, suppress
from rigpose_training.detector_graph import DetectorGraph, look_at_proposals, look_at_size
from rigpose_training.sampling import grid_sampling
from rigpose_training.torch_session import TorchSession

VARIANTS = ["ssdlite", MOBILENET, pytest.param(RESNET, marks=pytest.mark.slow)]
# The order of float32 sums, over coordinates of hundreds of pixels.
PIXELS, SCORES = 1e-3, 1e-5
# Fifty random layers multiply it: ONNX Runtime's ResNet differs by 0.0015 px and 1.5e-5.
OTHER_ENGINE = 10


def torchvisions(graph: DetectorGraph, frames: Frames) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return graph.detector.detect(graph.normalise(torch.from_numpy(frames)))


def assert_same_boxes(
    boxes: np.ndarray, scores: np.ndarray, expected: np.ndarray, descending: np.ndarray, *, times: float = 1
) -> None:
    """Equal scores in order, and equal boxes as sets: which of two equal scores comes first is left to the sort."""
    assert np.isfinite(boxes).all() and (np.diff(scores) <= 0).all()
    assert not scores[len(descending) :].any()
    np.testing.assert_allclose(scores[: len(descending)], descending, rtol=0, atol=times * SCORES)
    apart = np.abs(boxes[None, : len(expected)] - expected[:, None]).max(axis=-1)
    assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) <= times * PIXELS


@pytest.mark.parametrize("variant", VARIANTS)
def test_boxes_are_torchvisions(variant: str, flies: Path) -> None:
    graph = detector_graph(variant)
    paths = sorted((flies / "labeled-data").rglob("*.png"))[:2]
    photographed = np.stack([np.asarray(cv2.imread(str(path)), np.uint8) for path in paths])
    three = np.stack([drawn(number, 150, 200) for number in range(3)])
    for frames in (three, drawn(4, 131, 97)[None], photographed[:, :301]):
        with torch.inference_mode():
            boxes, scores = graph(torch.from_numpy(frames))
        reference = torchvisions(graph, frames)
        assert len(reference) == len(boxes)
        for found, score, (expected, descending) in zip(boxes, scores, reference, strict=True):
            assert len(expected) > 20 and float(descending.max() - descending.min()) > 0.05
            assert_same_boxes(found.numpy(), score.numpy(), expected.numpy(), descending.numpy())


@pytest.mark.parametrize(
    ("variant", "form"),
    [
        ("ssdlite", "plain"),
        pytest.param(MOBILENET, "plain", marks=pytest.mark.slow),
        pytest.param(MOBILENET, "portable", marks=pytest.mark.slow),
        pytest.param(RESNET, "plain", marks=pytest.mark.slow),
    ],
)
def test_onnx_runtime_gives_the_same_boxes_for_any_batch_and_size(
    variant: str, form: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    portable = form == "portable"
    graph = detector_graph(variant)
    file, spec = traced_file(shared_folder(tmp_path_factory), variant, portable=portable)
    operators = {node.op_type for node in onnx.load(str(file)).graph.node}
    aligned = "RoiAlign" in operators
    assert aligned == (variant != "ssdlite" and not portable) and ("GridSample" in operators) == portable
    assert spec.backends == (("tensorrt",) if portable else ("onnxruntime", "openvino", "tensorrt")[: 3 - aligned])
    session = OnnxRuntimeSession(file, device="cpu", threads=1)
    for batch, height, width in ((1, 160, 160), (3, 131, 97), (2, 90, 260)):
        frames = np.stack([drawn(number, height, width) for number in range(batch)])
        expected, found = TorchSession(graph).run({"frames": frames}), session.run({"frames": frames})
        assert found["boxes"].shape == expected["boxes"].shape
        for index in range(batch):
            there = expected["scores"][index] > 0
            assert there.sum() > 20
            assert_same_boxes(
                found["boxes"][index],
                found["scores"][index],
                expected["boxes"][index][there],
                expected["scores"][index][there],
                times=OTHER_ENGINE,
            )


@pytest.mark.parametrize(
    ("variant", "side", "seen"),
    # The longer side of 3:2 frames is 1.5 times the shorter; that of 3:1 frames reaches the limit of 400 / 256.
    [("ssdlite", 256, [(256, 256), (256, 256)]), (MOBILENET, 192, [(192, 288), (100, 300)])],
)
def test_in_another_size_boxes_are_torchvisions_of_that_size(
    variant: str, side: int, seen: list[tuple[int, int]]
) -> None:
    graph = detector_graph(variant)
    model: Any = graph.detector.model
    frames = [np.stack([drawn(number, 120, wide) for number in range(2)]) for wide in (180, 360)]
    before = [TorchSession(graph).run({"frames": some})["boxes"] for some in frames]
    look_at_size(graph.detector, side)
    for some, other, size in zip(frames, before, seen, strict=True):
        found = TorchSession(graph).run({"frames": some})
        images, _ = model.transform(list(graph.normalise(torch.from_numpy(some))))
        assert images.image_sizes == [size, size]
        for b, (expected, descending) in enumerate(torchvisions(graph, some)):
            assert_same_boxes(found["boxes"][b], found["scores"][b], expected.numpy(), descending.numpy())
        assert np.abs(found["boxes"] - other).max() > 1


def test_with_fewer_proposals_boxes_are_torchvisions_of_as_many() -> None:
    graph, frames = detector_graph(MOBILENET), np.stack([drawn(number, 120, 180) for number in range(2)])
    before = TorchSession(graph).run({"frames": frames})
    look_at_proposals(graph.detector, 60, animals=3)
    found = TorchSession(graph).run({"frames": frames})
    assert before["boxes"].shape[1] == 100 and found["boxes"].shape[1] == 60
    for b, (expected, descending) in enumerate(torchvisions(graph, frames)):
        assert len(expected) > 20
        assert_same_boxes(found["boxes"][b], found["scores"][b], expected.numpy(), descending.numpy())


def test_proposals_that_a_detector_has_not_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--detector-proposals: ssdlite.* has no proposals; leave it out"):
        look_at_proposals(detector_graph("ssdlite").detector, 100, animals=3)
    with pytest.raises(ConfigError, match=f"--detector-proposals 2000: {MOBILENET} looks at 150; give fewer"):
        look_at_proposals(detector_graph(MOBILENET).detector, 2000, animals=3)
    with pytest.raises(ConfigError, match="--detector-proposals 2: the model has 3 animals; give some tens for each"):
        look_at_proposals(detector_graph(MOBILENET).detector, 2, animals=3)


def test_a_size_in_which_a_detector_sees_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="--detector-size 63: is too small"):
        look_at_size(detector_graph("ssdlite").detector, 63)


@pytest.mark.parametrize("variant", ["ssdlite", MOBILENET])
def test_a_frame_without_boxes_gives_rows_of_score_zero(variant: str) -> None:
    graph = detector_graph(variant)
    model: Any = graph.detector.model
    if variant == "ssdlite":
        model.score_thresh = 1.0
    else:
        model.roi_heads.score_thresh = 1.0
    frames = np.stack([drawn(0, 90, 120), np.zeros((90, 120, 3), np.uint8)])
    found = TorchSession(graph).run({"frames": frames})
    assert found["boxes"].shape == (2, 300 if variant == "ssdlite" else 100, 4)
    assert np.isfinite(found["boxes"]).all() and not found["scores"].any()


def test_no_proposals_are_no_boxes() -> None:
    graph = detector_graph(MOBILENET)
    model: Any = graph.detector.model
    model.rpn.score_thresh = 1.1
    found = TorchSession(graph).run({"frames": drawn(0, 90, 120)[None]})
    assert np.isfinite(found["boxes"]).all() and not found["scores"].any()


def test_later_weights_are_seen() -> None:
    graph = detector_graph("ssdlite")
    frames = drawn(0, 90, 120)[None]
    before = TorchSession(graph).run({"frames": frames})
    fill(graph.detector, "later")
    after = TorchSession(graph).run({"frames": frames})
    assert np.abs(before["scores"] - after["scores"]).max() > 0.01


def crowd(number: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes around a few animals and by falling score, as a detector gives them."""
    draw = torch.Generator().manual_seed(number)
    animals = 1 + number % 6
    centre = torch.rand(animals, 2, generator=draw) * 600
    size = torch.rand(animals, 2, generator=draw) * 200 + 40
    near = torch.randint(animals, (count,), generator=draw)
    spread = 0.05 * (1 + number % 8)
    middle = centre[near] + spread * size[near] * torch.randn(count, 2, generator=draw)
    half = 0.5 * size[near] * torch.exp(spread * torch.randn(count, 2, generator=draw))
    scores = torch.rand(count, generator=draw).sort(descending=True).values
    return torch.cat([middle - half, middle + half], dim=1), scores


@pytest.mark.parametrize("threshold", [0.5, 0.55, 0.7])
def test_suppression_is_greedy(threshold: float) -> None:
    for number in range(24):
        boxes, scores = crowd(number, 400)
        expected = nms(boxes, scores, threshold)
        keep = suppress(boxes[None], torch.ones(1, len(boxes)), threshold)[0]
        torch.testing.assert_close(keep.nonzero()[:, 0], expected)
        found, best = best_boxes(boxes[None], scores[None], threshold, count=len(expected) + 1)
        torch.testing.assert_close(found[0, :-1], boxes[expected], rtol=0, atol=0)
        torch.testing.assert_close(best[0], torch.cat([scores[expected], torch.zeros(1)]), rtol=0, atol=0)


def test_rows_that_are_no_box_suppress_nothing() -> None:
    boxes, scores = crowd(3, 200)
    valid = torch.rand(200, generator=torch.Generator().manual_seed(1)) > 0.5
    keep = suppress(boxes[None, None], valid[None, None], 0.5)[0, 0]
    torch.testing.assert_close(keep.nonzero()[:, 0], valid.nonzero()[:, 0][nms(boxes[valid], scores[valid], 0.5)])
    flat = torch.tensor([[[5.0, 5, 5, 5], [5, 5, 5, 5], [0, 0, 9, 9]]])
    assert suppress(flat, torch.ones(1, 3), 0.5).tolist() == [[1, 1, 1]]


def test_the_best_boxes_are_the_greedy_ones_in_the_longest_chain() -> None:
    x = torch.arange(300.0)
    chain = torch.stack([x, 0 * x, x + 10, 0 * x + 10], dim=1)  # each hits the next one only
    expected = nms(chain, -x, 0.7)
    assert len(expected) == 150
    for rounds in (2, 8, ROUNDS):
        keep = suppress(chain[None], torch.ones(1, 300), 0.7, rounds=rounds)[0]
        kept = keep.nonzero()[:, 0]
        assert kept[: rounds // 2 + 1].tolist() == expected[: rounds // 2 + 1].tolist()
        assert set(expected.tolist()) < set(kept.tolist())
    assert suppress(chain[None], torch.ones(1, 300), 0.7, rounds=300)[0].nonzero()[:, 0].tolist() == expected.tolist()


def test_regions_are_pooled_as_torchvision_does() -> None:
    pool = MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=7, sampling_ratio=2)
    draw = torch.Generator().manual_seed(0)
    names, strides = ("0", "1", "2", "3"), (4, 8, 16, 32)
    maps = {name: torch.randn(2, 3, 640 // s, 800 // s, generator=draw) for name, s in zip(names, strides, strict=True)}
    corner = torch.rand(2, 60, 2, generator=draw) * 600
    side = torch.exp(torch.rand(2, 60, 2, generator=draw) * 7)
    # The sides at which the map changes, and the least that a proposal may have.
    side[:, :4] = torch.tensor([112.0, 224.0, 448.0, 1e-3]).reshape(1, 4, 1)
    boxes = torch.cat([corner, torch.minimum(corner + side, torch.tensor([800.0, 640.0]))], dim=-1)
    boxes[:, :4] -= boxes[:, :4, :2].repeat(1, 1, 2)
    expected = pool(maps, list(boxes), [(640, 800)] * 2)
    torch.testing.assert_close(pool_regions(pool, list(maps.values()), strides, boxes), expected, rtol=0, atol=0)
    with grid_sampling():
        found = pool_regions(pool, list(maps.values()), strides, boxes)
    # Values of 4 at most change from cell to cell by 8 at most, and coordinates of 200 cells are rounded to 2e-5.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


def test_frames_are_resized_to_torchvisions_sides() -> None:
    transform = GeneralizedRCNNTransform(800, 1333, [0.0] * 3, [1.0] * 3).eval()
    usual = [(240, 320), (384, 384), (480, 640), (512, 512), (540, 960), (600, 800), (720, 1280), (768, 1024)]
    usual += [(1024, 1024), (1024, 1280), (1080, 1920), (1200, 1600), (1200, 1920), (1440, 2560), (2160, 3840)]
    assert [resized_sides(transform, *sides) for sides in usual] == [in_floats(*sides) for sides in usual]
    drawn_sides = np.random.default_rng(0).integers(32, 2200, (2000, 2)).tolist()
    apart = np.array([np.subtract(resized_sides(transform, h, w), in_floats(h, w)) for h, w in drawn_sides])
    assert apart.min() == 0 and apart.max() == 1
    assert (apart.max(axis=1) == 1).mean() < 0.05
    torchvisions_own, _ = transform([torch.zeros(3, 375, 1242)])
    assert resized_sides(transform, 375, 1242) == torchvisions_own.image_sizes[0]


def in_floats(height: int, width: int) -> tuple[int, int]:
    """torchvision's arithmetic."""
    scale = min(800 / min(height, width), 1333 / max(height, width))
    return math.floor(height * scale), math.floor(width * scale)
