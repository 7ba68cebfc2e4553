"""Crops of one animal each: the rig's pixels without augmentation, and one warp of the labelled image with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.random import Generator

from rigpose.arrays import Floats, Frames
from rigpose.errors import ConfigError
from rigpose.models.crops import CropSpec, plan_crop
from rigpose_training.data.augmentation import RandomBBoxTransform, read_augmentation
from rigpose_training.data.box_jitter import jitter
from rigpose_training.data.boxes import corners, keypoint_boxes
from rigpose_training.data.dataset import PoseDataset
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.top_down import Aim, cut, plan_around
from rigpose_training.data.transforms import build_transforms
from rigpose_training.data.warp import sample_warp
from rigpose_training.task import Task

SIZE = (150, 200)
MARGIN = 20
CROP = {"width": 96, "height": 64}


def smooth(rng: Generator) -> Frames:
    noise = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 4), np.uint8)


def discs(centres: Floats) -> Frames:
    """A soft-edged disc of 6 px on black around each centre, a pixel index."""
    columns, rows = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    grey = sum(np.clip(6.5 - np.hypot(columns - x, rows - y), 0, 1) for x, y in centres) * 255
    return np.repeat(np.asarray(grey)[..., None], 3, axis=2).astype(np.uint8)


def dataset(tmp_path: Path, image: Frames, xy: Floats, section: dict[str, Any], **changes: Any) -> PoseDataset:
    """One image with animals at ``xy`` (N, K, 2)."""
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), image[..., ::-1])
    labelled = LabelledImage(path, xy.astype(np.float32), np.empty((0, 2), np.float32), SIZE)
    arguments: dict[str, Any] = {
        "bodyparts": [f"part{i}" for i in range(xy.shape[1])],
        "individuals": [f"animal{i}" for i in range(len(xy))],
        "transform": build_transforms({"top_down_crop": CROP} | section),
        "task": Task.TOP_DOWN,
        "bbox_margin": MARGIN,
    }
    return PoseDataset([labelled], **(arguments | changes))


TWO = np.array([[[30.25, 40.5], [60.75, 55.0]], [[150.0, 100.5], [180.5, 140.0]]])


@pytest.mark.parametrize("context", [True, False])
def test_without_augmentation_the_pixels_are_those_of_the_rig(tmp_path: Path, context: bool) -> None:  # noqa: FBT001
    image = smooth(np.random.default_rng(0))
    spec = CropSpec(96, 64, 5, with_context=context)
    section = {"top_down_crop": {**CROP, "margin": 5, "crop_with_context": context}}
    items = dataset(tmp_path, image, TWO, section, mode="test")
    for index, xy in enumerate(TWO):
        box = keypoint_boxes(xy, MARGIN)
        box[2:] = np.minimum(box[:2] + box[2:], SIZE[::-1]) - box[:2]  # the second one reaches beyond the border
        crop = plan_crop(box, SIZE, spec)
        rig = np.empty((64, 96, 3), np.uint8)
        crop.write(image, rig)
        item = items[index]
        np.testing.assert_array_equal(item["image"], rig.transpose(2, 0, 1))
        assert tuple(item["offsets"]) == crop.to_frame.shift and tuple(item["scales"]) == crop.to_frame.scale
        back = item["annotations"]["keypoints"][0, :, :2] * item["scales"] + item["offsets"]
        np.testing.assert_allclose(back, xy, atol=1e-4)


def test_an_item_is_one_animal_with_a_box_and_a_keypoint(tmp_path: Path) -> None:
    xy = np.full((4, 2, 2), np.nan)
    xy[1], xy[3, 0] = TWO[0], TWO[1, 0]
    items = dataset(tmp_path, smooth(np.random.default_rng(0)), xy, {})
    assert len(items) == 2
    assert [items[i]["annotations"]["individual_ids"].tolist() for i in range(2)] == [[1], [3]]
    labels = items[1]["annotations"]
    assert labels["keypoints"].shape == (1, 2, 3) and labels["keypoints"][0, :, 2].tolist() == [2, 0]
    assert labels["labels"].tolist() == [1] and labels["is_crowd"].tolist() == [0]
    # A single keypoint has a box of 40 x 40 px, which fills the height of the crop: 64 px, and so 64 px wide.
    np.testing.assert_allclose(labels["boxes"], [[16, 0, 64, 64]], atol=1.6)  # half a frame pixel is 0.8 input px
    np.testing.assert_allclose(labels["area"], labels["boxes"][:, 2] * labels["boxes"][:, 3])
    # Without a margin, a single keypoint has no box.
    assert len(dataset(tmp_path, smooth(np.random.default_rng(0)), xy, {}, bbox_margin=0)) == 1


AUGMENTED = {
    "hflip": {"p": 0.5},
    "affine": {"p": 1.0, "rotation": 60, "scaling": [0.8, 1.2], "translation": 10},
    "random_bbox_transform": {"shift_prob": 1.0},
}


@pytest.mark.parametrize("section", [{}, AUGMENTED])
def test_a_drawn_disc_lies_at_its_label(tmp_path: Path, section: dict[str, Any]) -> None:
    """Labels are mapped without half a pixel, as on the rig, so they lie (1 / scale - 1) / 2 input px from pixels."""
    xy = np.array([[[100.0, 70.0]]])
    items = dataset(tmp_path, discs(xy[0]), xy, section)
    seen = 0
    for epoch in range(30):
        items.set_epoch(epoch)
        item = items[0]
        x, y, visible = item["annotations"]["keypoints"][0, 0]
        grey = item["image"][0].astype(float)
        if visible == 0 or max(grey[0].max(), grey[-1].max(), grey[:, 0].max(), grey[:, -1].max()) > 0:
            continue  # the disc is cut off, so its centre of mass is another
        columns, rows = np.meshgrid(np.arange(96), np.arange(64))
        found = np.array([(grey * columns).sum(), (grey * rows).sum()]) / grey.sum()
        finer = 1 / item["scales"]
        # A disc's centre of mass is found to a few hundredths of a frame pixel.
        np.testing.assert_allclose(found - [x, y], (finer - 1) / 2, atol=0.05 * finer.max())
        seen += 1
    assert seen > 15


def test_one_warp_shows_what_augmenting_the_frame_and_cropping_it_would() -> None:
    image = smooth(np.random.default_rng(1))
    steps = read_augmentation(AUGMENTED | {"affine": {"p": 1.0, "rotation": 20, "scaling": [0.9, 1.1]}})
    aim = Aim(corners(np.array([80.0, 55.0, 40.0, 40.0])), 0, CropSpec(80, 80), steps.random_bbox_transform)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        warp = sample_warp(steps, SIZE, np.full((1, 1, 2), np.nan), rng)
        crop = plan_around(aim, warp, rng)
        twice = np.empty((80, 80, 3), np.uint8)
        crop.write(warp.image(image), twice)
        once = cut(image, warp, crop)
        # Two interpolations of a picture whose neighbouring pixels differ by a few grey levels, against one.
        assert np.abs(once.astype(int) - twice).max() <= 6


def test_a_turned_animal_at_the_border_is_not_cut_off(tmp_path: Path) -> None:
    xy = np.array([[[12.0, 12.0], [30.0, 20.0]]])
    items = dataset(tmp_path, smooth(np.random.default_rng(0)), xy, {"affine": {"p": 1.0, "rotation": 90}})
    for epoch in range(20):
        items.set_epoch(epoch)
        assert items[0]["annotations"]["keypoints"][0, :, 2].tolist() == [2, 2]


@pytest.mark.parametrize("section", [{}, {"affine": {"p": 1.0, "rotation": 5}}])
def test_what_lies_outside_is_black_before_normalisation(tmp_path: Path, section: dict[str, Any]) -> None:
    white = np.full((*SIZE, 3), 255, np.uint8)
    xy = np.array([[[3.0, 60.0], [8.0, 120.0]]])
    item = dataset(tmp_path, white, xy, section | {"normalize_images": True})[0]
    black = np.array([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    np.testing.assert_allclose(item["image"][:, 32, 0], black, rtol=1e-5)
    assert (item["image"][:, 32, 60] > 2).all()


@pytest.mark.parametrize("section", [{}, {"affine": {"p": 1.0, "rotation": 1e-4}}])
def test_without_context_nothing_shows_beside_the_box(tmp_path: Path, section: dict[str, Any]) -> None:
    white = np.full((*SIZE, 3), 255, np.uint8)
    square = {"top_down_crop": {"width": 90, "height": 90, "crop_with_context": False}}
    xy = np.array([[[60.0, 70.0], [110.0, 70.0]]])  # a box of 90 x 40 px
    item = dataset(tmp_path, white, xy, section | square)[0]
    lit = np.flatnonzero(item["image"][0].max(axis=1) > 127)
    assert (lit[0], lit[-1]) == (25, 64)


def test_jitter_is_even_about_the_box_and_stays_in_its_bounds() -> None:
    spec = RandomBBoxTransform(shift_factor=0.16, shift_prob=1.0, scale_factor=(0.75, 1.25))
    box = np.array([10.0, 20.0, 100.0, 50.0])
    rng = np.random.default_rng(0)
    drawn = np.array([jitter(box, spec, rng) for _ in range(2000)])
    scale = drawn[:, 2:] / box[2:]
    shift = (drawn[:, :2] + drawn[:, 2:] / 2 - (box[:2] + box[2:] / 2)) / box[2:]
    assert scale.min() >= 0.75 and scale.max() <= 1.25 and np.abs(shift).max() <= 0.16
    # The deviation within one sigma of a normal distribution is .54 of the bound: of 2000 draws the mean is known to
    # .003 in scale; DeepLabCut's numbers would shrink by .02.
    np.testing.assert_allclose(scale.mean(axis=0), 1, atol=0.01)
    np.testing.assert_allclose(shift.mean(axis=0), 0, atol=0.008)
    still = RandomBBoxTransform(shift_prob=0.0, scale_prob=0.0)
    np.testing.assert_allclose(jitter(box, still, rng), box)
    np.testing.assert_array_equal(jitter(box, RandomBBoxTransform(p=0.0), rng), box)


def test_epochs_differ_and_the_same_epoch_comes_again(tmp_path: Path) -> None:
    items = dataset(tmp_path, smooth(np.random.default_rng(0)), TWO, AUGMENTED | {"gaussian_noise": True})
    images = []
    for epoch in (1, 2, 1):
        items.set_epoch(epoch)
        images.append(items[1]["image"])
    np.testing.assert_array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])


def test_a_mirrored_crop_exchanges_left_and_right(tmp_path: Path) -> None:
    section = {"hflip": {"p": 1.0, "symmetries": [[0, 1]]}}
    labels = [
        dataset(tmp_path, smooth(np.random.default_rng(0)), TWO[:1], s)[0]["annotations"]["keypoints"][0]
        for s in ({}, section)
    ]
    # The second bodypart lies at the right of the first, and still does when both the image and the names turn.
    assert labels[0][0, 0] < labels[0][1, 0] and labels[1][0, 0] < labels[1][1, 0]
    assert labels[0][0, 1] < labels[0][1, 1] and labels[1][0, 1] > labels[1][1, 1]


def test_steps_for_whole_images_are_refused(tmp_path: Path) -> None:
    section = {"crop_sampling": {"width": 64, "height": 64}}
    with pytest.raises(ConfigError, match=r"data.train.crop_sampling: the crop of a top-down network has its own size"):
        dataset(tmp_path, smooth(np.random.default_rng(0)), TWO, section)
