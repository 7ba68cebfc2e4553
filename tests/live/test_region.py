"""A region that follows one live animal: right in every combination with a part of the frame and a resize."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from live_networks import WHOLE, Spots, animal, captured, drawn, one_by_one, round_trip

from rigpose.analyzers.analyzer import Analyzer
from rigpose.analyzers.tracking_crop import DynamicCrop, TrackingAnalyzer
from rigpose.live.faults import LiveError
from rigpose.live.finding.cropped import CroppedFinder
from rigpose.live.finding.pose_finder import PoseFinder
from rigpose.live.finding.region import RegionFinder
from rigpose.live.finding.whole_frame import WholeFrameFinder
from rigpose.models.model_spec import ModelSpec
from rigpose.models.preprocess import InputSpec, Resize
from rigpose.videos.video import Crop

SMALL = DynamicCrop(size=(100, 90), margin=8)
"""Regions of 96 or 128 px and some."""
HALF_A_PIXEL = 0.5
RESIZES = {
    "as it is": InputSpec(),
    "padded": InputSpec(multiple_of=32),
    "enlarged": InputSpec(longest_side=450),
    "made smaller and padded": InputSpec(longest_side=240, multiple_of=32),
    "filled up": InputSpec(resize=Resize(300, 300)),
    "stretched": InputSpec(resize=Resize(288, 352, keep_ratio=False)),
}


def following(
    crop: DynamicCrop = SMALL, *, spec: ModelSpec = WHOLE, part: Crop | None = None
) -> tuple[PoseFinder, Spots]:
    session = Spots()
    finder: PoseFinder = RegionFinder(TrackingAnalyzer(Analyzer(spec, session), crop))
    return (finder if part is None else CroppedFinder(finder, part)), session


@pytest.mark.parametrize("part", [None, Crop(31, 290, 17, 222)], ids=["all", "part"])
@pytest.mark.parametrize("seen", RESIZES.values(), ids=RESIZES.keys())
@pytest.mark.parametrize("region", [True, False], ids=["region", "whole"])
def test_places_are_right_in_every_combination(part: Crop | None, seen: InputSpec, region: bool) -> None:  # noqa: FBT001
    """A network that is exact sees parts of the frame, resized frames and regions of them: what it says is the frame's
    to half a pixel, which is what interpolation may move the middle of a spot by."""
    spec = replace(WHOLE, input=seen)
    finder, session = following(spec=spec, part=part)
    if not region:
        finder = WholeFrameFinder(Analyzer(spec, session), None)
        finder = finder if part is None else CroppedFinder(finder, part)
    left, top, width, height = (0, 0, 320, 240) if part is None else (part.x1, part.y1, 259, 205)
    places = [(left + x, top + y) for x, y in round_trip(24, height, width)]
    frames = captured(drawn(places))
    found = one_by_one(finder, frames)
    for place, one in zip(places, found, strict=True):
        assert np.abs(one.poses.xy[0] - animal(place)).max() <= HALF_A_PIXEL
    assert not any(one.lost for one in found)
    if region:
        assert [one.looked for one in found].count("region") > len(found) / 2
        assert len({shape[1:] for shape in session.shapes}) == 2


def test_an_animal_that_stands_still_in_a_part_of_the_frame_is_found_in_every_region() -> None:
    """What DeepLabCut-Live 1.1 loses in every second frame: it cuts the region out of the part in px of the frame."""
    place = (232.0, 150.0)
    finder, session = following(part=Crop(120, 320, 60, 240))
    found = one_by_one(finder, captured(drawn([place] * 20)))
    assert [one.looked for one in found] == ["whole"] + ["region"] * 19
    assert [shape[0] for shape in session.shapes] == [1] * 20
    for one in found:
        assert not one.lost and np.abs(one.poses.xy[0] - animal(place)).max() <= 0.05


def test_a_part_outside_the_frame_is_one_sentence() -> None:
    finder, _ = following(part=Crop(0, 321, 0, 240))
    with pytest.raises(LiveError, match=r"^left: the crop 0,321,0,240 leaves frames of 320 x 240 px .* inside them\.$"):
        finder.find(captured(drawn([None])))
    with pytest.raises(LiveError, match="leaves frames of 320 x 240"):
        finder.warm_up(240, 320, 1)


def test_a_lost_animal_is_found_in_the_same_frame() -> None:
    places = [*[(30.0, 30.0)] * 4, *[(260.0, 180.0)] * 4, None, None, *[(60.0, 60.0)] * 3]
    finder, _ = following()
    found = one_by_one(finder, captured(drawn(places)))
    looked = "wrrr" + "wrrr" + "ww" + "wrr"
    assert "".join(one.looked[0] for one in found) == looked
    for place, one in zip(places, found, strict=True):
        assert one.lost == (place is None) and one.ids.tolist() == [0]
        if place is not None:
            np.testing.assert_allclose(one.poses.xy[0], animal(place), atol=0.05)


def test_every_so_manieth_frame_is_whole_in_any_case() -> None:
    finder, _ = following(replace(SMALL, search_every=5))
    found = one_by_one(finder, captured(drawn([(100, 100)] * 12)))
    assert "".join(one.looked[0] for one in found) == "wrrrrwrrrrwr"


def test_cameras_share_batches_and_know_nothing_of_each_other() -> None:
    here, there = [(30.0 + 3 * t, 40.0) for t in range(6)], [(250.0, 30.0 + 3 * t) for t in range(6)]
    there[3] = (40.0, 200.0)
    finder, session = following()
    for pair in zip(captured(drawn(here), "left"), captured(drawn(there), "right"), strict=True):
        for place, one in zip((here, there), finder.find(pair), strict=True):
            np.testing.assert_allclose(one.poses.xy[0], animal(place[pair[0].number]), atol=0.05)
    whole, region = (240, 320), session.shapes[1][1:]
    # In the fourth frame the right one has jumped, and in the fifth it is where it began.
    assert session.shapes == [
        (2, *whole), *[(2, *region)] * 2, (2, *region), (1, *whole), (2, *region), (1, *whole), (2, *region),
    ]  # fmt: skip


def test_a_forgotten_camera_is_looked_at_as_a_whole_and_so_are_frames_of_another_size() -> None:
    finder, session = following()
    first = captured(drawn([(100, 100)] * 5))
    assert "".join(one.looked[0] for one in one_by_one(finder, first[:2])) == "wr"
    finder.forget("right")
    assert finder.find(first[2:3])[0].looked == "region"
    finder.forget("left")
    assert "".join(one.looked[0] for one in one_by_one(finder, first[3:])) == "wr"
    larger = captured(drawn([(100, 100)] * 2, 260, 340), numbers=[5, 6])
    assert "".join(one.looked[0] for one in one_by_one(finder, larger)) == "wr"
    assert session.shapes[-2][1:] == (260, 340)


def test_warming_up_runs_both_shapes_for_every_number_of_frames_and_forgets_nothing() -> None:
    finder, session = following()
    frames = captured(drawn([(100, 100)] * 4))
    one_by_one(finder, frames[:2])
    used = {shape[1:] for shape in session.shapes}
    session.shapes.clear()
    finder.warm_up(240, 320, 3)
    assert sorted(session.shapes) == sorted((count, *shape) for count in (1, 2, 3) for shape in used)
    assert one_by_one(finder, frames[2:])[0].looked == "region"


def test_an_animal_goes_on_for_as_long_as_frames_were_skipped() -> None:
    """It runs 12 px in a frame of the camera, and one frame or four pass until the next that is looked at: 12 px,
    48 px, 12 px, ... The region of 128 px leaves it about 43 px on each side of where it is thought to be, and its grid
    takes up to 16 of them."""
    numbers = [0, 1, 5, 6, 10, 11, 15, 16, 20]
    frames = drawn((20.0 + 12 * number, 100.0) for number in numbers)
    finder, _ = following(replace(SMALL, margin=18))
    found = one_by_one(finder, captured(frames, numbers=numbers))
    # Nobody knows its velocity in the second frame.
    assert all(one.looked == "region" for one in found[2:])
    # As if the frames were neighbours, it is lost.
    plain, _ = following(replace(SMALL, margin=18))
    assert not all(one.looked == "region" for one in one_by_one(plain, captured(frames))[2:])
    # A camera that counts anew is no error.
    finder.find(captured(drawn([(260, 100)]), numbers=[0]))


def test_whoever_writes_into_poses_does_not_steer_the_region() -> None:
    finder, _ = following()
    for frame in captured(drawn([(100, 100)] * 6)):
        [found] = finder.find([frame])
        assert found.looked == ("region" if frame.number else "whole")
        np.testing.assert_allclose(found.poses.xy[0], animal((100, 100)), atol=0.05)
        found.poses.xy[:] = found.poses.score[:] = 0
