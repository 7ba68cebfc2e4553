from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_training import DrawnLoader, tiny_config

from rigpose.errors import MediaError, TrainingError
from rigpose_training.data.batches import Batching, TrainingBatches, collate
from rigpose_training.data.dataset import PoseDataset
from rigpose_training.data.loaders import LabelledImage
from rigpose_training.data.transforms import build_transforms
from rigpose_training.task import Task


@pytest.fixture
def dataset(tmp_path: Path) -> PoseDataset:
    loader = DrawnLoader(tmp_path / "train")
    return loader.create_dataset(build_transforms(tiny_config()["data"]["train"]), "train")


def plain(images: list[LabelledImage], **changes: Any) -> PoseDataset:
    arguments: dict[str, Any] = {"bodyparts": ["nose", "tail"], "transform": build_transforms({})} | changes
    return PoseDataset(images, **arguments)


def test_an_item_has_deeplabcuts_fields(dataset: PoseDataset) -> None:
    item = dataset[1]
    assert item["image"].shape == (3, 64, 64) and item["image"].dtype == np.float32
    assert item["path"].endswith("train1.png")
    assert item["original_size"].tolist() == [64, 64, 3]
    assert item["offsets"].tolist() == [0, 0] and item["scales"].tolist() == [1, 1]
    assert item["annotations"]["keypoints"].shape == (1, 2, 3)
    assert item["annotations"]["keypoints_unique"].shape == (0, 3)


def test_missing_keypoints_have_visibility_zero_and_animals_fill_up_to_the_projects_number(tmp_path: Path) -> None:
    image = DrawnLoader(tmp_path).images("train")[0]
    half = image.xy.copy()
    half[0, 1] = np.nan
    unique = np.array([[5.0, 6.0], [np.nan, np.nan]], np.float32)
    items = plain(
        [replace(image, xy=half, unique_xy=unique)], individuals=["a", "b"], unique_bodyparts=["lamp", "door"]
    )
    labels = items[0]["annotations"]
    assert labels["keypoints"][..., 2].tolist() == [[2, 0], [0, 0]]
    np.testing.assert_array_equal(labels["keypoints"][0, 0, :2], image.xy[0, 0])
    assert not labels["keypoints"][1].any()
    assert labels["individual_ids"].tolist() == [0, -1]
    assert labels["keypoints_unique"].tolist() == [[5, 6, 2], [0, 0, 0]]


def test_colours_reach_the_network_in_rgb(tmp_path: Path) -> None:
    import cv2

    image = DrawnLoader(tmp_path).images("train")[0]
    cv2.imwrite(str(image.path), np.full((64, 64, 3), (10, 20, 30), np.uint8))  # OpenCV writes B, G, R
    assert plain([image])[0]["image"][:, 0, 0].tolist() == [30, 20, 10]


def all_images(batches: TrainingBatches, epoch: int) -> tuple[list[str], torch.Tensor]:
    seen = list(batches.epoch(epoch))
    return [path for batch in seen for path in batch["path"]], torch.cat([batch["image"] for batch in seen])


def test_an_epoch_is_the_same_for_any_number_of_workers(dataset: PoseDataset) -> None:
    alone = TrainingBatches(dataset, Batching(batch_size=2, seed=3))
    many = TrainingBatches(dataset, Batching(batch_size=2, seed=3, workers=2))
    for epoch in (1, 2):  # workers live on: they must hear of the second epoch
        paths, images = all_images(alone, epoch)
        others, same = all_images(many, epoch)
        assert paths == others
        assert torch.equal(images, same)


def test_epochs_and_seeds_differ(dataset: PoseDataset) -> None:
    batches = TrainingBatches(dataset, Batching(batch_size=2, seed=3))
    dataset.set_epoch(1)
    first = dataset[0]["image"]
    dataset.set_epoch(2)
    assert not np.array_equal(first, dataset[0]["image"])
    orders = [all_images(batches, epoch)[0] for epoch in range(1, 9)]
    assert len({tuple(order) for order in orders}) > 4  # of 120 orders
    assert all(len(set(order)) == 5 for order in orders)


