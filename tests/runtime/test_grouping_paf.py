from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from rigpose.arrays import Floats
from rigpose.errors import ConfigError
from rigpose.grouping import GROUPERS
from rigpose.grouping.links import assign
from rigpose.grouping.surplus import not_covered
from rigpose.models.model_spec import ModelSpec, PafGrouping
from rigpose.poses import Poses
from rigpose.schema import parse, to_mapping

RECORDED = [json.loads(line) for line in Path(__file__).with_name("recorded_assemblies.jsonl").read_text().splitlines()]
SEEDS = st.integers(0, 2**32 - 1)


def assemble(peaks: Floats, affinity: Floats, grouping: PafGrouping) -> Poses:
    (poses,) = GROUPERS["paf"]({"peaks": peaks[None], "affinity": affinity[None]}, grouping)
    return poses


def all_pairs(parts: int) -> tuple[tuple[int, int], ...]:
    return tuple(itertools.combinations(range(parts), 2))


def drawn(
    seed: int, *, animals: int, parts: int, slots: int, missing: float = 0.0, confused: float = 0.0
) -> tuple[Floats, Floats, Floats]:
    """Candidates (K, P, 3), (E, P, P) of animals far from each other, and the animals (N, K, 2), NaN where missing.

    No two scores and no two affinities are equal.
    """
    rng = np.random.default_rng(seed)
    truth = 200.0 * np.arange(animals)[:, None, None] + rng.uniform(0, 90, (animals, parts, 2))
    truth[rng.random((animals, parts)) < missing] = np.nan
    peaks = np.full((parts, slots, 3), np.nan, np.float32)
    owner = np.full((parts, slots), -1)
    for part in range(parts):
        there = np.flatnonzero(~np.isnan(truth[:, part, 0]))
        place = rng.permutation(slots)[: len(there)]
        peaks[part, place, :2], owner[part, place] = truth[there, part], there
    score = rng.permutation(parts * slots).reshape(parts, slots) / (parts * slots) * 0.8 + 0.15
    peaks[..., 2] = np.where(owner >= 0, score, np.nan)
    first, second = np.array(all_pairs(parts)).T
    same = owner[first][:, :, None] == owner[second][:, None, :]
    same ^= rng.random(same.shape) < confused
    spread = rng.permutation(same.size).reshape(same.shape) / same.size
    affinity = np.where(same, 0.6 + 0.4 * spread, 0.04 * spread).astype(np.float32)
    return peaks, affinity, truth


def same_animals(found: Poses, expected: Floats) -> bool:
    """Whether the poses are the animals (N, K, 2), in any order."""

    def rows(animals: Floats) -> list[bytes]:
        return sorted(np.nan_to_num(animal, nan=-1.0).astype(np.float32).tobytes() for animal in animals)

    return rows(found.xy) == rows(expected)


@pytest.mark.parametrize("number", range(len(RECORDED)))
def test_crowded_frames_give_the_animals_of_deeplabcuts_assembler(number: int) -> None:
    frame = RECORDED[number]
    parts, slots = len(frame["peaks"]), max(map(len, frame["peaks"]))
    peaks = np.full((parts, slots, 3), np.nan, np.float32)
    for part, places in enumerate(frame["peaks"]):
        peaks[part, : len(places)] = np.reshape(places, (-1, 3))
    affinity = np.zeros((len(frame["edges"]), slots, slots), np.float32)
    for edge, table in enumerate(frame["affinity"]):
        for row, values in enumerate(table):
            affinity[edge, row, : len(values)] = values
    options = {name: frame[name] for name in ("max_animals", "add_discarded", "force_fusion")}
    found = assemble(peaks, affinity, PafGrouping(edges=tuple(map(tuple, frame["edges"])), **options))
    nothing = [np.nan] * 3
    expected = np.array([[k or nothing for k in animal["keypoints"]] for animal in frame["animals"]])
    np.testing.assert_allclose(found.to_array(), expected.reshape(-1, parts, 3), rtol=1e-6)
    assert found.animal_score is not None
    np.testing.assert_allclose(found.animal_score, [a["affinity"] for a in frame["animals"]], atol=2e-6)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 6), st.integers(3, 6))
