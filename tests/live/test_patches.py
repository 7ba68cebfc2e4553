"""One live animal of a top-down network without a detector: found in patches, then followed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from live_networks import CROPS, Spots, animal, captured, drawn, one_by_one, round_trip

from rigpose.analyzers.patch_search import PatchSearch, PatchSearchAnalyzer
from rigpose.analyzers.top_down import CropAnalyzer
from rigpose.live.finding.cropped import CroppedFinder
from rigpose.live.finding.patches import PatchesFinder
from rigpose.live.finding.pose_finder import Found, PoseFinder
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import ModelSpec
from rigpose.models.preprocess import InputSpec, Resize
from rigpose.videos.video import Crop

HALF_A_PIXEL = 0.5


def searching(search: PatchSearch | None = None, *, spec: ModelSpec = CROPS) -> tuple[PatchesFinder, Spots]:
    session = Spots()
    return PatchesFinder(PatchSearchAnalyzer(CropAnalyzer(spec, session, batch=32), search or PatchSearch())), session


def looked(found: list[Found]) -> str:
    """``p`` for frames that were looked at in patches, ``b`` for those in which its box was enough."""
    return "".join(one.looked[0] for one in found)


@pytest.mark.parametrize("part", [None, Crop(23, 310, 9, 230)], ids=["all", "part"])
@pytest.mark.parametrize(
    "spec",
    [
        CROPS,
        replace(CROPS, crop=CropSpec(64, 128)),
        replace(CROPS, crop=CropSpec(96, 80, margin=5)),
        replace(CROPS, crop=CropSpec(128, 96, with_context=False)),
        replace(CROPS, input=InputSpec(resize=Resize(128, 128))),
    ],
    ids=["square", "upright", "margin", "without context", "resized"],
)
def test_an_animal_is_found_and_followed_along_all_sides_of_the_frame(part: Crop | None, spec: ModelSpec) -> None:
    """What DeepLabCut-Live 1.1 raises an error for."""
    plain, _ = searching(spec=spec)
    finder: PoseFinder = plain if part is None else CroppedFinder(plain, part)
    left, top, width, height = (0, 0, 320, 240) if part is None else (part.x1, part.y1, 287, 221)
    places = [(left + x, top + y) for x, y in round_trip(60, height, width)]
    found = one_by_one(finder, captured(drawn(places)))
    # Every thirtieth frame is searched in any case.
    assert looked(found) == ("p" + 29 * "b") * 2
    for place, one in zip(places, found, strict=True):
        assert not one.lost and one.ids.tolist() == [0]
        assert np.abs(one.poses.xy[0] - animal(place)).max() <= HALF_A_PIXEL


def test_the_network_sees_one_shape_and_a_batch_of_patches_only_where_it_searches() -> None:
    finder, session = searching()
    found = one_by_one(finder, captured(drawn([(100.0, 100.0)] * 3 + [(250.0, 180.0)] * 3)))
    assert looked(found) == "pbb" + "pbb"
    # Six patches and a closer look; in the fourth frame after a look at where it was.
    assert session.shapes == [(count, 96, 96) for count in (6, 1, 1, 1, 1, 6, 1, 1, 1)]
    for place, one in zip([(100, 100)] * 3 + [(250, 180)] * 3, found, strict=True):
        np.testing.assert_allclose(one.poses.xy[0], animal(place), atol=HALF_A_PIXEL)


def test_no_animal_is_none_and_it_is_found_when_it_comes() -> None:
    finder, session = searching()
    found = one_by_one(finder, captured(drawn([None, None, (100, 100), (100, 100), None, (60, 60)])))
    assert looked(found) == "pppbpp"
    assert [len(one.poses) for one in found] == [0, 0, 1, 1, 0, 1]
    assert [one.lost for one in found] == [True, True, False, False, True, False]
    assert [len(one.ids) for one in found] == [len(one.poses) for one in found]
    assert session.shapes[:2] == [(6, 96, 96)] * 2


def test_it_is_lost_when_it_was_missed_so_often() -> None:
    finder, _ = searching(PatchSearch(misses=3))
    there = (100.0, 100.0)
    found = one_by_one(finder, captured(drawn([there, there, None, None, there, None, None, None, None, there])))
    assert looked(found) == "pb" + "bbb" + "bbppp"
    # While it is missed, what is seen at its place is told, with its scores.
    assert [len(one.poses) for one in found] == [1, 1, 1, 1, 1, 1, 1, 0, 0, 1]
    assert [one.lost for one in found] == [0, 0, 1, 1, 0, 1, 1, 1, 1, 0]
    assert not found[3].poses.score.any() and found[4].poses.score.all()


def test_one_sure_keypoint_of_two_is_no_animal() -> None:
    finder, _ = searching()
    frames = drawn([(100, 100)] * 4)
    for frame in frames[2:]:
        frame[..., 1] = 0
    assert [one.lost for one in one_by_one(finder, captured(frames))] == [False, False, True, True]


def test_the_box_is_no_smaller_than_it_may_be_and_keeps_the_margin() -> None:
    for margin, side, size in ((12, 50, (50, 50)), (12, 10, (29, 38)), (30, 50, (65, 74))):
        finder, _ = searching(PatchSearch(least_side=side), spec=replace(CROPS, box_margin=margin))
        second = one_by_one(finder, captured(drawn([(160, 120)] * 2)))[1]
        assert second.poses.boxes is not None
        x, y, width, height = second.poses.boxes[0]
        # Its keypoints are 5 px and 14 px apart, and found to a fraction of a pixel.
        np.testing.assert_allclose((width, height), size, atol=1)
        np.testing.assert_allclose((x + width / 2, y + height / 2), (162.5, 127), atol=1)


def test_cameras_share_batches_and_know_nothing_of_each_other() -> None:
    finder, session = searching()
    left = captured(drawn([(60.0, 60.0)] * 4), "left")
    right = captured(drawn([(150.0, 90.0), (150.0, 90.0), None, (40.0, 100.0)], 160, 200), "right")
    found = [finder.find(frames) for frames in zip(left, right, strict=True)]
    for here, _ in found:
        np.testing.assert_allclose(here.poses.xy[0], animal((60, 60)), atol=HALF_A_PIXEL)
    assert [len(there.poses) for _, there in found] == [1, 1, 0, 1]
    np.testing.assert_allclose(found[3][1].poses.xy[0], animal((40, 100)), atol=HALF_A_PIXEL)
    assert [shape[0] for shape in session.shapes] == [12, 2, 2, 2, 6, 1, 6, 1]
    finder.forget("left")
    assert [one.looked for one in finder.find([left[-1], right[-1]])] == ["patches", "boxes"]


def test_warming_up_runs_what_will_run_and_forgets_nothing() -> None:
    finder, session = searching()
    frames = captured(drawn([(100, 100)] * 3))
    one_by_one(finder, frames[:2])
    session.shapes.clear()
    finder.warm_up(240, 320, 6)
    # Six frames of six patches are more than 32 crops at a time.
    assert {shape[0] for shape in session.shapes} == {1, 2, 3, 4, 5, 6, 12, 18, 24, 30, 32}
    assert finder.find(frames[2:])[0].looked == "boxes"
