"""An output may sleep, raise or never come back: nobody waits for it, and what it drives is let go."""

from __future__ import annotations

import errno
import threading
import time

import pytest
from live_poses import found_of, pose_at
from live_stand_ins import KeptOutput, MovedClock

from rigpose.live.clock import now
from rigpose.live.faults import FaultKind, LiveError
from rigpose.live.live_pose import LivePose
from rigpose.live.running.health import Health
from rigpose.live.running.output_thread import OutputThread
from rigpose.live.status import OutputCounts

NEVER_STALE = 1e6
FOUND = found_of([[(1, 1), (2, 2), (3, 3)]])


def pose(number: int, camera: str = "top") -> LivePose:
    return pose_at(now(), FOUND, number=number, camera=camera)


def closed(counts: OutputCounts) -> bool:
    return counts.offered == counts.sent + counts.dropped + counts.failed + counts.waiting


class Gate:
    """A ``send`` that stays in the first result until it is opened."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, _: LivePose) -> None:
        self.entered.set()
        assert self.open.wait(20)


def test_results_go_in_order_and_it_is_closed_in_the_safe_state() -> None:
    output = KeptOutput()
    thread = OutputThread(output, stale_after=NEVER_STALE)
    thread.start()
    assert thread.counts.in_safe_state
    for number in range(3):
        thread.offer(pose(number))
        assert output.until(lambda said, number=number: said[-1] == number)
    assert thread.stop(20)
    assert output.said == ["open", 0, 1, 2, "safe", "close"]
    assert thread.counts == OutputCounts(offered=3, sent=3, in_safe_state=True)
    assert thread.latency.count == 3


def test_newest_result_wins_and_nobody_waits() -> None:
    gate, kept = Gate(), []
    output = KeptOutput(sends=gate)
    thread = OutputThread(output, stale_after=NEVER_STALE)
    thread.start()
    thread.offer(pose(0))
    assert gate.entered.wait(20)
    begun = time.perf_counter()
    for number in range(1, 1001):
        thread.offer(pose(number))
        kept.append(thread.counts)
    took = time.perf_counter() - begun
    assert all(closed(counts) and counts.waiting == 2 for counts in kept)
    gate.open.set()
    assert output.until(lambda said: said[-1] == 1000)
    assert thread.stop(20)
    assert output.said == ["open", 0, 1000, "safe", "close"]
    assert thread.counts == OutputCounts(offered=1001, sent=2, dropped=999, in_safe_state=True)
    # A thousand take about 20 ms; waiting for the output even once would be 20 s.
    assert took < 5


def test_newest_of_every_camera_waits() -> None:
    gate = Gate()
    output = KeptOutput(sends=gate)
    thread = OutputThread(output, stale_after=NEVER_STALE)
    thread.start()
    thread.offer(pose(0))
    assert gate.entered.wait(20)
    for number in range(1, 10):
        for place, camera in enumerate(("left", "right", "top")):
            thread.offer(pose(100 * place + number, camera))
    assert thread.counts.waiting == 4 and closed(thread.counts)
    gate.open.set()
    assert output.until(lambda said: said[1:] == [0, 9, 109, 209])
    assert thread.stop(20)


def test_recorder_keeps_all_in_order_until_it_is_full() -> None:
    gate = Gate()
    output = KeptOutput(sends=gate)
    thread = OutputThread(output, capacity=5, keep_all=True, stale_after=NEVER_STALE)
    thread.start()
    thread.offer(pose(0))
    assert gate.entered.wait(20)
    for number in range(1, 11):
        thread.offer(pose(number))
    assert thread.counts.dropped == 5 and closed(thread.counts)
    gate.open.set()
    assert thread.stop(20)
    assert output.said == ["open", 0, 1, 2, 3, 4, 5, "safe", "close"]


def test_stop_by_hand_sends_nothing_more_and_the_end_of_a_recording_does() -> None:
    for send_waiting, last in ((False, [0]), (True, [0, 1])):
        gate = Gate()
        output = KeptOutput(sends=gate)
        thread = OutputThread(output, stale_after=NEVER_STALE)
        thread.start()
        thread.offer(pose(0))
        assert gate.entered.wait(20)
        thread.offer(pose(1))
        stopping = threading.Thread(target=thread.stop, args=(20,), kwargs={"send_waiting": send_waiting})
        stopping.start()
        while not thread._stopping:
            time.sleep(0.001)
        thread.offer(pose(2))  # too late
        gate.open.set()
        stopping.join()
        assert output.said == ["open", *last, "safe", "close"]
        assert closed(thread.counts) and thread.counts.offered == 3


def test_safe_when_no_result_comes_for_too_long() -> None:
    output = KeptOutput()
    thread = OutputThread(output, stale_after=0.05)
    thread.start()
    thread.offer(pose(0))
    assert output.until(lambda said: said == ["open", 0, "safe"])
    assert thread.counts.in_safe_state
    time.sleep(0.15)
    assert output.said == ["open", 0, "safe"]  # told once
    thread.offer(pose(1))
    assert output.until(lambda said: said[3:] == [1, "safe"])
    assert thread.stop(20)


def test_one_silent_camera_is_enough_for_the_safe_state() -> None:
    output = KeptOutput()
    clock = MovedClock()
    thread = OutputThread(output, stale_after=0.5, clock=clock)
    thread.start()
    thread.offer(pose(0, "left"))
    assert output.until(lambda said: said[-1] == 0)
    for number in range(1, 6):
        clock.advance(0.2)
        thread.offer(pose(number, "right"))
        assert output.until(lambda said, number=number: number in said)
    # Between frames 2 (0.4 s) and 3 (0.6 s) the left camera's half second was over, and it is told once.
    assert output.said.count("safe") == 1 and output.said.index("safe") in (4, 5)
    assert thread.stop(20)


@pytest.mark.parametrize(
    "error", [ValueError("odd"), OSError(errno.ENOSPC, "No space left on device"), ConnectionResetError()]
)
def test_exception_is_a_fault_then_safe_then_it_goes_on(error: Exception) -> None:
    def send(of: LivePose) -> None:
        if of.frame.number == 1:
            raise error

    health = Health()
    output = KeptOutput(sends=send)
    thread = OutputThread(output, stale_after=NEVER_STALE, health=health)
    thread.start()
    for number, expected in ((0, 0), (1, "safe"), (2, 2)):
        thread.offer(pose(number))
        assert output.until(lambda said, expected=expected: said[-1] == expected)
    assert thread.stop(20)
    assert output.said == ["open", 0, "safe", 2, "safe", "close"]
    counts = thread.counts
    assert (counts.sent, counts.failed) == (2, 1) and closed(counts)
    (fault,) = health.faults
    assert fault.kind is FaultKind.OUTPUT_FAILED and fault.where == "output"
    assert type(error).__name__ in fault.sentence


def test_output_that_always_fails_is_tried_less_and_less() -> None:
    calls = []

    def send(of: LivePose) -> None:
        calls.append(of.frame.number)
        raise ValueError

    health, clock = Health(), MovedClock()
    output = KeptOutput(sends=send)
    thread = OutputThread(output, stale_after=NEVER_STALE, health=health, clock=clock)
    thread.start()
    for number in range(5):
        thread.offer(pose(number))
        assert output.until(lambda said, number=number: said.count("safe") == number + 1)
    for number in range(5, 50):
        thread.offer(pose(number))
    assert len(calls) == 5  # the sixth has to wait
    clock.advance(0.51)
    thread.offer(pose(50))
    assert output.until(lambda said: said.count("safe") == 6)
    assert calls[5:] == [50] and closed(thread.counts)
    assert thread.stop(20) and len(health.faults) == 1
    assert thread.counts.waiting == 0


def test_result_that_grew_old_while_the_output_failed_is_not_sent() -> None:
    failing = [True] * 5

    def send(of: LivePose) -> None:
        if failing:
            failing.pop()
            raise ValueError

    clock = MovedClock()
    output = KeptOutput(sends=send)
    thread = OutputThread(output, stale_after=0.4, clock=clock)
    thread.start()
    for number in range(5):
        thread.offer(pose(number))
        assert output.until(lambda said, number=number: said.count("safe") == number + 1)
    thread.offer(pose(5))  # waits for the next attempt, in half a second
    clock.advance(0.6)
    thread.make_safe()  # only wakes the thread up: its own waiting goes by real time
    assert output.until(lambda said: said.count("safe") == 6)
    assert thread.stop(20, send_waiting=True)
    assert output.poses == [] and closed(thread.counts) and thread.counts.dropped == 1


def test_safe_state_that_cannot_be_reached_is_tried_again() -> None:
    class Stuck(KeptOutput):
        times = 0

        def safe(self) -> None:
            self.times += 1
            if self.times < 3:
                raise OSError("line is stuck")
            super().safe()

    health, output = Health(), Stuck()
    thread = OutputThread(output, stale_after=NEVER_STALE, health=health)
    thread.start()
    thread.offer(pose(0))
    assert output.until(lambda said: said[-1] == 0)
    thread.make_safe()
    assert output.until(lambda said: said[-1] == "safe") and output.times == 3
    assert "could not be brought to its safe state" in health.faults[0].sentence
    assert thread.stop(20)


def test_lost_camera_is_told_no_more() -> None:
    output = KeptOutput()
    thread = OutputThread(output, stale_after=NEVER_STALE)
    thread.start()
    thread.offer(pose(0))
    assert output.until(lambda said: said[-1] == 0)
    thread.make_safe(lost=("top",))
    thread.offer(pose(1))  # was in work as the camera was lost
    assert output.until(lambda said: said[-1] == "safe")
    thread.offer(pose(7, "side"))
    assert output.until(lambda said: said[-1] == 7)
    assert thread.stop(20)
    assert output.said == ["open", 0, "safe", 7, "safe", "close"] and closed(thread.counts)


def test_send_that_never_returns_is_reported_and_left_alone() -> None:
    gate, health, clock = Gate(), Health(), MovedClock()
    thread = OutputThread(KeptOutput(sends=gate), stale_after=NEVER_STALE, health=health, clock=clock)
    thread.start()
    thread.offer(pose(0))
    assert gate.entered.wait(20)
    thread.check()
    assert not health.faults
    clock.advance(1.1)
    thread.check()
    assert health.faults[0].kind is FaultKind.OUTPUT_STALLED
    for number in range(1, 4):
        thread.offer(pose(number))
    assert not thread.stop(0.05)
    assert closed(thread.counts) and thread.counts.waiting == 1 and not thread.counts.in_safe_state
    gate.open.set()


def test_output_that_cannot_be_opened_is_refused() -> None:
    class Absent(KeptOutput):
        def open(self) -> None:
            raise LiveError("line: there is no such line; plug it in.")

    thread = OutputThread(Absent())
    with pytest.raises(LiveError, match="no such line"):
        thread.start()
    assert thread.stop(20)