def test_animals_whose_affinities_are_clear_are_found_whole(seed: int, animals: int, parts: int) -> None:
    peaks, affinity, truth = drawn(seed, animals=animals, parts=parts, slots=animals + 2, missing=0.1)
    enough = (~np.isnan(truth[..., 0])).sum(axis=1) >= 3  # two parts are held together by one link only
    found = assemble(peaks, affinity, PafGrouping(edges=all_pairs(parts), max_animals=max(animals, 2)))
    assert same_animals(found, truth[enough])
    assert found.animal_score is not None and (found.animal_score >= 0.6).all()


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(2, 4), st.integers(3, 5), st.booleans())
def test_the_order_of_the_candidates_decides_nothing(seed: int, animals: int, parts: int, discarded: bool) -> None:  # noqa: FBT001
    peaks, affinity, _ = drawn(seed, animals=animals, parts=parts, slots=6, missing=0.2, confused=0.1)
    grouping = PafGrouping(edges=all_pairs(parts), max_animals=animals, add_discarded=discarded)
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(6), (parts, 1)), axis=1)
    shuffled = np.take_along_axis(peaks, order[..., None], axis=1)
    moved = np.stack([affinity[e][np.ix_(order[i], order[j])] for e, (i, j) in enumerate(grouping.edges)])
    one, other = assemble(peaks, affinity, grouping), assemble(shuffled, moved, grouping)
    np.testing.assert_array_equal(one.to_array(), other.to_array())
    assert one.animal_score is not None and other.animal_score is not None
    np.testing.assert_array_equal(one.animal_score, other.animal_score)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_values_that_are_no_numbers_are_never_returned(seed: int) -> None:
    """A broken peak is as if it were not there, a broken affinity as if it were 0."""
    rng = np.random.default_rng(seed)
    peaks, affinity, _ = drawn(seed, animals=4, parts=4, slots=5, confused=0.05)
    broken, absent = peaks.copy(), peaks.copy()
    hit = rng.random(peaks.shape[:2]) < 0.2
    broken[hit, rng.integers(0, 3)] = rng.choice([np.nan, np.inf, -np.inf])
    absent[hit] = np.nan
    torn = rng.random(affinity.shape) < 0.1
    grouping = PafGrouping(edges=all_pairs(4), max_animals=4)
    found = assemble(broken, np.where(torn, rng.choice([np.nan, np.inf]), affinity).astype(np.float32), grouping)
    expected = assemble(absent, np.where(torn, 0, affinity).astype(np.float32), grouping)
    np.testing.assert_array_equal(found.to_array(), expected.to_array())
    missing = np.isnan(found.xy[..., 0])
    assert np.isfinite(found.to_array()[~missing]).all() and np.isnan(found.to_array()[missing]).all()
    assert (~missing).sum(axis=1).min(initial=9) >= 2


def test_a_frame_without_peaks_has_no_animals() -> None:
    peaks, affinity, _ = drawn(0, animals=0, parts=4, slots=5)
    for most in (1, 3):
        found = assemble(peaks, affinity, PafGrouping(edges=all_pairs(4), max_animals=most))
        assert found.xy.shape == (0, 4, 2) and found.animal_score is not None and found.animal_score.shape == (0,)
    lone = np.where(np.arange(4)[:, None, None] == 2, np.float32(0.9), peaks)
    assert not len(assemble(lone, affinity, PafGrouping(edges=all_pairs(4), max_animals=3)))


