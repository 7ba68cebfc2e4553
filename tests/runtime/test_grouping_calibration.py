"""Calibrated grouping, against DeepLabCut's calibrated assembler and by what it is for."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from calibrated_scenes import SCENES, Drawn, bodies, draw

from rigpose.arrays import Floats
from rigpose.errors import ConfigError
from rigpose.grouping import GROUPERS
from rigpose.grouping.calibrated import unlikelihood
from rigpose.models.model_spec import ModelSpec, PafGrouping
from rigpose.models.paf_calibration import PafCalibration
from rigpose.poses import Poses
from rigpose.schema import parse, to_mapping

RECORDED = Path(__file__).with_name("recorded_calibrated_assemblies.jsonl")
ROUNDED = 1e-9
"""DeepLabCut inverts the covariance with another routine, and sums in another order."""
FOUR = tuple(combinations(range(4), 2))
LONG = np.array([[-90.0, 0], [-30, 24], [30, -24], [90, 0]])
"""A body [px]."""


def assemble(peaks: Floats, affinity: Floats, grouping: PafGrouping) -> Poses:
    (poses,) = GROUPERS["paf"]({"peaks": peaks[None], "affinity": affinity[None]}, grouping)
    return poses


def candidates(drawn: Drawn) -> tuple[Floats, Floats]:
    """Its peaks (K, P, 3) and affinities (E, P, P)."""
    slots = max(map(len, drawn.peaks))
    peaks = np.full((len(drawn.peaks), slots, 3), np.nan, np.float32)
    for part, places in enumerate(drawn.peaks):
        peaks[part, : len(places)] = places
    affinity = np.zeros((len(drawn.edges), slots, slots), np.float32)
    for edge, table in enumerate(drawn.affinity):
        affinity[edge, : table.shape[0], : table.shape[1]] = table
    return peaks, affinity


def calibrated(drawn: Drawn, **changes: Any) -> PafGrouping:
    calibration = PafCalibration.measured(drawn.labels)
    options = {**drawn.options, "use_calibration": True, **changes}
    return PafGrouping(drawn.edges, calibration=calibration, **options)


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORDED.read_text().splitlines()]


def test_the_recorded_scenes_are_those_that_calibration_decides(recorded: list[dict[str, Any]]) -> None:
    assert len(recorded) == SCENES
    assert sum(scene["differs"] for scene in recorded) > 300 and sum(bool(scene["animals"]) for scene in recorded) > 300


@pytest.mark.parametrize("block", range(8))
def test_animals_are_those_of_deeplabcuts_calibrated_assembler(block: int, recorded: list[dict[str, Any]]) -> None:
    """All of them, in order; there are no ties, as no scores, affinities or distances are equal."""
    for number in range(block, SCENES, 8):
        drawn, scene = draw(number), recorded[number]
        found = assemble(*candidates(drawn), calibrated(drawn))
        expected = np.full((len(scene["animals"]), len(drawn.peaks), 3), np.nan, np.float32)
        for animal, rows in enumerate(scene["animals"]):
            for part, row in enumerate(rows):
                if row is not None:
                    expected[animal, part] = drawn.peaks[part][row]
        np.testing.assert_array_equal(found.to_array(), expected, err_msg=f"scene {number}")
        assert found.animal_score is not None
        # DeepLabCut weighs affinities in float32.
        np.testing.assert_allclose(found.animal_score, scene["affinity"], atol=2e-6, err_msg=f"scene {number}")


def test_mean_covariance_and_distance_are_deeplabcuts(recorded: list[dict[str, Any]]) -> None:
    """Animals of eleven keypoints may lack one, whose distances DeepLabCut replaces by their means."""
    for number in (0, 1, 2, 3, 4, 5, 11, 395):
        drawn, scene = draw(number), recorded[number]
        calibration = PafCalibration.measured(drawn.labels)
        np.testing.assert_allclose(calibration.mean[:2], scene["mean"], rtol=ROUNDED)
        covariance = np.linalg.inv(calibration.precision)
        np.testing.assert_allclose(covariance[0, :2], scene["covariance"], rtol=1e-6)
        assert calibration.variance[0] == pytest.approx(scene["covariance"][0], rel=ROUNDED)
        if scene["unlikely"] is not None:
            first = assemble(
                *candidates(drawn), replace(calibrated(drawn), add_discarded=drawn.options["add_discarded"])
            )
            pose = first.xy[0].astype(np.float64)
            assert float(unlikelihood(pose, calibration)) == pytest.approx(scene["unlikely"], rel=1e-7)


def test_how_unlikely_a_pose_is_follows_from_the_definition() -> None:
    rng = np.random.default_rng(0)
    calibration = PafCalibration.measured(bodies(rng, LONG, 60))
    poses = bodies(rng, LONG, 3)
    poses[1, 2] = np.nan
    got = unlikelihood(poses, calibration)
    for pose, value in zip(poses, got, strict=True):
        seen = [d for d, (i, j) in enumerate(FOUR) if not np.isnan(pose[[i, j]]).any()]
        away = np.array([((pose[FOUR[d][0]] - pose[FOUR[d][1]]) ** 2).sum() - calibration.mean[d] for d in seen])
        square = away @ calibration.precision[np.ix_(seen, seen)] @ away
        assert value == pytest.approx(6 / len(seen) * np.sqrt(square))


def crossing(seed: int) -> tuple[Floats, Floats, Floats, PafCalibration]:
    """Two long animals across each other, whose edge between the middle and the tip misleads, and their truth.

    The first three parts are surely linked, the last weakly by two edges, and more strongly to the wrong animal by one.
    """
    rng = np.random.default_rng(seed)
    calibration = PafCalibration.measured(bodies(rng, LONG, 100))
    bent = LONG + rng.normal(0, 7, (2, 4, 2))
    truth = 200 + np.stack([bent[0], bent[1] @ [[0, 1], [-1, 0]]])
    peaks = np.concatenate([truth, rng.uniform(0.5, 0.9, (2, 4, 1))], axis=2).transpose(1, 0, 2).astype(np.float32)
    affinity = np.where(np.eye(2) == 1, 0.6, 0.3) + rng.uniform(-0.01, 0.01, (6, 2, 2))
    affinity[[FOUR.index(pair) for pair in ((0, 1), (1, 2), (0, 2))]] += 0.3 * np.eye(2)
    affinity[FOUR.index((1, 3))] = affinity[FOUR.index((1, 3))][::-1] + 0.1
    return peaks, affinity.astype(np.float32), truth.astype(np.float32), calibration


def test_of_crossing_animals_that_fields_mix_up_calibration_finds_both() -> None:
    right = {False: 0, True: 0}
    for seed in range(40):
        peaks, affinity, truth, calibration = crossing(seed)
        for use in right:
            found = assemble(peaks, affinity, PafGrouping(FOUR, 2, use_calibration=use, calibration=calibration))
            right[use] += sorted(x.tobytes() for x in found.xy) == sorted(x.tobytes() for x in truth)
    assert right[False] == 0 and right[True] >= 32


def test_a_calibration_that_is_not_used_changes_nothing() -> None:
    for number in range(12):
        drawn = draw(number)
        stored = calibrated(drawn, use_calibration=False)
        one = assemble(*candidates(drawn), stored)
        other = assemble(*candidates(drawn), replace(stored, calibration=None))
        assert one.to_array().tobytes() == other.to_array().tobytes()


def test_values_that_are_no_numbers_are_never_returned() -> None:
    """A broken peak is as if it were not there, a broken affinity as if it were 0."""
    for number in range(30):
        rng = np.random.default_rng(number)
        drawn = draw(number)
        peaks, affinity = candidates(drawn)
        broken, absent = peaks.copy(), peaks.copy()
        hit = rng.random(peaks.shape[:2]) < 0.2
        broken[hit, rng.integers(0, 3)] = rng.choice([np.nan, np.inf, -np.inf])
        absent[hit] = np.nan
        torn = rng.random(affinity.shape) < 0.1
        grouping = calibrated(drawn)
        found = assemble(broken, np.where(torn, np.nan, affinity).astype(np.float32), grouping)
        expected = assemble(absent, np.where(torn, 0, affinity).astype(np.float32), grouping)
        np.testing.assert_array_equal(found.to_array(), expected.to_array())
        assert not np.isnan(found.xy).all(axis=(1, 2)).any()


def test_a_frame_without_peaks_has_no_animals() -> None:
    drawn = draw(1)
    peaks, affinity = candidates(drawn)
    for discarded in (False, True):
        grouping = calibrated(drawn, add_discarded=discarded)
        assert not len(assemble(np.full_like(peaks, np.nan), affinity, grouping))
        assert not len(assemble(peaks, affinity * 0, grouping))


def test_it_travels_in_a_manifest_and_is_switched_at_run_time() -> None:
    drawn = draw(5)
    off = calibrated(drawn, use_calibration=False)
    spec = ModelSpec(
        task="paf", architecture="resnet_50", keypoints=tuple("abcdefghijk"), individuals=tuple("xyz"), grouping=off
    )
    text = yaml.safe_dump(to_mapping(spec))
    assert len(text.splitlines()) < 1000  # a person still reads the manifest
    read = parse(ModelSpec, yaml.safe_load(text), where="manifest.model")
    assert read == spec
    switched = read.regrouped(use_calibration=True)
    assert switched.grouping == replace(off, use_calibration=True)
    assert switched.regrouped(use_calibration=False) == spec
    bare = spec.regrouped(calibration=None)
    assert bare.regrouped(calibration=off.calibration, use_calibration=True) == switched
    with pytest.raises(ConfigError, match="use_calibration: the model has no calibration; export it"):
        bare.regrouped(use_calibration=True)
    other = PafCalibration.measured(draw(0).labels)
    with pytest.raises(ConfigError, match="is of 3 keypoints and the model has 11"):
        spec.regrouped(calibration=other)


def test_labels_that_give_no_covariance_are_refused() -> None:
    rng = np.random.default_rng(1)
    animals = bodies(rng, LONG, 20)
    assert PafCalibration.measured(animals[:7]).animals == 7  # six distances need seven
    with pytest.raises(ConfigError, match="6 labelled animals are nearly complete, and the 6 distances between 4 keyp"):
        PafCalibration.measured(animals[:6])
    incomplete = animals.copy()
    incomplete[::2, 0] = np.nan
    assert PafCalibration.measured(incomplete) == PafCalibration.measured(animals[1::2])
    incomplete[:, 0] = np.nan
    with pytest.raises(ConfigError, match="calibration: 0 labelled animals"):
        PafCalibration.measured(incomplete)
    with pytest.raises(ConfigError, match="are too much alike"):
        PafCalibration.measured(np.repeat(animals[:1], 20, axis=0))
    with pytest.raises(ConfigError, match="one keypoint has no distances"):
        PafCalibration.measured(animals[:, :1])
    many = bodies(rng, rng.normal(0, 30, (11, 2)), 70)
    many[:, 4] = np.nan
    with pytest.raises(ConfigError, match=r"keypoints 0 and 4 .* are labelled together on no"):
        PafCalibration.measured(many)


def test_broken_numbers_are_refused() -> None:
    whole = PafCalibration.measured(bodies(np.random.default_rng(2), LONG, 20))
    with pytest.raises(ConfigError, match="is no Base64 of float64"):
        replace(whole, numbers=whole.numbers[:-3])
    with pytest.raises(ConfigError, match="holds 33 numbers where 5 keypoints need 75"):
        replace(whole, keypoints=5)
    numbers = np.frombuffer(base64.b64decode(whole.numbers), "<f8")
    for place, value in ((-1, np.nan), (0, np.inf), (6, 0.0)):  # the seventh is a variance
        broken = numbers.copy()
        broken[place] = value
        with pytest.raises(ConfigError, match="not all are finite, or a variance is not positive"):
            replace(whole, numbers=base64.b64encode(broken.tobytes()).decode())
