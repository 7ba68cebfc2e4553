"""Batches of one size from images of many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rigpose.arrays import Floats, Frames
from rigpose.errors import ConfigError, TrainingError
from rigpose_training.data.batches import Batching, TrainingBatches
from rigpose_training.data.collate import read_collate, resize_batch
from rigpose_training.data.dataset import PoseDataset
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.transforms import build_transforms
from rigpose_training.data.truth import Sample, Truth
from rigpose_training.task import Task

DATA_SIZE = {"type": "ResizeFromDataSizeCollate", "min_scale": 0.4, "max_scale": 1.0, "multiple_of": 32}


def sizes(section: dict[str, Any], first: tuple[int, int]) -> set[tuple[int, int]]:
    spec = read_collate(section, where="data.train.collate")
    return {spec.target(first, np.random.default_rng(i)) for i in range(200)}


def test_sizes_follow_the_first_images_shape_within_the_bounds() -> None:
    found = sizes(DATA_SIZE, (480, 640))
    assert len(found) > 5 and all(h % 32 == 0 and w % 32 == 0 for h, w in found)
    # More than 480 * .4 = 192, rounded up to a multiple of 32; 480 and 640 at most.
    assert min(h for h, _ in found) == 224 and max(found) == (480, 640)
    assert all(w >= 4 / 3 * h - 32 for h, w in found)
    tall = sizes(DATA_SIZE | {"min_short_side": 300, "max_ratio": 1.5, "multiple_of": None}, (900, 300))
    assert tall == {(450, 300)}
    assert all(h == w for h, w in sizes(DATA_SIZE | {"to_square": True}, (480, 640)))


def test_sizes_come_from_a_list_of_sides_or_of_pairs() -> None:
    assert sizes({"type": "ResizeFromListCollate", "scales": [64, [96, 128]]}, (10, 10)) == {(64, 64), (96, 128)}


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"type": "ResizeFromDatSizeCollate"}, "did you mean ResizeFromDataSizeCollate"),
        (DATA_SIZE | {"min_scal": 1}, "min_scal: unknown key; did you mean min_scale"),
        (DATA_SIZE | {"min_scale": 2.0}, "0 < min_scale <= max_scale"),
        ({"type": "ResizeFromListCollate", "scales": []}, "scales: give at least one size"),
    ],
)
def test_sections_are_read_strictly(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_transforms({"collate": section})


def disc(x: float, y: float, size: tuple[int, int]) -> Frames:
    columns, rows = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    grey = np.clip(10.5 - np.hypot(columns - x, rows - y), 0, 1) * 255
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(200, 300), (300, 200), (150, 150)]))
def test_a_drawn_disc_lies_at_its_label_and_in_its_box_in_every_size(seed: int, size: tuple[int, int]) -> None:
    """Labels are scaled without half a pixel, so they lie (scale - 1) / 2 px from pixels."""
    x, y = size[1] / 2, size[0] / 2
    truth = Truth.of(np.array([[[x, y]]], np.float32), boxes=np.array([[x - 20, y - 30, 40, 60]]))
    section = {"type": "ResizeFromDataSizeCollate", "min_scale": 0.5, "max_scale": 1.5, "min_short_side": 60}
    samples = [Sample(np.zeros((220, 260, 3), np.uint8), truth), Sample(disc(x, y, size), truth)]
    other, found = resize_batch(samples, read_collate(section, where="collate"), np.random.default_rng(seed))
    assert other.image.shape == found.image.shape
    scale = 1 / np.array(found.to_frame.scale)
    here = found.truth.keypoints[0, 0]
    h, w = found.image.shape[:2]
    if np.isnan(here).any() or (here < 13 * scale).any() or (here > np.array([w, h]) - 13 * scale).any():
        return  # cut off, so its centre of mass is another
    np.testing.assert_allclose(centre_of_mass(found.image) - here, (scale - 1) / 2, atol=0.1)
    np.testing.assert_allclose(found.to_frame.apply(here), [x, y], atol=1e-3)
    box = found.truth.boxes[0]
    low, high = here - [20, 30] * scale, here + [20, 30] * scale
    np.testing.assert_allclose(box[:2], np.clip(low, 0, None), atol=1e-3)
    np.testing.assert_allclose(box[:2] + box[2:], np.minimum(high, [w, h]), atol=1e-3)


def centre_of_mass(image: Frames) -> Floats:
    grey = image[..., 0].astype(float)
    columns, rows = np.meshgrid(np.arange(grey.shape[1]), np.arange(grey.shape[0]))
    return np.array([(grey * columns).sum(), (grey * rows).sum()]) / grey.sum()


def mixed(tmp_path: Path, section: dict[str, Any]) -> PoseDataset:
    images = []
    for i, size in enumerate([(120, 160), (160, 120), (90, 200), (120, 160)]):
        path = tmp_path / f"{i}.png"
        cv2.imwrite(str(path), np.full((*size, 3), 255, np.uint8))
        xy = np.array([[[40, 30], [70, 60]]], np.float32)
        images.append(LabelledImage(path, xy, np.empty((0, 2), np.float32), size))
    return PoseDataset(
        images, bodyparts=["a", "b"], transform=build_transforms(section), task=Task.DETECT, bbox_margin=10
    )


def test_a_detector_trains_on_mixed_sizes(tmp_path: Path) -> None:
    section = {"collate": DATA_SIZE | {"min_short_side": 64}, "hflip": True, "normalize_images": True}
    seen = []
    for workers in (0, 2):
        batches = TrainingBatches(mixed(tmp_path, section), Batching(batch_size=2, seed=1, workers=workers))
        seen.append([list(batches.epoch(epoch)) for epoch in (1, 2)])
    shapes = {tuple(batch["image"].shape) for epoch in seen[0] for batch in epoch}
    assert len(shapes) > 1 and all(shape[0] == 2 and shape[2] % 32 == shape[3] % 32 == 0 for shape in shapes)
    for alone, many in zip(seen[0], seen[1], strict=True):
        for one, same in zip(alone, many, strict=True):
            assert torch.equal(one["image"], same["image"])
            assert torch.equal(one["annotations"]["boxes"], same["annotations"]["boxes"])
    labels = seen[0][0][0]["annotations"]
    assert labels["boxes"].shape == (2, 1, 4) and labels["labels"].tolist() == [[1], [1]]


def test_without_collate_the_sizes_that_do_not_fit_are_named(tmp_path: Path) -> None:
    batches = TrainingBatches(mixed(tmp_path, {}), Batching(batch_size=4))
    with pytest.raises(TrainingError, match=r"120 x 160, 160 x 120, 200 x 90 px do not fit"):
        list(batches.epoch(1))
