"""Live animals of a top-down pair: the detector looks at some frames, and boxes around raw poses do the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from live_networks import SEVERAL, SpotDetector, Spots, animal, captured, drawn, drawn_together, one_by_one

from rigpose.analyzers.top_down import BoxAnalyzer, CropAnalyzer, TopDownAnalyzer
from rigpose.arrays import Array
from rigpose.errors import ConfigError
from rigpose.live.finding.boxes import BoxesFinder
from rigpose.live.finding.cropped import CroppedFinder
from rigpose.live.finding.pose_finder import Found
from rigpose.models.model_spec import DetectorSpec
from rigpose.models.preprocess import InputSpec, Resize
from rigpose.tracking.settings import TrackingSettings
from rigpose.videos.video import Crop

HALF_A_PIXEL = 0.5


class Rig:
    """A finder with the networks inside it."""

    def __init__(
        self,
        *,
        every: int = 5,
        most: int = 3,
        seen: InputSpec | None = None,
        crops: Spots | None = None,
        **times: float,
    ) -> None:
        self.detector, self.crops = SpotDetector(), crops or Spots()
        boxes = BoxAnalyzer(DetectorSpec(most, input=seen or InputSpec()), self.detector)
        pair = TopDownAnalyzer(boxes, CropAnalyzer(SEVERAL, self.crops, batch=32), detect_every=every)
        self.finder = BoxesFinder(pair, TrackingSettings(), **times)


def where(found: Found) -> list[tuple[int, int]]:
    """Heads, from left to right, to the nearest pixel."""
    return sorted((round(float(x)), round(float(y))) for x, y in found.poses.xy[:, 0])


def looked(found: Sequence[Found]) -> str:
    """``d`` for frames that the detector looked at, ``b`` for those between."""
    return "".join(one.looked[0] for one in found)


@pytest.mark.parametrize("part", [None, Crop(11, 310, 7, 232)], ids=["all", "part"])
@pytest.mark.parametrize(
    "seen", [InputSpec(), InputSpec(longest_side=160), InputSpec(resize=Resize(400, 200, keep_ratio=False))]
)
def test_boxes_between_detections_are_where_the_animals_are(part: Crop | None, seen: InputSpec) -> None:
    """What DeepLabCut-Live 1.1 has between columns 0 and 3: it takes the frame's last axis for its width. Crops are as
    wide as the frame is, whatever size the detector sees."""
    rig = Rig(every=10, seen=seen)
    finder = rig.finder if part is None else CroppedFinder(rig.finder, part)
    paths = [[(40.0 + 3 * t, 60.0) for t in range(30)], [(280.0 - 2 * t, 180.0 - t) for t in range(30)]]
    found = one_by_one(finder, captured(drawn_together(paths)))
    assert looked(found) == ("d" + 9 * "b") * 3
    for number, one in enumerate(found):
        assert len(one.poses) == 2 and not one.lost
        for path, row in zip(paths, np.argsort(one.poses.xy[:, 0, 1]), strict=True):
            assert np.abs(one.poses.xy[row] - animal(path[number])).max() <= HALF_A_PIXEL
            assert one.poses.boxes is not None
            x, y, width, height = one.poses.boxes[row]
            assert x < path[number][0] < x + width and y < path[number][1] < y + height
    assert len({tuple(one.ids[np.argsort(one.poses.xy[:, 0, 1])]) for one in found}) == 1


def test_nothing_detected_is_no_animal() -> None:
    """Where DeepLabCut-Live 1.1 returns one at (0, 0)."""
    rig = Rig()
    found = one_by_one(rig.finder, captured(drawn([None] * 7)))
    assert looked(found) == "dbbbbdb"
    for one in found:
        assert len(one.poses) == len(one.ids) == 0 and one.lost
        assert one.poses.xy.shape == (0, 2, 2)
    assert rig.crops.shapes == []


GONE = None


def test_animals_that_leave_and_enter_change_neither_the_detectors_pace_nor_the_others_numbers() -> None:
    """What rtmlib 0.0.15 breaks: once ids are no longer 0..N-1 its detector runs in every frame, and ids grow."""
    rig = Rig(every=5)
    stays = [(150.0, 100.0)] * 60
    first = [(40.0, 40.0)] * 12 + [GONE] * 48
    second = [GONE] * 17 + [(260.0, 40.0)] * 16 + [GONE] * 27
    third = [GONE] * 38 + [(40.0, 190.0)] * 22
    found = one_by_one(rig.finder, captured(drawn_together([stays, first, second, third])))
    assert looked(found) == "dbbbb" * 12 and len(rig.detector.shapes) == 12
    # An animal that has just left is a pose without a sure keypoint, and nobody.
    numbers = [
        {
            (round(x), round(y)): int(number)
            for (x, y), number in zip(one.poses.xy[:, 0], one.ids, strict=True)
            if number >= 0
        }
        for one in found
    ]
    assert [of.get((150, 100)) for of in numbers] == [1] * 60
    assert {of[40, 40] for of in numbers if (40, 40) in of} == {0}
    # Each is found by the next detection, and loses nothing before it is gone.
    assert [t for t, of in enumerate(numbers) if of.get((260, 40)) == 2] == list(range(20, 33))
    assert [t for t, of in enumerate(numbers) if of.get((40, 190)) == 3] == list(range(40, 60))
    assert max(max(one.ids) for one in found) == 3


def test_a_lost_animal_is_looked_for_by_the_detector_in_the_same_frame() -> None:
    rig = Rig(every=50, search_s=0.05)
    path = [(40.0, 40.0)] * 4 + [(250.0, 180.0)] * 6
    stays = [(150.0, 100.0)] * 10
    found = one_by_one(rig.finder, captured(drawn_together([path, stays])))
    assert looked(found) == "dbbb" + "dbbbbb"
    for number, one in enumerate(found):
        assert where(one) == sorted([path[number], (150, 100)]) and one.poses.score.all()
    # It jumped further than an animal can: it is an other one, and the first is lost until its number ends.
    assert [one.lost for one in found] == [False] * 4 + [True] * 5 + [False]
    assert found[3].ids.tolist() == [0, 1] and sorted(found[4].ids.tolist()) == [1, 2]


def test_an_animal_that_is_lost_too_soon_after_another_waits_its_turn() -> None:
    rig = Rig(every=50, search_s=0.045)
    path = [(40.0, 40.0)] * 4 + [(250.0, 180.0)] * 2 + [(40.0, 190.0)] * 5
    found = one_by_one(rig.finder, captured(drawn_together([path, [(150.0, 100.0)] * 11])))
    assert looked(found) == "dbbb" + "db" + "bbb" + "db"
    assert [one.poses.score.all(axis=1).sum() for one in found] == [2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2]
    assert [one.lost for one in found[6:9]] == [True] * 3
    # Of all frames only the fifth was looked at twice, since nobody knew beforehand.
    assert len(rig.crops.shapes) == len(found) + 1


def test_an_animal_that_is_gone_costs_one_detection() -> None:
    rig = Rig(every=50, search_s=0.02)
    path = [(40.0, 40.0)] * 4 + [GONE] * 20
    found = one_by_one(rig.finder, captured(drawn_together([path, [(150.0, 100.0)] * 24])))
    assert looked(found) == "dbbb" + "d" + "b" * 19
    assert [len(one.poses) for one in found] == [2] * 4 + [1] * 20


def test_nobody_there_is_looked_for_at_intervals() -> None:
    rig = Rig(every=100, search_s=0.045)
    path = [GONE] * 13 + [(100.0, 100.0)] * 7
    found = one_by_one(rig.finder, captured(drawn(path)))
    # At frame 1 for the sake of who is lost, then every 45 ms of frames of 10 ms.
    assert looked(found) == "dd" + "bbbbd" * 3 + "bbb"
    assert [len(one.poses) for one in found] == [0] * 16 + [1] * 4


class Forgetful(Spots):
    """Is sure of an animal in the frames of a detection only."""

    def __init__(self) -> None:
        super().__init__()
        self.rig: Rig | None = None
        self.detections = 0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = super().run(inputs)
        assert self.rig is not None
        if len(self.rig.detector.shapes) == self.detections:
            found["keypoints"][..., 2] = 0
        self.detections = len(self.rig.detector.shapes)
        return found


def test_an_animal_that_is_lost_again_and_again_does_not_keep_the_detector_running() -> None:
    network = Forgetful()
    rig = network.rig = Rig(every=100, search_s=0.095, crops=network)
    found = one_by_one(rig.finder, captured(drawn([(100, 100)] * 100)))
    # The first frame, the second, and every 95 ms of frames of 10 ms from there on.
    assert [t for t, one in enumerate(found) if one.looked == "detector"] == [0, *range(1, 100, 10)]
    assert len(rig.detector.shapes) == 11


def test_without_searching_a_lost_animal_waits_for_the_next_detection() -> None:
    rig = Rig(every=6)
    found = one_by_one(rig.finder, captured(drawn([(40, 40)] * 3 + [(250, 180)] * 6)))
    assert looked(found) == "dbbbbbdbb"
    assert [one.lost for one in found[:6]] == [False] * 3 + [True] * 3
    assert [len(one.poses) for one in found] == [1, 1, 1, 1, 0, 0, 1, 1, 1]


def test_the_detector_looks_at_least_so_often_whatever_number_of_frames_was_skipped() -> None:
    rig = Rig(every=50, redetect_s=0.045)
    numbers = [*range(12), 20, 21, 22, 30, 31]
    found = one_by_one(rig.finder, captured(drawn([(100, 100)] * len(numbers)), numbers=numbers))
    detected = [number for number, one in zip(numbers, found, strict=True) if one.looked == "detector"]
    assert detected == [0, 5, 10, 20, 30]


def test_a_time_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="redetect_s: -1 s is no time"):
        Rig(redetect_s=-1)
    with pytest.raises(ConfigError, match="search_s: nan s is no time"):
        Rig(search_s=math.nan)


def test_whoever_writes_into_poses_does_not_steer_the_boxes() -> None:
    rig = Rig(every=50)
    for frame in captured(drawn([(40 + 3 * t, 60) for t in range(20)])):
        [found] = rig.finder.find([frame])
        np.testing.assert_allclose(found.poses.xy[0], animal((40 + 3 * frame.number, 60)), atol=HALF_A_PIXEL)
        found.poses.xy[:] = 0
        found.poses.score[:] = 0
    assert len(rig.detector.shapes) == 1


def test_cameras_share_batches_and_know_nothing_of_each_other() -> None:
    rig = Rig(every=4)
    left = captured(drawn_together([[(40.0, 40.0)] * 6, [(200.0, 100.0)] * 6]), "left")
    right = captured(drawn([(100, 150)] * 6), "right")
    small = captured([np.ascontiguousarray(image[:160, :200]) for image in drawn([(50, 50)] * 6)], "small")
    for frames in zip(left, small, right, strict=True):
        found = rig.finder.find(frames)
        assert [where(one) for one in found] == [[(40, 40), (200, 100)], [(50, 50)], [(100, 150)]]
        assert [sorted(one.ids.tolist()) for one in found] == [[0, 1], [0], [0]]
    # In the first frame and in the fifth; three crops of the two cameras at once, and one of the third.
    assert rig.detector.shapes == [(2, 240, 320), (1, 160, 200)] * 2
    assert [shape[0] for shape in rig.crops.shapes] == [3, 1] * 6
    rig.finder.forget("right")
    assert [one.looked for one in rig.finder.find([left[-1], right[-1]])] == ["boxes", "detector"]


def test_frames_of_another_size_are_detected_anew() -> None:
    rig = Rig(every=50)
    frames = captured(drawn([(40, 60)] * 3)) + captured(drawn([(40, 60)] * 2, 260, 340), numbers=[3, 4])
    assert looked(one_by_one(rig.finder, frames)) == "dbbdb"


def test_warming_up_runs_every_number_of_animals_and_forgets_nothing() -> None:
    rig = Rig(every=50, most=2)
    frames = captured(drawn([(40, 60)] * 3))
    one_by_one(rig.finder, frames[:2])
    rig.detector.shapes.clear()
    rig.crops.shapes.clear()
    rig.finder.warm_up(240, 320, 2)
    assert rig.detector.shapes == [(1, 240, 320), (2, 240, 320)]
    assert rig.crops.shapes == [(count, 96, 96) for count in (1, 2, 3, 4)]
    assert rig.finder.find(frames[2:])[0].looked == "boxes"
