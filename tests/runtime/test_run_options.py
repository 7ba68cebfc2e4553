"""What may be chosen anew for a run."""

from __future__ import annotations

import pytest

from rigpose.analyzers.run_options import RunOptions
from rigpose.analyzers.tracking_crop import DynamicCrop
from rigpose.errors import ConfigError
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DetectorSpec, ModelSpec, PafGrouping

PAF = ModelSpec("paf", "x", ("a", "b"), ("one", "two"), grouping=PafGrouping(((0, 1),), max_animals=2))
SINGLE = ModelSpec("single_animal", "x", ("a", "b"))


def test_nothing_chosen_changes_nothing() -> None:
    for spec in (PAF, SINGLE):
        assert RunOptions().frame_model(spec) is spec
    # Dynamic cropping is no part of what the model is.
    assert RunOptions(dynamic_crop=DynamicCrop()).frame_model(SINGLE) is SINGLE
    assert RunOptions().detector(DetectorSpec(3)) == DetectorSpec(3)


def test_what_is_chosen_reaches_grouping_and_detector() -> None:
    chosen = RunOptions(max_animals=5, grouping={"min_affinity": 0.3}).frame_model(PAF).grouping
    assert chosen == PafGrouping(((0, 1),), max_animals=5, min_affinity=0.3)
    assert RunOptions(max_animals=4, detector_cutoff=0.5).detector(DetectorSpec(2)) == DetectorSpec(4, min_score=0.5)
    assert RunOptions(detector_iou=0.3).detector(DetectorSpec(2)) == DetectorSpec(2, max_overlap=0.3)
    assert RunOptions(detector_iou=0).detector(DetectorSpec(2)).max_overlap == 0


@pytest.mark.parametrize(
    ("options", "spec", "says"),
    [
        ({"max_animals": 2}, SINGLE, "max_animals: a model of the task single_animal finds one animal"),
        ({"detector_cutoff": 0.5}, PAF, "detector_cutoff: a model of the task paf has no detector"),
        ({"detector_iou": 0.5}, PAF, "detector_iou: a model of the task paf has no detector"),
        ({"same_animal": 0.9}, PAF, "same_animal: a model of the task paf finds its animals all at once"),
        ({"dynamic_crop": DynamicCrop()}, PAF, "crop dynamic: follows one animal, and the model is of the task paf"),
        ({"detect_every": 3}, PAF, "detect_every: a model of the task paf has no detector"),
        ({"grouping": {"min_afinity": 0.1}}, PAF, "grouping.min_afinity: unknown key; did you mean min_affinity"),
        ({"grouping": {"luck": 1}}, PAF, r"grouping.luck: unknown key; the task paf has edges, .*min_affinity"),
        ({"grouping": {"min_affinity": -0.1}}, PAF, "grouping.min_affinity: -0.1 makes no sense; give 0 or more"),
        ({"grouping": {"min_score": float("nan")}}, PAF, "grouping.min_score: nan makes no sense"),
        ({"grouping": {"max_animals": 0}}, PAF, "grouping.max_animals: 0 makes no sense; give 1 or more"),
        ({"grouping": {"min_affinity": "much"}}, PAF, "grouping.min_affinity: expected float"),
        ({"grouping": {"min_affinity": 0.1}}, SINGLE, "the task single_animal has no parameters"),
    ],
)
def test_a_choice_that_the_model_does_not_have_is_one_sentence(options: dict, spec: ModelSpec, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        RunOptions(**options).frame_model(spec)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_animals": 0}, "max_animals: 0"),
        ({"detector_cutoff": 1.5}, "detector_cutoff: 1.5"),
        ({"detect_every": 0}, "detect_every: 0"),
        ({"detector_iou": -0.1}, "detector_iou: -0.1 is no overlap"),
        ({"same_animal": 0}, "same_animal: 0 is no similarity"),
        ({"same_animal": 1.1}, "same_animal: 1.1 is no similarity"),
        ({"detect_every": 101}, "in memory at once"),
        ({"max_animals": 3, "grouping": {"max_animals": 4}}, "given twice"),
    ],
)
def test_values_without_sense_are_refused(options: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        RunOptions(**options)


def test_a_pair_and_a_conditional_model_have_no_dynamic_crop() -> None:
    with pytest.raises(ConfigError, match=r"crop dynamic: a pair's detector finds the animals.* detect_every"):
        RunOptions(dynamic_crop=DynamicCrop()).detector(DetectorSpec(2))
    conditional = ModelSpec("conditional_top_down", "x", ("a", "b"), crop=CropSpec(16, 16))
    with pytest.raises(ConfigError, match="crop dynamic: follows one animal, and the model is of the task cond"):
        RunOptions(dynamic_crop=DynamicCrop()).rough_poses(SINGLE, conditional)


def test_a_pair_has_no_grouping() -> None:
    with pytest.raises(ConfigError, match=r"grouping\.min_affinity"):
        RunOptions(grouping={"min_affinity": 1}).detector(DetectorSpec(2))
