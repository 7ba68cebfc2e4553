"""A pair in one graph: its crops are those of the host to the last grey level, and so its poses are the pair's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from combined_pairs import ANIMALS, combined_pair, drawn_batch, largest_gaps
from torch import nn

from rigpose.analyzers.combined import CombinedAnalyzer
from rigpose.arrays import Floats, Frames
from rigpose.errors import ConfigError
from rigpose.models.crops import Crop, CropSpec, plan_crop
from rigpose.models.preprocess import InputSpec, Resize
from rigpose_training.crop_sampling import CropSampler, plan_crops
from rigpose_training.pair_graph import PairGraph
from rigpose_training.torch_session import TorchSession

SPECS = [
    CropSpec(64, 64),
    CropSpec(64, 48, margin=7),
    CropSpec(96, 128, margin=25),
    CropSpec(128, 96, margin=3, with_context=False),
    CropSpec(64, 64, margin=25, with_context=False),
    CropSpec(96, 128, with_context=False),
]
SIZES = [(97, 131), (480, 640), (1200, 2048)]


def any_boxes(number: int, count: int, height: int, width: int) -> Floats:
    """(N, 4) x, y, x, y around and beyond a frame: tiny ones and larger ones, halves, and empty ones."""
    rng = np.random.default_rng(number)
    centre = rng.uniform(-0.2, 1.2, (count, 2)) * [width, height]
    size = np.exp(rng.uniform(np.log(0.3), np.log(1.5 * max(height, width)), (count, 2)))
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    # Corners and middles on halves, where rounding to even decides.
    boxes[: count // 3] = np.round(boxes[: count // 3] * 2) / 2
    boxes[-4:, 2:] = boxes[-4:, :2]
    boxes[-6:-4, 2] = boxes[-6:-4, 0]
    boxes[-8:-6, 3] = boxes[-8:-6, 1]
    boxes[-10:-8] = [[width, 3, width + 9, 20], [-9, height - 5, 0, height + 4]]
    return boxes.astype(np.float32)


def planned(boxes: Floats, size: tuple[int, int], spec: CropSpec) -> list[Crop]:
    corners_and_sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return [plan_crop(box, size, spec) for box in corners_and_sizes]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_windows_are_those_of_the_host(spec: CropSpec) -> None:
    for number, (height, width) in enumerate(SIZES):
        boxes = any_boxes(number, 1500, height, width)
        sides = torch.tensor([width, height], dtype=torch.float32)
        window, content = plan_crops(torch.from_numpy(boxes)[None], sides, spec)
        crops = planned(boxes, (height, width), spec)
        np.testing.assert_array_equal(window[0].numpy(), [crop.window for crop in crops])
        np.testing.assert_array_equal(content[0].numpy(), [crop.content for crop in crops])


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_crops_are_those_of_the_host_to_the_last_grey_level(spec: CropSpec) -> None:
    for number, (height, width) in enumerate(SIZES):
        frames = np.random.default_rng(number).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        boxes = any_boxes(number, 24, height, width).reshape(2, 12, 4)
        crops, _ = CropSampler(spec)(torch.from_numpy(frames), torch.from_numpy(boxes))
        assert crops.shape == (2, 12, spec.height, spec.width, 3)
        for frame, rows, found in zip(frames, boxes, crops.numpy(), strict=True):
            np.testing.assert_array_equal(found, written(frame, rows, spec))


def test_crops_at_the_far_end_of_a_large_frame_are_the_hosts() -> None:
    """GridSample's coordinates run from -1 to 1, and float32 is coarsest there."""
    frame = np.random.default_rng(3).integers(0, 256, (700, 8192, 3), dtype=np.uint8)
    boxes = np.array([[8100.3, 600.2, 8191.9, 699.8], [8000, 650, 8300, 760], [20, 30, 8180, 690]], np.float32)
    crops, _ = CropSampler(CropSpec(256, 256))(torch.from_numpy(frame)[None], torch.from_numpy(boxes)[None])
    np.testing.assert_array_equal(crops[0].numpy(), written(frame, boxes, CropSpec(256, 256)))


