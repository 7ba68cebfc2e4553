"""The camera that is not there: pace, truth, faults, and the stand-in that finds its animals."""

from __future__ import annotations

import itertools
import math
import time
from contextlib import suppress

import numpy as np
import pytest

from rigpose.arrays import Array
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.faults import LiveError, SourceLostError
from rigpose.live.finding.drawn_animals import DrawnAnimals
from rigpose.live.sources.frame_source import SourceEndedError
from rigpose.live.sources.simulated import NO_FAULTS, SimulatedCamera, SimulatedFaults
from rigpose.live.sources.simulated_scene import COLOURS, KEYPOINTS, SimulatedScene


class Time:
    """A clock that goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1e-6)


def camera(clock: Time, faults: SimulatedFaults = NO_FAULTS, **options: float) -> SimulatedCamera:
    made = SimulatedCamera(
        "sim",
        160,
        120,
        100.0,
        faults=faults,
        clock=clock,
        sleep=clock.sleep,
        **options,  # type: ignore[arg-type]
    )
    made.open()
    return made


def read_all(source: SimulatedCamera) -> list[CapturedFrame]:
    found = []
    with suppress(SourceEndedError):
        while True:
            if (frame := source.read(0.1)) is not None:
                found.append(frame)
    return found


def numbers(frames: list[CapturedFrame]) -> list[int]:
    return [frame.number for frame in frames]


def test_every_frame_comes_once_at_its_time() -> None:
    clock = Time()
    source = camera(clock, seconds=3.0)
    found = read_all(source)
    assert numbers(found) == list(range(300))
    # What a sleep takes at least, a microsecond, is all that a frame may be late.
    assert max(abs(frame.arrived - source.exposed(frame.number)) for frame in found) < 1e-5
    assert max(abs(frame.exposed - source.exposed(frame.number)) for frame in found) < 1e-5


def test_the_same_seed_gives_the_same_frames_and_another_one_others() -> None:
    faults = SimulatedFaults(drop=0.2, jitter=0.004, late=0.05)

    def shown(seed: int) -> tuple[list[int], Array]:
        found = read_all(camera(Time(), faults, seconds=1.0, seed=seed))
        return numbers(found), np.stack([frame.image for frame in found[:5]])

    (first, pictures), (again, same), (other, others) = shown(3), shown(3), shown(4)
    assert first == again and np.array_equal(pictures, same)
    assert first != other and not np.array_equal(pictures, others)


def test_a_late_reader_gets_the_newest_frame_and_a_gap() -> None:
    clock = Time()
    source = camera(clock)
    assert (first := source.read(1.0)) is not None and first.number == 0
    clock.now += 0.055
    assert (next_one := source.read(0.0)) is not None and next_one.number == 5
    assert source.read(0.0) is None
    assert (after := source.read(1.0)) is not None and after.number == 6


def test_dropped_frames_are_gaps_of_the_right_share() -> None:
    found = read_all(camera(Time(), SimulatedFaults(drop=0.3), seconds=20.0))
    # 2000 draws of probability 0.3: four standard deviations are 0.041.
    assert 1 - len(found) / 2000 == pytest.approx(0.3, abs=0.041)
    assert all(a < b for a, b in itertools.pairwise(numbers(found)))


def test_a_freeze_gives_nothing_for_its_time_and_then_goes_on() -> None:
    clock = Time()
    source = camera(clock, SimulatedFaults(freeze_after=1.0, freeze_for=0.5), seconds=2.0)
    found = numbers(read_all(source))
    assert found == [*range(100), *range(150, 200)]


def test_a_freeze_without_end_ends_with_the_camera() -> None:
    clock = Time()
    source = camera(clock, SimulatedFaults(freeze_after=0.5), seconds=2.0)
    assert numbers(read_all(source)) == list(range(50))
    assert clock.now >= 52.0


def test_an_unplugged_camera_is_lost_and_stays_away() -> None:
    clock = Time()
    source = camera(clock, SimulatedFaults(unplug_after=0.3))
    found = [source.read(1.0) for _ in range(30)]
    assert [frame and frame.number for frame in found] == list(range(30))
    with pytest.raises(SourceLostError, match="sim: the camera was unplugged"):
        source.read(1.0)
    assert clock.now == pytest.approx(50.3, abs=1e-3)  # it is noticed at once, not at the timeout
    source.close()
    with pytest.raises(LiveError, match="unplugged"):
        source.open()


def test_jitter_delays_arrivals_and_drift_only_the_camera_clock() -> None:
    source = camera(Time(), SimulatedFaults(jitter=0.005, clock_drift_ppm=50.0), seconds=8.0)
    found = read_all(source)
    late = np.array([frame.arrived - source.exposed(frame.number) for frame in found])
    assert 0 <= late.min() < 0.0005 and 0.0045 < late.max() < 0.0051
    stamps = np.array([frame.device_time for frame in found], float)
    assert (stamps[-1] - stamps[0]) / (found[-1].number / 100) == pytest.approx(1 + 50e-6, abs=1e-9)
    wrong = np.array([frame.exposed - source.exposed(frame.number) for frame in found])
    assert np.abs(wrong[500:]).max() < 0.0002  # as of the device clock itself


def test_a_late_frame_holds_up_those_behind_it() -> None:
    source = camera(Time(), SimulatedFaults(late=0.02, late_by=0.035), seconds=10.0)
    found = read_all(source)
    gaps = np.diff([frame.arrived for frame in found])
    # While one frame is 35 ms late, the three that follow wait behind it, and the newest of them is what is kept.
    assert gaps.max() > 0.034 and max(np.diff(numbers(found))) >= 4


def test_keypoints_are_drawn_where_the_truth_says() -> None:
    # By plain arithmetic, apart from the stand-in that finds them: the mean of a disc's pixel centres.
    scene = SimulatedScene(320, 240, 1, seed=5)
    truth = scene.truth(1.234)
    image = scene.draw(truth).astype(int)
    for keypoint, colour in enumerate(COLOURS.values()):
        inside = (np.abs(image - colour) < 76).all(axis=2)
        y, x = np.nonzero(inside)
        assert abs(len(x) - math.pi * scene.figure.radius**2) < 0.15 * len(x)
        # A disc of radius 7.7 px has a border of 48 pixels; that each is in or out moves its mean by some hundredths.
        assert (x.mean() + 0.5, y.mean() + 0.5) == pytest.approx(tuple(truth[0, keypoint]), abs=0.15)


@pytest.mark.parametrize(("width", "height", "animals"), [(640, 480, 1), (640, 480, 3), (160, 120, 1), (1280, 1024, 2)])
def test_animals_stay_in_the_picture_and_apart(width: int, height: int, animals: int) -> None:
    scene = SimulatedScene(width, height, animals, seed=1)
    truth = np.stack([scene.truth(t) for t in np.arange(0, 60, 0.25)])
    edge = scene.figure.radius
    assert (truth >= edge).all() and (truth <= np.array([width, height]) - edge).all()
    for a, b in itertools.combinations(range(animals), 2):
        far = np.linalg.norm(truth[:, a, :, None] - truth[:, b, None], axis=3)
        assert far.min() > 2 * edge


def test_it_refuses_more_animals_than_fit() -> None:
    with pytest.raises(LiveError, match=r"8 animals do not fit into 640x480 px"):
        SimulatedCamera(animals=8)


@pytest.mark.parametrize(("width", "height", "animals"), [(640, 480, 1), (640, 480, 3), (160, 120, 1)])
def test_the_stand_in_finds_every_keypoint_and_keeps_the_ids(width: int, height: int, animals: int) -> None:
    clock = Time()
    source = SimulatedCamera("sim", width, height, 100.0, animals=animals, clock=clock, sleep=clock.sleep)
    finder = DrawnAnimals(animals, seconds=0.025, clock=clock, sleep=clock.sleep)
    source.open()
    finder.warm_up(height, width, 1)
    kept: dict[int, int] = {}
    times = 0
    while times < 40:
        frame = source.read(1.0)
        assert frame is not None
        before = clock.now
        (found,) = finder.find([frame])
        assert clock.now - before == pytest.approx(0.025)
        times += 1
        truth = source.truth(frame.number)
        assert not found.lost and len(found.poses) == animals
        far = np.linalg.norm(found.poses.xy[:, None] - truth[None], axis=3).max(axis=2)
        nearest = far.argmin(axis=1)
        assert far.min(axis=1).max() < 0.5  # all keypoints of each animal
        assert sorted(nearest) == list(range(animals))
        assert ((found.poses.score > 0.7) & (found.poses.score <= 1)).all()
        for animal, number in zip(nearest, found.ids, strict=True):
            assert kept.setdefault(int(animal), int(number)) == number
    assert sorted(kept.values()) == list(range(animals))
    assert finder.session_time.seconds == pytest.approx(0.025 * times)


def test_the_stand_in_knows_how_many_each_camera_draws() -> None:
    many = {"one": 1, "three": 3}
    finder = DrawnAnimals(many, seconds=0.0)
    assert len(finder.spec.individuals) == 3
    finder.warm_up(120, 160, 2)  # in which three would not fit
    for name, size in (("one", (160, 120)), ("three", (480, 160))):
        source = SimulatedCamera(name, *size, animals=many[name])
        source.open()
        frame = source.read(10.0)
        assert frame is not None
        (found,) = finder.find([frame])
        far = np.linalg.norm(found.poses.xy[:, None] - source.truth(frame.number)[None], axis=3).max(axis=2)
        assert sorted(far.argmin(axis=1)) == list(range(many[name])) and far.min(axis=1).max() < 0.5


def test_faults_that_make_no_sense_are_refused() -> None:
    for name in ("jitter", "late_by", "freeze_after", "freeze_for", "unplug_after"):
        with pytest.raises(LiveError, match=f"{name}: -1 is no time; give 0 or more"):
            SimulatedFaults(**{name: -1.0})
    with pytest.raises(LiveError, match="late: nan is no share"):
        SimulatedFaults(late=math.nan)


def test_it_refuses_to_lose_everything_and_to_have_no_rate() -> None:
    with pytest.raises(LiveError, match="drop: a share of 1 leaves no camera"):
        SimulatedFaults(drop=1.0)
    with pytest.raises(LiveError, match="0 frames per second make no sense"):
        SimulatedCamera(frames_per_second=0)


def test_the_stand_in_says_lost_where_there_is_nothing_and_forgets() -> None:
    finder = DrawnAnimals(seconds=0.0)
    scene = SimulatedScene(160, 120, 1, seed=0)
    bare = CapturedFrame("a", 0, scene.ground, 0.0, 0.0)
    (found,) = finder.find([bare])
    assert found.lost and len(found.poses) == 0 and found.poses.keypoints == len(KEYPOINTS)
    drawn = CapturedFrame("a", 1, scene.draw(scene.truth(0.0)), 1.0, 1.0)
    assert finder.find([drawn])[0].ids.tolist() == [0]
    finder.forget("a")
    finder.forget("never seen")
    # A keypoint that something hides is missing, and the others are found.
    hidden = drawn.image.copy()
    x, y = scene.truth(0.0)[0, KEYPOINTS.index("snout")].astype(int)
    hidden[max(y - 9, 0) : y + 9, max(x - 9, 0) : x + 9] = 120
    (found,) = finder.find([CapturedFrame("a", 2, hidden, 2.0, 2.0)])
    assert np.isnan(found.poses.xy[0, 0]).all() and np.isnan(found.poses.score[0, 0])
    assert np.isfinite(found.poses.xy[0, 1:]).all()


def test_drawing_costs_well_below_a_millisecond() -> None:
    scene = SimulatedScene(640, 480, 1, seed=0)
    spent = []
    for i in range(100):
        began = time.perf_counter()
        scene.draw(scene.truth(i / 100))
        spent.append(time.perf_counter() - began)
    # The best of many is what the machine can do, however busy it is.
    assert min(spent) < 0.001
