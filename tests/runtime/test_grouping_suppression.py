from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigpose.arrays import Floats
from rigpose.grouping.suppression import keep_boxes, keep_poses, without_doubles
from rigpose.poses import Poses

SEEDS = st.integers(0, 2**32 - 1)


def drawn_boxes(seed: int, count: int) -> tuple[Floats, Floats]:
    """Boxes on whole pixels, so that many overlap exactly as far as a threshold, and scores with ties."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 8, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(0, 12, (count, 2))], axis=1)
    return boxes.astype(np.float32), (rng.integers(1, 5, count) / 4).astype(np.float32)


def overlap(one: Floats, other: Floats) -> float:
    """Intersection over union by counting the pixels of both boxes."""
    grid = np.zeros((2, 24, 24), bool)
    for table, (left, top, right, bottom) in zip(grid, (one.astype(int), other.astype(int)), strict=True):
        table[top:bottom, left:right] = True
    union = (grid[0] | grid[1]).sum()
    return float((grid[0] & grid[1]).sum() / union) if union else 0.0


def drawn_poses(seed: int, count: int) -> Poses:
    """Animals of 5 keypoints, about 30 px wide, on the same 60 px; some keypoints are missing."""
    rng = np.random.default_rng(seed)
    xy = rng.normal(0, 15, (5, 2)) + rng.normal(0, 4, (count, 5, 2)) + rng.uniform(0, 30, (count, 1, 2))
    score = rng.uniform(0.1, 1, (count, 5))
    missing = rng.random((count, 5)) < 0.25
    xy[missing], score[missing] = np.nan, np.nan
    return Poses(xy.astype(np.float32), score.astype(np.float32))


def similarity(better: Floats, worse: Floats) -> float:
    """COCO's, keypoint by keypoint, with 1 px around the box of the worse one."""
    there = worse[~np.isnan(worse[:, 0])].astype(float)
    area = np.prod(np.ptp(there, axis=0) + 2)
    terms = [
        0.0 if np.isnan(a).any() else np.exp(-((a - b) ** 2).sum() / (2 * area * 0.2**2))
        for a, b in zip(better.astype(float), worse.astype(float), strict=True)
        if not np.isnan(b).any()
    ]
    return float(np.mean(terms))


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(0, 9), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_the_boxes_that_stay_are_those_of_the_definition(seed: int, count: int, iou: float) -> None:
    boxes, score = drawn_boxes(seed, count)
    kept: list[int] = []
    for row in sorted(range(count), key=lambda row: -score[row]):
        if not any(overlap(boxes[row], boxes[better]) > iou for better in kept):
            kept.append(row)
    np.testing.assert_array_equal(keep_boxes(boxes, score, iou=iou), kept)


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(0, 8), st.sampled_from([0.2, 0.5, 0.8]), st.booleans())
def test_the_poses_that_stay_are_those_of_the_definition(seed: int, count: int, oks: float, whole: bool) -> None:  # noqa: FBT001
    poses = drawn_poses(seed, count)
    size = (~np.isnan(poses.score)).sum(axis=1)
    rank = np.array([np.nanmean(row) if n else 0 for row, n in zip(poses.score, size, strict=True)])
    if whole:
        rank = np.random.default_rng(seed + 1).permutation(count) / 10.0
        poses = Poses(poses.xy, poses.score, animal_score=rank)
    kept: list[int] = []
    for row in sorted(range(count), key=lambda row: -rank[row]):
        if not size[row] or not any(similarity(poses.xy[better], poses.xy[row]) >= oks for better in kept):
            kept.append(row)
    np.testing.assert_array_equal(keep_poses(poses, oks=oks), kept)


def test_the_definitions_drop_some_and_keep_some() -> None:
    """Otherwise the comparisons above would say nothing."""
    boxes = [len(keep_boxes(*drawn_boxes(seed, 9), iou=0.25)) for seed in range(30)]
    poses = [len(keep_poses(drawn_poses(seed, 8), oks=0.5)) for seed in range(30)]
    assert 2 < np.mean(boxes) < 8 and 2 < np.mean(poses) < 7


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_the_order_of_what_is_given_decides_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, _ = drawn_boxes(seed, 9)
    score, order = rng.permutation(9) / 9.0, rng.permutation(9)
    moved = keep_boxes(boxes[order], score[order], iou=0.3)
    np.testing.assert_array_equal(order[moved], keep_boxes(boxes, score, iou=0.3))
    poses, order = drawn_poses(seed, 8), rng.permutation(8)
    np.testing.assert_array_equal(order[keep_poses(poses.take(order), oks=0.5)], keep_poses(poses, oks=0.5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_no_box_and_no_keypoint(value: float) -> None:
    boxes = np.array([[0, 0, 9, 9], [50, 0, 59, 9], [0, 50, 9, 59], [9, 9, 5, 5]], np.float32)
    score = np.array([0.9, 0.8, value, 0.7], np.float32)
    boxes[0, 2] = value
    np.testing.assert_array_equal(keep_boxes(boxes, score, iou=0.5), [1])

    xy = np.array([[[0, 0], [9, 0], [0, 9]]] * 4, np.float32)
    confidence = np.array([[0.9] * 3, [0.8] * 3, [0.95] * 3, [1.0] * 3], np.float32)
    xy[2, 1:, 0] = value  # one keypoint is left
    confidence[3, :2] = value
    # A keypoint alone is a third of the first animal.
    np.testing.assert_array_equal(keep_poses(Poses(xy, confidence), oks=0.5), [3, 2, 0])
    xy[2:] = value
    np.testing.assert_array_equal(keep_poses(Poses(xy, confidence), oks=0.5), [0, 2, 3])
    ranked = Poses(xy[:2], confidence[:2], animal_score=np.array([value if value < 0 else np.nan, 0.1]))
    np.testing.assert_array_equal(keep_poses(ranked, oks=0.5), [1])


def test_a_pose_on_a_line_can_be_compared() -> None:
    line = np.array([[[0, 5], [20, 5], [40, 5]], [[0, 5], [20, 5], [40, 6]], [[0, 95], [20, 95], [40, 95]]], np.float32)
    score = np.array([[0.5] * 3, [0.9] * 3, [0.7] * 3], np.float32)
    np.testing.assert_array_equal(keep_poses(Poses(line, score), oks=0.5), [1, 2])


def test_animals_of_one_keypoint_are_alike_where_they_are_close() -> None:
    xy = np.array([[[10, 10]], [[14, 10]], [[90, 10]]], np.float32)
    # 4 px in a box of 80 px: exp(-16 / (2 * 6400 * 0.04)) = 0.97.
    np.testing.assert_array_equal(keep_poses(Poses(xy, np.full((3, 1), 0.5, np.float32)), oks=0.9), [0, 2])


def test_the_animals_that_stay_keep_their_order() -> None:
    xy = np.array([[[0, 5], [20, 5]], [[90, 5], [110, 5]], [[0, 5], [20, 5]]], np.float32)
    score = np.array([[0.5, 0.5], [0.9, 0.9], [0.2, 0.2]], np.float32)
    kept = without_doubles(Poses(xy, score, boxes=np.arange(12.0).reshape(3, 4)), oks=0.5)
    np.testing.assert_array_equal(kept.xy, xy[:2])
    assert kept.boxes is not None and kept.boxes.shape == (2, 4)
    apart = Poses(xy[:2], score[:2])
    assert without_doubles(apart, oks=0.5) is apart
