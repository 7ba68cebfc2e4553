"""Live frames as wholes: one batch for cameras of one size, and numbers that animals keep, whatever is skipped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from drawn_herd import NOBODY, herd, nose
from drawn_video import draw_frame
from live_networks import WHOLE, Spots, animal, captured, drawn, one_by_one, round_trip

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Array
from rigpose.live.finding.following import Identities
from rigpose.live.finding.whole_frame import WholeFrameFinder
from rigpose.models.preprocess import Preparation
from rigpose.poses import Poses
from rigpose.tracking.settings import TrackingSettings


def of_spots() -> tuple[WholeFrameFinder, Spots]:
    session = Spots()
    return WholeFrameFinder(Analyzer(WHOLE, session), None), session


class Shuffled(Analyzer):
    """The animals of ``drawn_herd``, in an order that changes with every frame."""

    def __init__(self) -> None:
        plain = herd()
        super().__init__(plain.spec, plain.session)
        self.turn = 0

    def poses(self, candidates: dict[str, Array], preparation: Preparation) -> list[Poses]:
        self.turn += 1
        return [found.take(np.roll([0, 1, 2], self.turn)) for found in super().poses(candidates, preparation)]


def test_frames_of_one_size_are_one_batch_and_every_camera_gets_its_own() -> None:
    places = [(40.0, 50.0), (200.0, 100.0), (90.0, 20.0), (10.0, 110.0)]
    wide = drawn(places[:2])
    small = drawn(places[2:], height=160, width=200)
    frames = [
        captured([image], camera)[0]
        for camera, image in (("a", wide[0]), ("b", small[0]), ("c", wide[1]), ("d", small[1]))
    ]
    finder, session = of_spots()
    found = finder.find(frames)
    assert session.shapes == [(2, 240, 320), (2, 160, 200)]
    for one, place in zip(found, (places[0], places[2], places[1], places[3]), strict=True):
        np.testing.assert_allclose(one.poses.xy[0], animal(place), atol=0.05)  # the middle of a drawn, rounded spot
        assert one.looked == "whole" and not one.lost and one.ids.tolist() == [0]


def test_what_was_found_is_nobody_elses_memory() -> None:
    finder, _ = of_spots()
    first, second = one_by_one(finder, captured(drawn([(40, 50), (200, 100)])))
    np.testing.assert_allclose(first.poses.xy[0], animal((40, 50)), atol=0.05)
    assert not np.shares_memory(first.poses.xy, second.poses.xy)


def test_one_animal_that_is_not_there_is_lost() -> None:
    finder, _ = of_spots()
    assert [found.lost for found in one_by_one(finder, captured(drawn([(40, 50), None, (60, 50)])))] == [0, 1, 0]


def test_a_frame_without_animals_has_none_and_ids_outlive_it() -> None:
    """In five frames of ``drawn_herd`` nobody is there; ids are counted from the left."""
    finder = WholeFrameFinder(herd(), TrackingSettings(use_identity=False))
    found = one_by_one(finder, captured(draw_frame(number) for number in range(NOBODY.stop + 5)))
    for number, one in enumerate(found):
        if number in NOBODY:
            assert len(one.poses) == len(one.ids) == 0 and one.lost
            continue
        # Places differ from frame to frame by half a pixel, and from animal to animal by 45.
        np.testing.assert_array_equal(one.ids, [0, 1, 2])
        np.testing.assert_allclose(one.poses.xy[:, 0], [nose(animal, number) for animal in range(3)], atol=1e-4)
        assert not one.lost


def test_animals_keep_their_numbers_whatever_order_the_network_has_them_in() -> None:
    finder = WholeFrameFinder(Shuffled(), TrackingSettings(use_identity=False))
    found = one_by_one(finder, captured(draw_frame(number) for number in range(12)))
    for number, one in enumerate(found):
        np.testing.assert_allclose(one.poses.xy[:, 0], [nose(animal, number) for animal in one.ids], atol=1e-4)
    assert len({tuple(one.ids.tolist()) for one in found}) == 3


def test_a_forgotten_camera_gets_new_numbers_and_the_other_keeps_its() -> None:
    finder = WholeFrameFinder(herd(), TrackingSettings(use_identity=False, min_hits=3))
    both = [captured(map(draw_frame, range(6)), camera) for camera in ("left", "right")]
    for pair in zip(*both, strict=True):
        finder.find(pair)
    finder.forget("left")
    left, right = finder.find([captured([draw_frame(6)], camera, numbers=[6])[0] for camera in ("left", "right")])
    assert left.ids.tolist() == [-1] * 3 and sorted(right.ids.tolist()) == [0, 1, 2]


def test_warming_up_runs_every_number_of_frames_and_numbers_nobody() -> None:
    finder, session = of_spots()
    finder.warm_up(240, 320, 3)
    assert session.shapes == [(1, 240, 320), (2, 240, 320), (3, 240, 320)]
    several = WholeFrameFinder(herd(), TrackingSettings(use_identity=False))
    several.warm_up(96, 160, 2)
    assert sorted(one_by_one(several, captured([draw_frame(0)]))[0].ids.tolist()) == [0, 1, 2]


LENGTH = 40.0
SETTINGS = TrackingSettings()


def runners(count: int, *, speed: float, seed: int) -> list[Poses]:
    """Two animals of 40 px that turn as they please, ``speed`` of their length per camera frame, and meet at times."""
    random = np.random.default_rng(seed)
    centre, angle = random.uniform(0, 400, (2, 2)), random.uniform(0, 2 * np.pi, 2)
    found = []
    for _ in range(count):
        # They turn back towards the middle without leaving for ever.
        home = np.arctan2(*(200 - centre).T[::-1])
        angle += random.normal(0, 0.05, 2) + 0.04 * np.sin(home - angle)
        ahead = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        centre = centre + speed * LENGTH * ahead
        aside = ahead[:, ::-1] * (-1, 1)
        xy = np.stack([centre - ahead * LENGTH / 2, centre + 0.1 * LENGTH * aside, centre + ahead * LENGTH / 2], axis=1)
        found.append(Poses((xy + random.normal(0, 1, xy.shape)).astype(np.float32), np.ones((2, 3), np.float32)))
    return found


def survivors(count: int) -> list[int]:
    """Numbers of the frames that a network of 25 ms sees of a camera of 100 frames/s: the newest each time. Now and
    then the machine is busy for a moment longer."""
    free, numbers = 0.0, []
    while (newest := int(free / 10)) < count:
        numbers.append(newest)
        free = max(free, 10.0 * newest) + 25 + (12 if len(numbers) % 9 == 5 else 0)
    return numbers


def identified(poses: Sequence[Poses], numbers: Sequence[int]) -> list[tuple[list[int], bool]]:
    """Ids, and whether somebody is missing, in the frames of these numbers."""
    identities = Identities(SETTINGS)
    frames = captured([np.zeros((1, 1, 3), np.uint8)] * len(numbers), numbers=numbers)
    told = [identities.of(frame, poses[frame.number]) for frame in frames]
    return [(ids.tolist(), missing) for ids, missing in told]


@pytest.mark.parametrize("speed", [0.02, 0.1, 0.2])
def test_fast_animals_keep_their_numbers_though_most_frames_are_superseded(speed: float) -> None:
    """0.2 lengths per frame of 10 ms are those of a mouse of 8 cm that runs 1.6 m/s."""
    numbers = survivors(600)
    assert set(np.diff(numbers).tolist()) == {2, 3, 4} and 0.58 < 1 - len(numbers) / 600 < 0.64
    for seed in range(3):
        told = identified(runners(600, speed=speed, seed=seed), numbers)
        assert told == [(told[0][0], False)] * len(numbers) and sorted(told[0][0]) == [0, 1]


@pytest.mark.parametrize("stall", [5, 30, 2000])
def test_animals_that_stay_keep_their_numbers_across_a_stall(stall: int) -> None:
    still = runners(1, speed=0, seed=0) * (stall + 40)
    numbers = [*range(0, 30, 3), 27 + stall, 30 + stall]
    assert identified(still, numbers) == [([1, 0], False)] * len(numbers)


def test_a_camera_that_counts_anew_keeps_its_animals() -> None:
    still = runners(1, speed=0, seed=0) * 10
    assert identified(still, [7, 8, 9, 0, 1]) == [([1, 0], False)] * 5


def test_numbers_come_from_no_later_frame() -> None:
    """What is said of a frame is the same whether others follow it or not, even where animals are mixed up."""
    poses, numbers = runners(300, speed=2, seed=1), survivors(300)
    whole = identified(poses, numbers)
    assert len({str(ids) for ids, _ in whole}) > 1
    assert all(identified(poses, numbers[:end]) == whole[:end] for end in range(1, len(numbers), 17))


def test_an_animal_out_of_sight_is_lost_until_its_number_ends() -> None:
    identities = Identities(TrackingSettings(max_age=3))
    frames = captured([np.zeros((1, 1, 3), np.uint8)] * 9)
    [both] = runners(1, speed=0, seed=0)
    one = both.take(np.array([0]))
    missing = [identities.of(f, both if f.number in (0, 1, 8) else one)[1] for f in frames]
    assert missing == [False, False, True, True, True, False, False, False, False]


def test_round_trips_are_found_where_they_are() -> None:
    """The drawn network is exact, so that what other tests find with it is the geometry's."""
    finder, _ = of_spots()
    places = round_trip(12)
    for place, found in zip(places, one_by_one(finder, captured(drawn(places))), strict=True):
        np.testing.assert_allclose(found.poses.xy[0], animal(place), atol=0.05)
