from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigpose.arrays import Floats
from rigpose.grouping import GROUPERS
from rigpose.models.model_spec import DekrGrouping, ModelSpec
from rigpose.poses import Poses
from rigpose.schema import parse, to_mapping

SEEDS = st.integers(0, 2**32 - 1)


def choose(poses: Floats, center: Floats, grouping: DekrGrouping) -> Poses:
    (found,) = GROUPERS["dekr"]({"poses": poses[None], "center": center[None]}, grouping)
    return found


def drawn(seed: int, count: int, *, spread: float = 60.0) -> tuple[Floats, Floats]:
    """Poses (P, 5, 3) about 40 px wide, on ``spread`` px of place, and centre scores (P,), all different."""
    rng = np.random.default_rng(seed)
    body = rng.normal(0, 20, (5, 2))
    xy = body + rng.normal(0, 1.5, (count, 5, 2)) + rng.uniform(0, spread, (count, 1, 2))
    poses = np.concatenate([xy, rng.uniform(0, 1, (count, 5, 1))], axis=2).astype(np.float32)
    return poses, ((rng.permutation(count) + 1) / (count + 1)).astype(np.float32)


def by_definition(poses: Floats, center: Floats, grouping: DekrGrouping) -> list[int]:
    """DeepLabCut's rule, pose by pose: which candidates stay, the worst centre first."""
    best = sorted(np.flatnonzero(center > 0), key=lambda p: -center[p])[: grouping.max_animals]
    kept = []
    for late, j in enumerate(best):
        extent = np.ptp(poses[j, :, :2], axis=0)
        near = grouping.nms_threshold * max(np.hypot(*extent), 1)
        distances = [np.hypot(*(poses[i, :, :2] - poses[j, :, :2]).T) for i in best[:late]]
        if not any((d < near).any() for d in distances):
            kept.append(j)
    return kept[::-1]


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(1, 8), st.integers(1, 6))
def test_the_poses_that_stay_are_those_of_the_rule(seed: int, count: int, animals: int) -> None:
    poses, center = drawn(seed, count)
    grouping = DekrGrouping(max_animals=animals)
    found = choose(poses, center, grouping)
    expected = by_definition(poses, center, grouping)
    np.testing.assert_array_equal(found.to_array(), poses[expected])
    assert found.animal_score is not None
    np.testing.assert_array_equal(found.animal_score, center[expected])


def test_the_rule_drops_some_and_keeps_some() -> None:
    """Otherwise the comparison above would say nothing."""
    counts = []
    for seed in range(40):
        poses, center = drawn(seed, 8)
        counts.append(len(choose(poses, center, DekrGrouping(max_animals=8))))
    assert min(counts) < 8 and 2 < np.mean(counts) < 8


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 8))
def test_the_order_of_the_candidates_decides_nothing(seed: int, count: int) -> None:
    poses, center = drawn(seed, count)
    if count > 2:
        center[:2] = center[2]  # equal scores, too
    order = np.random.default_rng(seed).permutation(count)
    grouping = DekrGrouping(max_animals=4)
    one, other = choose(poses, center, grouping), choose(poses[order], center[order], grouping)
    np.testing.assert_array_equal(one.to_array(), other.to_array())


def test_a_pose_that_was_dropped_still_drops_others() -> None:
    pose = np.array([[0, 0, 1], [40, 0, 1], [0, 30, 1]], np.float32)  # diagonal 50 px, so 2.5 px are near
    chain = pose + np.array([[[0, 0, 0]], [[2, 0, 0]], [[4, 0, 0]]], np.float32)
    found = choose(chain, np.array([0.9, 0.8, 0.7], np.float32), DekrGrouping(max_animals=3))
    np.testing.assert_array_equal(found.to_array(), chain[:1])
    free = choose(chain, np.array([0.9, 0.8, 0.7], np.float32), DekrGrouping(max_animals=3, apply_pose_nms=False))
    np.testing.assert_array_equal(free.to_array(), chain)


def test_a_frame_without_centres_has_no_animals() -> None:
    poses, center = drawn(0, 4)
    found = choose(poses, 0 * center, DekrGrouping(max_animals=3))
    assert found.xy.shape == (0, 5, 2)
    assert not len(choose(poses, -center, DekrGrouping(max_animals=3)))
    assert not len(choose(poses[:0], center[:0], DekrGrouping(max_animals=3)))


def test_the_number_of_animals_and_the_threshold_change_at_run_time() -> None:
    poses, center = drawn(1, 6, spread=4000.0)
    spec = ModelSpec(
        task="dekr", architecture="dekr_w18", keypoints=tuple("abcde"), individuals=tuple("xyz"),
        grouping=DekrGrouping(max_animals=3),
    )  # fmt: skip
    assert parse(ModelSpec, to_mapping(spec), where="manifest.model") == spec
    for changes, count in (({}, 3), ({"max_animals": 5}, 5), ({"min_center_score": 0.8}, 1)):
        grouping = spec.regrouped(**changes).grouping
        assert isinstance(grouping, DekrGrouping)
        assert len(choose(poses, center, grouping)) == count


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_missing_keypoints_or_no_animals(value: float) -> None:
    poses, center = drawn(2, 4, spread=4000.0)
    poses[0, 1, 2] = value  # a keypoint
    poses[1, :, 0] = value  # a whole pose
    center[2] = value
    found = choose(poses, center, DekrGrouping(max_animals=4))
    assert len(found) == 2
    (row,) = np.flatnonzero(np.isnan(found.score).any(axis=1))
    np.testing.assert_array_equal(np.isnan(found.to_array()[row]).all(axis=1), [False, True, False, False, False])
    assert np.isfinite(found.to_array()[1 - row]).all()