def test_of_too_many_animals_those_with_the_best_peaks_stay() -> None:
    peaks, affinity, truth = drawn(1, animals=5, parts=4, slots=8)
    owner = (peaks[..., 0] // 200).astype(np.float32)
    peaks[..., 2] = 0.9 - 0.1 * owner  # animal 0 has the best peaks
    found = assemble(peaks, affinity, PafGrouping(edges=all_pairs(4), max_animals=3))
    assert same_animals(found, truth[:3])


def test_thresholds_and_the_number_of_animals_change_at_run_time() -> None:
    peaks, affinity, _ = drawn(2, animals=3, parts=4, slots=6)
    spec = ModelSpec(
        task="paf", architecture="resnet_50", keypoints=tuple("abcd"), individuals=tuple("xyz"),
        grouping=PafGrouping(edges=all_pairs(4), max_animals=3),
    )  # fmt: skip
    assert isinstance(spec.grouping, PafGrouping)

    def count(**changes: Any) -> int:
        grouping = spec.regrouped(**changes).grouping
        assert isinstance(grouping, PafGrouping)
        return len(assemble(peaks, affinity, grouping))

    assert len(assemble(peaks, affinity, spec.grouping)) == 3
    assert count(max_animals=2) == 2 and count(min_affinity=1.01) == 0 and count(min_score=0.99) == 0
    with pytest.raises(ConfigError, match="did you mean min_affinity"):
        spec.regrouped(min_afinity=0.1)


def test_two_parts_are_an_animal_held_together_by_one_link() -> None:
    peaks, affinity, truth = drawn(3, animals=3, parts=2, slots=4)
    found = assemble(peaks, affinity, PafGrouping(edges=((0, 1),), max_animals=3))
    assert same_animals(found, truth)


def test_one_part_is_an_animal_by_itself() -> None:
    peaks = np.array([[[5, 6, 0.3], [1, 2, 0.9], [7, 8, 0.05], [np.nan] * 3, [3, 4, 0.5]]], np.float32)
    nothing = np.zeros((0, 5, 5), np.float32)
    found = assemble(peaks, nothing, PafGrouping(edges=(), max_animals=3))
    np.testing.assert_array_equal(found.xy[:, 0], [[1, 2], [3, 4], [5, 6]])
    assert len(assemble(peaks, nothing, PafGrouping(edges=(), max_animals=2))) == 2


def test_the_only_animal_gets_the_best_peak_of_every_part() -> None:
    peaks, affinity, _ = drawn(4, animals=3, parts=4, slots=5)
    peaks[2] = np.nan
    peaks[0, :, 2] *= 0.1  # far below the threshold of links
    (found,) = assemble(peaks, affinity * 0, PafGrouping(edges=all_pairs(4), max_animals=1)).to_array()
    for part in (0, 1, 3):
        np.testing.assert_array_equal(found[part], peaks[part, np.nanargmax(peaks[part, :, 2])])
    assert np.isnan(found[2]).all()


def test_an_edge_may_be_written_from_the_later_part_to_the_earlier() -> None:
    peaks, affinity, truth = drawn(5, animals=3, parts=4, slots=4)
    turned = tuple((j, i) for i, j in all_pairs(4))
    found = assemble(peaks, affinity.swapaxes(1, 2), PafGrouping(edges=turned, max_animals=3))
    assert same_animals(found, truth)


def test_an_unused_peak_fills_the_gap_of_the_nearest_animal_if_asked_for() -> None:
    peaks, affinity, truth = drawn(6, animals=2, parts=4, slots=3)
    for edge, (i, j) in enumerate(all_pairs(4)):
        if 3 in (i, j):
            affinity[edge] = 0  # nothing links the last part
    grouping = PafGrouping(edges=all_pairs(4), max_animals=2)
    assert np.isnan(assemble(peaks, affinity, grouping).xy[:, 3]).all()
    assert same_animals(assemble(peaks, affinity, replace(grouping, add_discarded=True)), truth)


def test_scores_are_limited_if_asked_for() -> None:
    peaks, affinity, _ = drawn(7, animals=2, parts=3, slots=2)
    peaks[..., 2] += 0.5
    grouping = PafGrouping(edges=all_pairs(3), max_animals=2)
    assert assemble(peaks, affinity, grouping).score.max() > 1
    clipped = assemble(peaks, affinity, replace(grouping, clip_scores=True))
    assert len(clipped) == 2 and clipped.score.max() == 1


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(0, 4), st.integers(0, 4), st.sampled_from([1, 3, 1000]))
def test_the_assignment_is_the_best_of_all(seed: int, rows: int, columns: int, steps: int) -> None:
    """Against every possible pairing; few steps make many equal weights, zeros among them."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, steps + 1, (3, 4, 4)) / steps
    weights[2] = 0.001 + np.eye(4)[rng.permutation(4)]  # one with a plain answer
    pairs = np.stack(assign(weights, np.array([rows, columns, 4]), np.array([columns, rows, 4])), axis=1).tolist()
    for problem, (high, wide) in enumerate(((rows, columns), (columns, rows), (4, 4))):
        got = [(r, c) for p, r, c in pairs if p == problem]
        assert all(r < high and c < wide for r, c in got) and len({c for _, c in got}) == len(got) == min(high, wide)
        square = np.zeros((4, 4))
        square[:high, :wide] = weights[problem, :high, :wide]
        best = max(sum(square[r, c] for r, c in enumerate(order)) for order in itertools.permutations(range(4)))
        assert sum(weights[problem, r, c] for r, c in got) == pytest.approx(best)
        # Of equally good pairings it is scipy's, as in DeepLabCut.
        scipys = linear_sum_assignment(weights[problem, :high, :wide], maximize=True)
        assert got == list(zip(*map(np.ndarray.tolist, scipys), strict=True))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([0.3, 0.5, 0.8]))
def test_animals_upon_a_better_one_are_dropped_as_the_definition_says(seed: int, most: float) -> None:
    rng = np.random.default_rng(seed)
    xy = np.round(rng.normal(0, 4, (6, 5, 2)) + rng.normal(0, 3, (6, 1, 2)))
    xy[rng.random((6, 5)) < 0.2] = np.nan
    xy[:, 0] = np.nan_to_num(xy[:, 0])
    kept: list[int] = []
    for late in range(6):
        if not any(_overlap(xy[early], xy[late]) >= most for early in kept):
            kept.append(late)
    np.testing.assert_array_equal(not_covered(xy, most), kept)
    np.testing.assert_array_equal(not_covered(xy, 1.0), np.arange(6))


def _overlap(one: Floats, other: Floats) -> float:
    shares = []
    low = np.maximum(np.nanmin(one, axis=0), np.nanmin(other, axis=0))
    high = np.minimum(np.nanmax(one, axis=0), np.nanmax(other, axis=0))
    for animal in (one, other):
        seen = animal[~np.isnan(animal[:, 0])]
        shares.append(np.mean([(low <= p).all() and (p <= high).all() for p in seen]))
    return min(shares)


def test_the_parameters_travel_in_a_manifest() -> None:
    spec = ModelSpec(
        task="paf", architecture="dlcrnet_stride16_ms5", keypoints=tuple("abc"), individuals=("one", "two"),
        grouping=PafGrouping(edges=((0, 1), (1, 2)), max_animals=2, min_affinity=0.1),
    )  # fmt: skip
    assert parse(ModelSpec, to_mapping(spec), where="manifest.model") == spec
    with pytest.raises(ConfigError, match="grouping: does not fit the task single_animal"):
        parse(ModelSpec, to_mapping(spec) | {"task": "single_animal"}, where="manifest.model")
    with pytest.raises(ConfigError, match=r"\[1, 3\] is no pair of two of the 3 keypoints"):
        replace(spec, grouping=PafGrouping(edges=((1, 3),), max_animals=2))
    with pytest.raises(ConfigError, match=r"the keypoints \[0, 1\] are paired twice"):
        replace(spec, grouping=PafGrouping(edges=((0, 1), (1, 2), (1, 0)), max_animals=2))