def written(frame: Frames, boxes: Floats, spec: CropSpec) -> Frames:
    """(N, height, width, 3) crops by OpenCV."""
    out = np.empty((len(boxes), spec.height, spec.width, 3), np.uint8)
    for crop, slot in zip(planned(boxes, (frame.shape[0], frame.shape[1]), spec), out, strict=True):
        crop.write(frame, slot)
    return out


# The same crops and networks in the same precision: only the batch differs, and with it the order of sums.
SAME = 1e-3


@pytest.mark.parametrize(
    ("net_type", "crop"),
    [
        ("top_down_resnet_50", {}),
        ("top_down_resnet_50", {"width": 80, "height": 48, "margin": 6, "crop_with_context": False}),
        ("rtmpose_s", {}),
    ],
)
def test_poses_are_those_of_two_graphs(net_type: str, crop: dict[str, Any]) -> None:
    pair = combined_pair(net_type, **crop)
    one = CombinedAnalyzer(pair.spec, pair.boxes, TorchSession(pair.graph), animals=ANIMALS)
    for frames in (drawn_batch(3, 97, 131), drawn_batch(1, 240, 320), drawn_batch(2, 301, 200)):
        expected = pair.two_graphs.predict(frames)
        assert [len(poses) for poses in expected] == [ANIMALS] * len(frames)
        keypoints, boxes = largest_gaps(expected, one.predict(frames))
        assert max(keypoints, boxes) <= SAME
    # What a window that is off by a pixel does to these poses: tens of times what is allowed above.
    frame = drawn_batch(1, 240, 320)
    told = pair.two_graphs.predict(frame)[0].boxes
    assert told is not None
    to_the_right = np.array([1, 0, 0, 0], np.float32)
    here, moved = (pair.two_graphs.crops.predict(frame, [told + by])[0] for by in (0 * to_the_right, to_the_right))
    assert np.nanmedian(np.linalg.norm(here.xy - moved.xy, axis=-1)) > 20 * SAME


class TheseBoxes(nn.Module):
    """A detector that finds what it was told."""

    def __init__(self, boxes: list[list[float]], scores: list[float]) -> None:
        super().__init__()
        self.boxes, self.scores = torch.tensor(boxes), torch.tensor(scores)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.boxes.expand(len(frames), -1, -1), self.scores.expand(len(frames), -1)


def with_boxes(boxes: list[list[float]], scores: list[float]) -> dict[str, np.ndarray]:
    pair = combined_pair("top_down_resnet_50")
    graph = PairGraph(cast(Any, TheseBoxes(boxes, scores)), pair.graph.pose, pair.boxes, pair.spec)
    return TorchSession(graph).run({"frames": drawn_batch(2, 90, 120)})


def test_rows_that_are_no_box_are_no_animals_wherever_they_lie() -> None:
    nan, inf = float("nan"), float("inf")
    real = [20.0, 10.0, 70.0, 60.0]
    found = with_boxes([[nan, 5, 9, 9], real, [0, 0, inf, 9], real, real], [0.9, 0.8, 0.7, 0.0, 0.5])
    assert found["scores"].tolist() == [[0, np.float32(0.8), 0, 0]] * 2
    assert np.isfinite(found["boxes"]).all()
    assert (np.isfinite(found["keypoints"]).all(axis=(2, 3)) == (found["scores"] > 0)).all()
    none = with_boxes([real] * ANIMALS, [0.0, nan, 0.0, nan])
    assert not none["scores"].any() and np.isnan(none["keypoints"]).all()


def test_what_one_graph_cannot_do_is_refused() -> None:
    pair = combined_pair("top_down_resnet_50")
    detector, pose = pair.graph.detector, pair.graph.pose
    smaller = replace(pair.boxes, input=InputSpec(resize=Resize(320, 320)))
    with pytest.raises(ConfigError, match=r"detector\.data\.inference: a frame"):
        PairGraph(detector, pose, smaller, pair.spec)
    padded = replace(pair.spec, crop=CropSpec(60, 64), input=InputSpec(multiple_of=32))
    with pytest.raises(ConfigError, match=r"combined: data\.inference: a crop"):
        PairGraph(detector, pose, pair.boxes, padded)
    with pytest.raises(ConfigError, match="task conditional_top_down"):
        PairGraph(detector, pose, pair.boxes, replace(pair.spec, task="conditional_top_down"))
