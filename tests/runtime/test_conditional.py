"""Rough poses into a conditional network and out again, against DeepLabCut's recorded numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from rigpose.analyzers.conditional import ConditionalAnalyzer
from rigpose.analyzers.top_down import CropAnalyzer
from rigpose.arrays import Array, Floats, Frames
from rigpose.errors import ConfigError
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses

FRAME = np.random.default_rng(0).integers(1, 256, (100, 120, 3), dtype=np.uint8)
SPEC = ModelSpec(
    task="conditional_top_down",
    architecture="recorded",
    keypoints=("a", "b", "c"),
    individuals=("one", "two", "three", "four"),
    crop=CropSpec(64, 64, with_context=False),
    box_margin=20,
)
# The second of these is too unsure to be an animal; zeros are missing keypoints.
ROUGH = [
    [[30.5, 40.25, 0.9], [60.0, 55.0, 0.4], [44.0, 70.5, 0.7]],
    [[100.0, 90.0, 0.04], [110.0, 95.0, 0.03], [90.0, 80.0, 0.0]],
    [[118.5, 2.0, 0.6], [0, 0, 0], [105.25, 12.0, 0.8]],
    [[10.0, 90.0, 0.3], [0, 0, 0], [0, 0, 0]],
]
# What DeepLabCut 3.0.2 makes of them in a frame of 120 x 100 px: boxes [frame px], and the rough poses in crops.
BOXES = [[10.5, 20.25, 69.5, 70.25], [85.25, 0.0, 34.75, 32.0], [0.0, 70.0, 30.0, 30.0]]
IN_CROPS = [
    [[18.742857, 18.514286, 0.9], [45.714286, 32.0, 0.4], [31.085714, 46.171429, 0.7]],
    [[61.257143, 5.647059, 0.6], [0, 0, 0], [37.028571, 24.470588, 0.8]],
    [[21.333333, 42.666667, 0.3], [0, 0, 0], [0, 0, 0]],
]
# Of poses drawn by this generator in the crops: places [frame px] and the one score of each animal.
DRAWN = np.random.default_rng(1).uniform(0, 1, (3, 1, 3, 3)).astype(np.float32)[:, 0] * np.array(
    [64, 64, 1], np.float32
)
PLACES = [
    [[45.827514, 86.53246], [76.405463, 41.828201], [67.939181, 48.64394]],
    [[85.964569, 24.619445], [96.54061, 25.806577], [100.872426, 3.557418]],
    [[6.103657, 77.8694], [8.412263, 84.55573], [28.849715, 91.743698]],
]
SCORES = [0.324307, 0.193581, 0.075744]
# Recorded to six decimals, computed in float32.
ROUNDED = 2e-5


class Recorded:
    """A network that answers with drawn poses, and remembers what it was told."""

    device = "cpu"

    def __init__(self) -> None:
        self.conditions = np.empty((0, 3, 3), np.float32)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.conditions = np.concatenate([self.conditions, inputs["conditions"]])
        assert inputs["frames"].shape == (len(inputs["conditions"]), 64, 64, 3)
        return {"keypoints": DRAWN[len(self.conditions) - len(inputs["conditions"]) : len(self.conditions)]}


class Fixed:
    """A bottom-up model that always finds the same."""

    spec = ModelSpec(task="single_animal", architecture="fixed", keypoints=("a", "b", "c"))

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Poses]:
        return [rough() for _ in frames]


def rough(poses: Sequence[Sequence[Sequence[float]]] = ROUGH) -> Poses:
    array = np.array(poses, np.float32).reshape(-1, 3, 3)
    return Poses.from_array(np.where((array == 0).all(axis=2, keepdims=True), np.nan, array))


def test_boxes_crops_conditions_and_scores_are_deeplabcuts() -> None:
    network = Recorded()
    [found] = ConditionalAnalyzer(CropAnalyzer(SPEC, network, batch=2)).predict([FRAME], [rough()])
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes, BOXES, atol=ROUNDED)
    visible = np.array(IN_CROPS)[..., 2] > 0
    np.testing.assert_allclose(network.conditions[visible], np.array(IN_CROPS)[visible], atol=ROUNDED)
    # What has no score is not looked at, wherever it lies.
    np.testing.assert_array_equal(network.conditions[..., 2][~visible], 0)
    np.testing.assert_allclose(found.xy, PLACES, atol=ROUNDED)
    np.testing.assert_allclose(found.score, np.repeat(SCORES, 3).reshape(3, 3), atol=ROUNDED)


def test_rough_poses_come_from_the_bottom_up_model_where_none_are_given() -> None:
    crops = CropAnalyzer(SPEC, Recorded())
    [given] = ConditionalAnalyzer(crops).predict([FRAME], [rough()])
    [own] = ConditionalAnalyzer(CropAnalyzer(SPEC, Recorded()), Fixed()).predict(FRAME)
    np.testing.assert_array_equal(own.xy, given.xy)
    np.testing.assert_array_equal(own.score, given.score)
    with pytest.raises(ValueError, match="rough poses"):
        ConditionalAnalyzer(crops).predict([FRAME])


@pytest.mark.parametrize(
    "poses",
    [
        [],
        ROUGH[1:2],
        # Below the frame, with too little margin to reach into it.
        [[[50.0, 150.0, 0.9], [60.0, 160.0, 0.9], [0, 0, 0]]],
    ],
)
def test_a_frame_without_usable_rough_poses_has_no_animals(poses: list[list[list[float]]]) -> None:
    [found] = ConditionalAnalyzer(CropAnalyzer(SPEC, Recorded())).predict([FRAME], [rough(poses)])
    assert len(found) == 0 and found.keypoints == 3


def test_of_more_rough_poses_than_animals_the_surest_stay_in_their_order() -> None:
    def at(x: float, score: float) -> list[list[float]]:
        return [[x, 50.0, score], [x + 9, 59.0, score], [x + 4, 66.0, score]]

    six = [at(10.0 * i, score) for i, score in enumerate((0.5, 0.9, 0.1, 0.8, 0.2, 0.7), start=1)]
    found: Floats = ConditionalAnalyzer(CropAnalyzer(SPEC, Recorded()))._usable(rough(six), (100, 120))[0]
    np.testing.assert_allclose(found[:, 0, 2], [0.5, 0.9, 0.8, 0.7], atol=1e-6)


class Shuffled(Fixed):
    """The same animals from a model with other keypoints in another order."""

    spec = ModelSpec(task="single_animal", architecture="fixed", keypoints=("c", "x", "a", "b"))

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Poses]:
        return [Poses(p.xy[:, [2, 0, 0, 1]], p.score[:, [2, 0, 0, 1]]) for p in super().predict(frames)]


def test_keypoints_of_the_bottom_up_model_are_found_by_name() -> None:
    networks = [Recorded(), Recorded()]
    [same], [other] = (
        ConditionalAnalyzer(CropAnalyzer(SPEC, network), model).predict(FRAME)
        for network, model in zip(networks, (Fixed(), Shuffled()), strict=True)
    )
    np.testing.assert_array_equal(networks[0].conditions, networks[1].conditions)
    np.testing.assert_array_equal(same.score, other.score)
    assert networks[0].conditions.dtype == np.float32


def test_a_bottom_up_model_without_one_of_the_keypoints_is_refused() -> None:
    lacking = Fixed()
    lacking.spec = replace(Fixed.spec, keypoints=("a", "c", "d"))
    with pytest.raises(ConfigError, match=r"knows no keypoint b \(it has a, c, d\)"):
        ConditionalAnalyzer(CropAnalyzer(SPEC, Recorded()), lacking)


def test_a_video_runs_through_whole_frames() -> None:
    run = ConditionalAnalyzer(CropAnalyzer(SPEC, Recorded()), Fixed()).run_of(100, 120)
    slots = np.empty((2, 100, 120, 3), np.uint8)
    run.write(FRAME, out=slots[0])
    [found] = run.poses(run.infer(slots[:1]))
    [right] = ConditionalAnalyzer(CropAnalyzer(SPEC, Recorded()), Fixed()).predict(FRAME)
    assert run.period == 1
    np.testing.assert_array_equal(found.xy, right.xy)


def test_fewer_animals_can_be_asked_for() -> None:
    analyzer = ConditionalAnalyzer(CropAnalyzer(SPEC, Recorded()), max_animals=2)
    [found] = analyzer.predict([FRAME], [rough()])
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes, BOXES[:2], atol=ROUNDED)
    assert analyzer.settings["max_animals"] == 2


def test_boxes_around_rough_poses_end_at_the_border_of_the_frame() -> None:
    [found] = ConditionalAnalyzer(CropAnalyzer(SPEC, Recorded())).predict(
        [FRAME], [rough([[[2.0, 3.0, 0.9], [118.0, 97.0, 0.9], [60.0, 300.0, 0.5]]])]
    )
    np.testing.assert_array_equal(found.boxes, [[0, 0, 120, 100]])


def test_poses_of_one_animal_become_one_where_that_is_asked_for() -> None:
    class Same(Recorded):
        """Sees the same animal wherever it looks: in the crops of the first two rough poses, which are one."""

        def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
            return {"keypoints": np.repeat(DRAWN[:1], len(inputs["frames"]), axis=0)}

    told = [ROUGH[0], [[x, y, score / 2] for x, y, score in ROUGH[0]], ROUGH[2]]
    found = [
        ConditionalAnalyzer(CropAnalyzer(SPEC, Same()), same_animal=same).predict([FRAME], [rough(told)])[0]
        for same in (None, 0.9)
    ]
    assert [len(poses) for poses in found] == [3, 2]
    assert found[0].animal_score is not None and found[1].animal_score is not None
    np.testing.assert_array_equal(found[1].animal_score, found[0].animal_score[[0, 2]])
