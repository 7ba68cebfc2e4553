"""What holds for the grouping of every task."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigpose.arrays import Floats
from rigpose.grouping import GROUPERS, group
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DekrGrouping, ModelSpec, PafGrouping, Task
from rigpose.poses import Poses

SEEDS = st.integers(0, 2**32 - 1)
PARTS, SLOTS, INDIVIDUALS = 4, 6, 3
EDGES = tuple(itertools.combinations(range(PARTS), 2))


def spec(task: Task, animals: int = INDIVIDUALS) -> ModelSpec:
    grouping = {"paf": PafGrouping(edges=EDGES, max_animals=animals), "dekr": DekrGrouping(max_animals=animals)}
    return ModelSpec(
        task=task,
        architecture="resnet_50",
        keypoints=tuple("abcd"),
        individuals=tuple("xyz"),
        unique_keypoints=("lamp", "door"),
        crop=CropSpec(256, 256) if "top_down" in task else None,
        grouping=grouping.get(task),
    )


def drawn(task: Task, seed: int, frames: int = 1) -> dict[str, Floats]:
    """Candidates that say nothing, of which every rule has something to decide; no two scores are equal."""
    rng = np.random.default_rng(seed)

    def different(*shape: int) -> Floats:
        return (rng.permutation(np.prod(shape)).reshape(shape) + 1) / (np.prod(shape) + 1)

    def places(*shape: int) -> Floats:
        return np.concatenate([rng.uniform(0, 60, (*shape, 2)), different(*shape)[..., None]], axis=-1)

    found = {"unique": places(frames, 2)}
    if task == "paf":
        found |= {"peaks": places(frames, PARTS, SLOTS), "affinity": different(frames, len(EDGES), SLOTS, SLOTS)}
        found["identity"] = different(frames, PARTS, SLOTS, INDIVIDUALS)
    elif task == "dekr":
        found |= {"poses": places(frames, SLOTS, PARTS), "center": different(frames, SLOTS)}
        found["poses"][..., :2] *= 20  # far from each other, or few would stay
        found["identity"] = different(frames, PARTS, SLOTS, INDIVIDUALS)
    else:
        found |= {"keypoints": places(frames, PARTS), "identity": different(frames, PARTS, 1, INDIVIDUALS)}
    return {name: values.astype(np.float32) for name, values in found.items()}


def assert_sound(poses: Poses) -> None:
    """Every number is finite, but for missing keypoints, which are NaN in all of theirs."""
    for keypoints in (poses.to_array(), poses.unique):
        assert keypoints is not None
        missing = np.isnan(keypoints).all(axis=-1)
        assert np.isfinite(keypoints[~missing]).all()
    assert poses.identity is not None and poses.identity_scores is not None
    assert np.isfinite(poses.identity_scores).all() and not poses.identity_scores[np.isnan(poses.score)].any()
    named = poses.identity[poses.identity >= 0]
    assert len(set(named)) == len(named) == min(len(poses), INDIVIDUALS) and (named < INDIVIDUALS).all()
    if poses.animal_score is not None:
        assert np.isfinite(poses.animal_score).all()


@pytest.mark.parametrize("task", GROUPERS)
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, share=st.sampled_from([0.0, 0.05, 0.3, 1.0]), value=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_no_value_that_is_no_number_comes_out(task: Task, seed: int, share: float, value: float) -> None:
    rng = np.random.default_rng(seed)
    broken = drawn(task, seed, frames=2)
    for values in broken.values():
        values[rng.random(values.shape) < share] = value
    for poses in group(spec(task), broken):
        assert_sound(poses)
        if task in ("paf", "dekr"):
            assert len(poses) <= INDIVIDUALS and (~np.isnan(poses.score)).any(axis=1).all()
            assert share < 1 or not len(poses)
        else:
            assert len(poses) == 1 and np.isnan(poses.score).any() == (share == 1 or np.isnan(poses.xy).any())


@pytest.mark.parametrize("task", ["paf", "dekr"])
@settings(max_examples=80, deadline=None)
@given(seed=SEEDS, animals=st.integers(1, SLOTS))
def test_any_order_of_the_candidates_gives_the_same_animals(task: Task, seed: int, animals: int) -> None:
    rng = np.random.default_rng(seed)
    given_candidates = drawn(task, seed)
    moved = dict(given_candidates)
    part = np.arange(PARTS)[:, None]
    if task == "paf":
        order = rng.permuted(np.tile(np.arange(SLOTS), (PARTS, 1)), axis=1)
        moved["peaks"] = moved["peaks"][:, part, order]
        moved["identity"] = moved["identity"][:, part, order]
        affinity = [moved["affinity"][0, e][np.ix_(order[i], order[j])] for e, (i, j) in enumerate(EDGES)]
        moved["affinity"] = np.stack(affinity)[None]
    else:
        order = rng.permutation(SLOTS)
        moved |= {"poses": moved["poses"][:, order], "center": moved["center"][:, order]}
        moved["identity"] = moved["identity"][:, :, order]
    (one,), (other,) = (group(spec(task, animals), each) for each in (given_candidates, moved))
    assert len(one)
    for name in ("xy", "score", "animal_score", "identity", "identity_scores"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("task", ["paf", "dekr"])
@pytest.mark.parametrize("animals", [1, 2, SLOTS, 5 * SLOTS])
def test_a_frame_has_at_most_as_many_animals_as_are_asked_for(task: Task, animals: int) -> None:
    counts = [len(group(spec(task, animals), drawn(task, seed))[0]) for seed in range(20)]
    assert max(counts) <= min(animals, SLOTS)
    assert max(counts) == animals if animals < 3 else max(counts) > 2


@pytest.mark.parametrize("task", GROUPERS)
def test_frames_of_a_batch_do_not_touch_each_other(task: Task) -> None:
    batch = drawn(task, 1, frames=3)
    whole = group(spec(task), batch)
    alone = [group(spec(task), {name: values[b : b + 1] for name, values in batch.items()})[0] for b in range(3)]
    for one, other in zip(whole, alone, strict=True):
        np.testing.assert_array_equal(one.to_array(), other.to_array())
        np.testing.assert_array_equal(one.identity, other.identity)


@pytest.mark.parametrize("task", ["paf", "dekr"])
def test_the_candidates_are_left_as_they_were(task: Task) -> None:
    candidates = drawn(task, 2)
    candidates["identity"][..., 0] = np.nan
    candidates["affinity" if task == "paf" else "center"][0, 0] = np.nan
    before = {name: values.copy() for name, values in candidates.items()}
    group(spec(task), candidates)
    for name, values in candidates.items():
        np.testing.assert_array_equal(values, before[name])
