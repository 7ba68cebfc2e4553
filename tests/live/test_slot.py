"""The newest frame wins: ages and shares as a queue of one predicts, fair to all cameras."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from live_stand_ins import SMALL, MovedClock, StubFinder

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.running.health import Health
from rigpose.live.running.inference import Inference, Looking
from rigpose.live.running.ledger import Ledger
from rigpose.live.running.slot import Slots
from rigpose.live.running.stage_times import StageTimes


def simulate(period: float, takes: float, spread: float, frames: int = 20_000) -> tuple[float, float, float]:
    """A camera and a model in a time that is moved on; median and p99 of the age [s], and the superseded share."""
    clock = MovedClock()
    ledger = Ledger(["top"])
    slots = Slots(["top"], ledger, clock=clock)
    times = StageTimes(clock())
    rng = np.random.default_rng(0)
    finder = StubFinder(lambda: takes * (1 + spread * rng.standard_normal()), sleep=clock.advance, clock=clock)
    inference = Inference(Looking(finder), slots, ledger, times, outputs=(), health=Health(clock), clock=clock)
    begun = clock()
    for number in range(frames):
        moment = begun + number * period

        def come(number: int = number, moment: float = moment) -> None:
            slots.put(CapturedFrame("top", number, SMALL, moment, moment))

        clock.at(moment, come)
    while clock.next():
        while not slots.empty:
            inference.turn()
    counts = ledger.counts()["top"]
    age = times.percentiles()["age"]
    assert counts.closed and counts.waiting == 0 and counts.captured == frames
    return age.p50 / 1000, age.p99 / 1000, counts.superseded / frames


@pytest.mark.parametrize(
    ("period", "takes", "p50", "p99", "superseded"),
    [
        (10, 9, 9.2, 14.0, 0.0),
        (10, 12, 16.9, 24.4, 0.17),
        (10, 15, 20.0, 28.3, 0.33),
        (10, 25, 29.9, 41.5, 0.60),
        (33.3, 40, 56.3, 81.1, 0.17),
    ],
)
def test_newest_frame_wins(period: float, takes: float, p50: float, p99: float, superseded: float) -> None:
    """An independent simulation of the policy with 15 % spread of the model's time gave these numbers [ms]."""
    found = simulate(period / 1000, takes / 1000, 0.15)
    assert found[0] == pytest.approx(p50 / 1000, rel=0.1)
    assert found[1] == pytest.approx(p99 / 1000, rel=0.1)
    # A model that is faster than the camera supersedes where it happens to be slow twice: 2 % of frames.
    assert found[2] == pytest.approx(superseded, rel=0.1, abs=0.02)


def test_model_of_exact_time() -> None:
    """A hair more than 25 ms meets the camera's 10 ms in every phase: ages are even between 25 and 35 ms."""
    p50, p99, superseded = simulate(0.010, 0.02501, 0.0)
    assert p50 == pytest.approx(0.030, rel=0.02) and p99 == pytest.approx(0.0349, rel=0.02)
    assert superseded == pytest.approx(0.6, abs=0.001)


def frame(camera: str, number: int, at: float) -> CapturedFrame:
    return CapturedFrame(camera, number, SMALL, at, at)


def slots_of(cameras: str, clock: MovedClock, **policy: float | int) -> tuple[Slots, Ledger]:
    ledger = Ledger(cameras)
    return Slots(cameras, ledger, clock=clock, **policy), ledger  # pyright: ignore[reportArgumentType]


def test_frames_are_handed_on_without_a_copy() -> None:
    slots, _ = slots_of("a", MovedClock())
    slots.put(given := frame("a", 0, 100.0))
    assert slots.take()[0] is given


def test_without_waiting_each_camera_goes_as_it_comes() -> None:
    clock = MovedClock()
    slots, _ = slots_of("ab", clock)
    slots.put(frame("b", 0, clock()))
    assert [f.camera for f in slots.take()] == ["b"]
    assert slots.take() == []


def test_waiting_for_the_other_camera_ends_when_it_comes_or_time_is_up() -> None:
    clock = MovedClock()
    slots, _ = slots_of("ab", clock, max_wait=0.004)
    slots.put(frame("a", 0, clock()))
    clock.advance(0.003)
    assert slots.take() == []
    slots.put(frame("b", 0, clock()))
    assert {f.camera for f in slots.take()} == {"a", "b"}

    slots.put(frame("a", 1, clock()))
    clock.advance(0.003)
    slots.put(frame("a", 2, clock()))  # a newer one does not begin the waiting anew
    clock.advance(0.0011)
    assert [f.number for f in slots.take()] == [2]

    slots.end("b")
    slots.put(frame("a", 3, clock()))
    assert [f.number for f in slots.take()] == [3]  # nobody waits for a camera that has ended


def test_no_camera_starves_where_not_all_fit_together() -> None:
    clock = MovedClock()
    slots, ledger = slots_of("abcde", clock, together=2)
    taken = Counter()
    for number in range(100):
        for camera in "abcde":
            slots.put(frame(camera, number, clock()))
        taken.update(f.camera for f in slots.take())
        clock.advance(0.01)
    assert set(taken.values()) == {40}
    assert all(counts.closed for counts in ledger.counts().values())


def test_rest_of_too_many_does_not_wait_again() -> None:
    clock = MovedClock()
    slots, _ = slots_of("abc", clock, together=2, max_wait=0.01)
    for camera in "abc":
        slots.put(frame(camera, 0, clock()))
    assert len(slots.take()) == 2
    assert len(slots.take()) == 1


def test_old_frames_are_stale_and_not_taken() -> None:
    clock = MovedClock()
    slots, ledger = slots_of("ab", clock, max_age=0.05)
    slots.put(frame("a", 7, clock()))
    clock.advance(0.06)
    slots.put(frame("b", 3, clock()))
    assert [f.camera for f in slots.take()] == ["b"]
    assert ledger.counts()["a"].stale == 1
    slots.put(replace(frame("a", 8, clock()), exposed=clock() - 0.049))
    assert [f.number for f in slots.take()] == [8]


def test_waiting_ends_with_a_frame_and_with_time() -> None:
    slots = Slots("a", Ledger("a"))
    assert not slots.wait(0.001)
    slots.put(frame("a", 0, 0.0))
    assert slots.wait(60)


def test_nobody_waits_at_closed_slots() -> None:
    slots, _ = slots_of("ab", clock := MovedClock(), max_wait=10.0)
    slots.put(frame("a", 0, clock()))
    waiting = threading.Thread(target=slots.wait, args=(1000,))  # for ever by this clock
    waiting.start()
    slots.close()
    waiting.join(20)
    assert not waiting.is_alive() and len(slots.take()) == 1
    assert not slots.wait(1000)
