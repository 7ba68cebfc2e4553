from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigpose.geometry import ScaleShift
from rigpose.grouping import group
from rigpose.grouping.identity import assign_identity
from rigpose.models.model_spec import DekrGrouping, ModelSpec, PafGrouping
from rigpose.poses import Poses

SEEDS = st.integers(0, 2**32 - 1)


def poses(seed: int, animals: int, individuals: int, *, missing: float = 0.0) -> Poses:
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.1, 1, (animals, 4)).astype(np.float32)
    score[rng.random((animals, 4)) < missing] = np.nan
    xy = np.where(np.isnan(score)[..., None], np.nan, rng.uniform(0, 99, (animals, 4, 2))).astype(np.float32)
    scores = np.where(np.isnan(score)[..., None], 0, rng.uniform(0, 1, (animals, 4, individuals))).astype(np.float32)
    return Poses(xy, score, identity_scores=scores)


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.integers(0, 4), st.integers(1, 4))
def test_the_individuals_are_the_best_assignment_of_all(seed: int, animals: int, individuals: int) -> None:
    given_poses = poses(seed, animals, individuals, missing=0.3)
    found = assign_identity(given_poses)
    assert found.identity is not None and found.identity_scores is not None
    named = found.identity[found.identity >= 0]
    assert len(named) == min(animals, individuals) and len(set(named)) == len(named)
    assert list(found.identity) == sorted(named) + [-1] * (animals - len(named))
    # Every animal is there once, with its own numbers.
    assert sorted(map(bytes, found.xy)) == sorted(map(bytes, given_poses.xy))

    likeness = (np.nan_to_num(found.score)[..., None] * found.identity_scores).mean(axis=1)
    got = sum(likeness[row, i] for row, i in enumerate(found.identity) if i >= 0)
    size = max(animals, individuals)
    square = np.zeros((size, size))
    square[:animals, :individuals] = likeness
    best = max(sum(square[r, c] for r, c in enumerate(order)) for order in itertools.permutations(range(size)))
    assert got == pytest.approx(best, abs=1e-5)


def test_a_missing_keypoint_does_not_break_the_assignment() -> None:
    """NaN scores stop DeepLabCut's assignment with an error."""
    given_poses = poses(0, 3, 3)
    given_poses.score[1] = np.nan
    found = assign_identity(given_poses)
    assert found.identity is not None and list(found.identity) == [0, 1, 2]


def test_identity_follows_the_peaks_of_each_animal() -> None:
    """Two animals of three parts; the peaks are in another order for every part."""
    xy = np.array([[10, 10], [20, 10], [10, 30], [210, 10], [220, 10], [210, 30]], np.float32).reshape(2, 3, 2)
    order = [[0, 1], [1, 0], [1, 0]]
    peaks = np.stack([[[*xy[a, part], 0.9 - 0.1 * a] for a in order[part]] for part in range(3)]).astype(np.float32)
    edges = ((0, 1), (0, 2), (1, 2))
    affinity = np.stack([np.equal.outer(order[i], order[j]) for i, j in edges]).astype(np.float32)
    # Animal 0 looks like individual 2, animal 1 like individual 0.
    looks = np.array([[0.1, 0.2, 0.9], [0.8, 0.1, 0.2]], np.float32)
    identity = np.stack([looks[order[part]] for part in range(3)])
    spec = ModelSpec(
        task="paf", architecture="resnet_50", keypoints=tuple("abc"), individuals=tuple("xyz"),
        grouping=PafGrouping(edges=edges, max_animals=3),
    )  # fmt: skip
    (found,) = group(spec, {"peaks": peaks[None], "affinity": affinity[None], "identity": identity[None]})
    assert found.identity is not None and found.identity_scores is not None
    assert list(found.identity) == [0, 2]
    np.testing.assert_array_equal(found.xy, xy[::-1])
    np.testing.assert_array_equal(found.identity_scores, np.repeat(looks[::-1, None], 3, axis=1))


def test_identity_follows_the_poses_of_dekr_and_unique_keypoints_the_frame() -> None:
    rng = np.random.default_rng(0)
    candidates = {
        "poses": (rng.uniform(0, 1, (2, 4, 3, 3)) + 500 * np.arange(4)[:, None, None]).astype(np.float32),
        "center": np.array([[0.2, 0.9, 0.5, 0], [0, 0, 0, 0]], np.float32),
        "identity": rng.uniform(0, 1, (2, 3, 4, 2)).astype(np.float32),
        "unique": np.array([[[1, 2, 0.5], [np.inf, 3, 0.5]]] * 2, np.float32),
    }
    spec = ModelSpec(
        task="dekr", architecture="dekr_w18", keypoints=tuple("abc"), individuals=("one", "two"),
        unique_keypoints=("lamp", "door"), grouping=DekrGrouping(max_animals=2),
    )  # fmt: skip
    found, empty = group(spec, candidates)
    assert found.identity is not None and found.identity_scores is not None
    assert list(found.identity) == [0, 1] and len(empty) == 0
    for pose, scores in zip(found.to_array(), found.identity_scores, strict=True):
        (candidate,) = [p for p in range(4) if np.array_equal(candidates["poses"][0, p], pose)]
        np.testing.assert_array_equal(scores, candidates["identity"][0, :, candidate])
    for frame in (found, empty):
        assert frame.unique is not None
        np.testing.assert_array_equal(frame.unique, [[1, 2, 0.5], [np.nan] * 3])
        moved = frame.moved(ScaleShift((2, 3), (10, 20)))
        assert moved.unique is not None and len(moved) == len(frame)
        np.testing.assert_array_equal(moved.unique[0], [12, 26, 0.5])


def test_optional_fields_must_have_a_row_per_animal() -> None:
    with pytest.raises(ValueError, match="identity needs one row per animal"):
        Poses(np.zeros((2, 3, 2)), np.zeros((2, 3)), identity=np.array([0]))
