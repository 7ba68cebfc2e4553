"""Conditions: labels made wrong as a bottom-up model would, and the crops around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rigpose.arrays import Floats
from rigpose.errors import ConfigError
from rigpose.models.crops import CropSpec, plan_crop
from rigpose_training.data.boxes import clipped, keypoint_boxes
from rigpose_training.data.conditions import ConditionSampler, GenSampling
from rigpose_training.data.dataset import PoseDataset
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.transforms import build_transforms
from rigpose_training.task import Task

POSE = np.array([[100, 100], [140, 100], [180, 100], [100, 140], [140, 140], [180, 140]], np.float32)
NEIGHBOUR = POSE + np.array([70, 30], np.float32)
NOBODY = NEIGHBOUR[None][:0]
AREA = 160.0 * 120.0
# Distances at which the keypoint similarity is .85, .5 and .1 with a sigma of .1.
RINGS = [0.0, 15.80, 32.63, 59.47, 1e9]


def draws(spec: GenSampling, neighbours: Floats, *, count: int = 300, pose: Floats = POSE) -> Floats:
    sampler, rng = ConditionSampler(spec, len(pose)), np.random.default_rng(0)
    return np.stack([sampler(pose, neighbours, AREA, rng) for _ in range(count)])


@pytest.mark.parametrize(
    ("neighbours", "shares"),
    # Of 9000 keypoints of DeepLabCut 3.0.2's sampler with the same poses and area.
    [(NOBODY, [0.676, 0.181, 0.113, 0.030]), (NEIGHBOUR[None], [0.628, 0.167, 0.092, 0.113])],
)
def test_errors_are_as_frequent_and_as_large_as_deeplabcuts(neighbours: Floats, shares: list[float]) -> None:
    distance = np.linalg.norm(draws(GenSampling(), neighbours, count=1000) - POSE, axis=2)
    found = np.histogram(distance, RINGS)[0] / distance.size
    # 6000 draws against 9000: the difference of two shares is known to .008 (one sigma), at most.
    np.testing.assert_allclose(found, shares, atol=0.025)


def only(**changes: Any) -> GenSampling:
    nothing: dict[str, Any] = {"jitter_prob": 0.0, "swap_prob": 0.0, "inv_prob": 0.0, "miss_prob": 0.0}
    return GenSampling(**(nothing | changes))


def test_each_kind_of_error_lands_where_it_should() -> None:
    good = np.linalg.norm(draws(only(), NOBODY) - POSE, axis=2)
    assert good.max() <= RINGS[1] and good.min() < 1
    jitter = np.linalg.norm(draws(only(jitter_prob=1.0), NOBODY) - POSE, axis=2)
    # Float32 rounds the places, not the distances.
    assert jitter.min() >= RINGS[1] - 0.01 and jitter.max() <= RINGS[2] + 0.01
    miss = np.linalg.norm(draws(only(miss_prob=1.0), NOBODY)[..., None, :] - POSE, axis=3)
    assert miss[:, range(6), range(6)].min() > RINGS[2] - 0.01
    pairs = only(keypoints_symmetry=((0, 2), (3, 5)), inv_prob=1.0)
    inverted = draws(pairs, NOBODY)
    assert np.linalg.norm(inverted[:, [0, 2, 3, 5]] - POSE[[2, 0, 5, 3]], axis=2).max() <= RINGS[2]
    assert np.isnan(inverted[:, [1, 4]]).all()  # without a partner, and nothing else may happen
    swapped = draws(only(swap_prob=1.0), NEIGHBOUR[None])
    nearest = np.linalg.norm(swapped[..., None, :] - NEIGHBOUR, axis=3).min(axis=2)
    assert nearest.max() <= RINGS[2]


def test_unlabelled_keypoints_stay_missing() -> None:
    pose = POSE.copy()
    pose[2] = np.nan
    drawn = draws(GenSampling(), NEIGHBOUR[None], count=50, pose=pose)
    assert np.isnan(drawn[:, 2]).all() and not np.isnan(drawn[:, [0, 1, 3, 4, 5]]).any()


@pytest.mark.parametrize(
    "spec", [GenSampling(jitter_prob=0.9), GenSampling(miss_prob=-0.1), GenSampling(keypoint_sigmas=(0.1, 0.2))]
)
def test_sampling_that_makes_no_sense_is_refused(spec: GenSampling) -> None:
    with pytest.raises(ConfigError, match=r"data\.gen_sampling"):
        ConditionSampler(spec, 6)


def conditional(tmp_path: Path, section: dict[str, Any], **changes: Any) -> PoseDataset:
    path = tmp_path / "image.png"
    image = np.random.default_rng(0).integers(1, 256, (300, 400, 3), dtype=np.uint8)
    cv2.imwrite(str(path), image)
    labelled = LabelledImage(path, np.stack([POSE, NEIGHBOUR]), np.empty((0, 2), np.float32), (300, 400))
    crop = {"width": 128, "height": 128, "crop_with_context": False}
    arguments: dict[str, Any] = {
        "bodyparts": [f"part{i}" for i in range(6)],
        "individuals": ["a", "b"],
        "transform": build_transforms({"top_down_crop": crop} | section),
        "task": Task.COND_TOP_DOWN,
        "bbox_margin": 25,
    }
    return PoseDataset([labelled], **(arguments | changes))


def test_a_conditional_item_is_the_rigs_crop_around_its_condition(tmp_path: Path) -> None:
    items = conditional(tmp_path, {}, mode="test")
    assert len(items) == 2
    item, again = items[1], items[1]
    assert item["conditions"].shape == (6, 3) and item["conditions"].dtype == np.float32
    np.testing.assert_array_equal(item["conditions"], again["conditions"])
    assert not np.array_equal(item["conditions"], items[0]["conditions"])
    assert set(np.unique(item["conditions"][:, 2])) <= {0.0, 1.0}
    condition = item["conditions"][:, :2] * item["scales"] + item["offsets"]
    box = clipped(keypoint_boxes(condition, 25), (300, 400))
    crop = plan_crop(box, (300, 400), CropSpec(128, 128, 0, with_context=False))
    # Only rounding to float32 lies between; the box's corners are not near a half.
    assert tuple(item["offsets"]) == crop.to_frame.shift and tuple(item["scales"]) == crop.to_frame.scale
    rig = np.empty((128, 128, 3), np.uint8)
    crop.write(cv2.imread(str(tmp_path / "image.png"))[..., ::-1].copy(), rig)  # type: ignore[index]
    np.testing.assert_array_equal(item["image"], rig.transpose(2, 0, 1))
    keypoints = item["annotations"]["keypoints"]
    assert keypoints.shape == (1, 6, 3) and item["annotations"]["individual_ids"].tolist() == [1]
    labels = keypoints[0, :, :2] * item["scales"] + item["offsets"]
    seen = keypoints[0, :, 2] > 0
    np.testing.assert_allclose(labels[seen], NEIGHBOUR[seen], atol=1e-3)


def test_conditions_move_with_the_image_and_differ_by_epoch(tmp_path: Path) -> None:
    sure = only()
    still = conditional(tmp_path, {}, gen_sampling=sure)
    moving = conditional(tmp_path, {"affine": {"p": 1.0, "rotation": 90, "scaling": [0.5, 2.0]}}, gen_sampling=sure)
    apart = []
    for items in (still, moving):
        for epoch in range(4):
            items.set_epoch(epoch)
            item = items[0]
            keypoints, conditions = item["annotations"]["keypoints"][0], item["conditions"]
            both = (keypoints[:, 2] > 0) & (conditions[:, 2] > 0)
            assert both.sum() >= 3
            gap = np.linalg.norm((keypoints - conditions)[both, :2] * item["scales"], axis=1)
            apart.append(gap.max())
    assert max(apart[:4]) <= RINGS[1] and max(apart[4:]) <= 2 * RINGS[1]
    assert len({round(float(a), 4) for a in apart}) == 8


def test_an_animal_alone_swaps_with_nobody(tmp_path: Path) -> None:
    swapping = only(swap_prob=0.95)
    together = conditional(tmp_path, {}, gen_sampling=swapping)
    alone = conditional(tmp_path, {}, gen_sampling=swapping)
    alone.images[0].boxes[1] = [300, 250, 10, 10]  # type: ignore[index]  # not near the first animal's box
    gaps = []
    for items in (together, alone):
        item = items[0]
        condition = item["conditions"][:, :2] * item["scales"] + item["offsets"]
        gaps.append(np.linalg.norm(condition - POSE, axis=1)[item["conditions"][:, 2] > 0])
    assert gaps[0].max() > RINGS[2] and gaps[1].max() <= RINGS[1]