def test_skipped_batches_leave_the_rest_of_the_epoch_as_it_was(dataset: PoseDataset) -> None:
    batches = TrainingBatches(dataset, Batching(batch_size=2, seed=3))
    whole = list(batches.epoch(1))
    rest = list(batches.epoch(1, skip=1))
    assert [b["path"] for b in rest] == [b["path"] for b in whole[1:]]
    assert torch.equal(rest[0]["image"], whole[1]["image"])
    assert len(list(batches.epoch(2))) == 3


def test_decoded_images_are_kept_within_the_bound(dataset: PoseDataset) -> None:
    one_image = 64 * 64 * 3
    cache, paths = dataset.cache, [image.path for image in dataset.images]
    cache.most_bytes = 2 * one_image
    first = cache.read(paths[0])
    for path in paths:
        cache.read(path)
    assert cache.read(paths[0]) is first
    assert cache.read(paths[4]) is not cache.read(paths[4])


def test_a_missing_and_a_broken_image_are_named(tmp_path: Path) -> None:
    image = DrawnLoader(tmp_path).images("train")[0]
    image.path.write_bytes(image.path.read_bytes()[:50])
    with pytest.raises(MediaError, match=r"train0.png: is no image"):
        plain([image])[0]
    image.path.unlink()
    with pytest.raises(MediaError, match=r"train0.png: .*No such file.*put it back"):
        plain([image])[0]


def test_a_batch_of_one_size_is_not_copied_and_is_that_of_its_items(dataset: PoseDataset) -> None:
    items = dataset.__getitems__([3, 1])
    batch = collate(items)["image"]
    assert np.shares_memory(batch.numpy(), items[0]["image"])
    for image, index in zip(batch, (3, 1), strict=True):
        np.testing.assert_array_equal(image, dataset[index]["image"])
    turned = collate(items[::-1])["image"]
    assert torch.equal(turned, batch.flip(0)) and not np.shares_memory(turned.numpy(), batch.numpy())


def test_images_of_different_sizes_make_no_batch() -> None:
    items = [{"image": np.zeros((3, 4, 5), np.float32)}, {"image": np.zeros((3, 6, 5), np.float32)}]
    with pytest.raises(TrainingError, match=r"5 x 4, 5 x 6 px .*crop_sampling"):
        collate(items)


def test_boxes_surround_the_keypoints_and_are_zero_where_there_is_no_animal(tmp_path: Path) -> None:
    image = replace(DrawnLoader(tmp_path).images("train")[0], xy=np.array([[[10, 20], [30, 60]]], np.float32))
    labels = plain([image], individuals=["a", "b"], task=Task.DETECT, bbox_margin=12)[0]["annotations"]
    np.testing.assert_array_equal(labels["boxes"], [[0, 8, 42, 56], [0, 0, 0, 0]])  # inside 64 x 64 px
    assert labels["area"].tolist() == [42 * 56, 0]
    assert labels["labels"].tolist() == [1, 0] and labels["is_crowd"].tolist() == [0, 0]
    own = replace(image, boxes=np.array([[1.0, 2, 3, 4]]))
    np.testing.assert_array_equal(plain([own], bbox_margin=12)[0]["annotations"]["boxes"], [[1, 2, 3, 4]])


def test_keypoints_that_nobody_looked_for_are_marked(tmp_path: Path) -> None:
    xy = np.array([[[10, 20], [np.nan, np.nan]]], np.float32)
    image = replace(DrawnLoader(tmp_path).images("train")[0], xy=xy, unjudged=np.array([[False, True]]))
    section = {"hflip": {"p": 1.0, "symmetries": [[0, 1]]}}
    for transform, visible in ((build_transforms({}), [2, -1]), (build_transforms(section), [-1, 2])):
        assert plain([image], transform=transform)[0]["annotations"]["keypoints"][0, :, 2].tolist() == visible
