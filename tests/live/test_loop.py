"""A run from cameras to outputs, and what becomes of it when one of its parts fails."""

from __future__ import annotations

import errno
import gc
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from live_stand_ins import KeptOutput, StubFinder, StubSource, StubTriggers

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.faults import FaultKind, LiveError
from rigpose.live.running.health import _MAY_FOLLOW, FIRST, LAST, Health
from rigpose.live.running.loop import LiveRun
from rigpose.live.running.run_options import LiveOptions
from rigpose.live.running.stage_times import StageTimes
from rigpose.live.sources.frame_source import Applied, FrameSource
from rigpose.live.sources.simulated import SimulatedCamera, SimulatedFaults
from rigpose.live.status import STAGES, RunState, RunStatus

LONG = 30.0
"""Only for machines that are very busy [s]; nothing here waits so long where all is well."""


def calm(**chosen: Any) -> LiveOptions:
    """Options by which a machine that stands still for a second is no fault of the run."""
    return LiveOptions(**{"frozen_after": LONG, "stalled_after": LONG, "stale_after": LONG, **chosen})


def run_of(finder: StubFinder, sources: Sequence[FrameSource], **parts: Any) -> LiveRun:
    return LiveRun(finder, sources, **{"options": calm(), **parts})


def closed(status: RunStatus) -> bool:
    return all(counts.closed and counts.waiting == 0 for counts in status.cameras.values()) and all(
        counts.offered == counts.sent + counts.dropped + counts.failed + counts.waiting
        for counts in status.outputs.values()
    )


def until(run: LiveRun, holds: Callable[[RunStatus], object], seconds: float = LONG) -> RunStatus:
    end = time.monotonic() + seconds
    while not holds(status := run.status()):
        assert time.monotonic() < end, status
        time.sleep(0.01)
    return status


def kinds(status: RunStatus) -> list[FaultKind]:
    return [fault.kind for fault in status.faults]


def test_a_recording_is_played_to_its_end(tmp_path: Path) -> None:
    source = StubSource(period=0.002, frames=60, drops=(7, 8, 30))
    finder, output, recorder = StubFinder(0.005), KeptOutput("line"), KeptOutput("file")
    seen: list[int] = []

    class Tap:
        name = "tap"

        def offer(self, frame: CapturedFrame) -> None:
            seen.append(frame.number)

    summary = tmp_path / "made" / "run.json"
    run = run_of(
        finder,
        [source],
        outputs=[output],
        recorders=[recorder],
        taps=[Tap()],
        options=calm(summary=summary, deadline=0.001),
        session_time=finder,
        facts={"bundle": "stub"},
    )
    assert run.status().state is RunState.STOPPED
    run.start()
    assert run.status().state in (RunState.RUNNING, RunState.DEGRADED)
    assert run.wait(LONG)
    status = run.stop()
    assert run.stop() is status and run.status() is status

    counts = status.cameras["camera"]
    assert status.state is RunState.STOPPED and closed(status)
    assert (counts.captured, counts.dropped_by_device) == (60, 3)
    assert counts.inferred == len(finder.looked) and counts.superseded == 60 - counts.inferred > 0
    assert [number for _, number in finder.looked][-1] == 62  # the last frame has its poses, too
    assert seen == sorted(set(range(63)) - {7, 8, 30})

    assert finder.warmed == [(4, 4, 1)] and (source.opened, source.closed) == (1, 1)
    assert source.threads == {"rigpose-camera-camera"}
    assert recorder.said == ["open", *[number for _, number in finder.looked], "safe", "close"]
    assert output.said[-3:] == [62, "safe", "close"] and status.outputs["line"].in_safe_state
    assert [pose.found for pose in recorder.poses] == [finder._found] * counts.inferred

    assert set(status.stages) == {*STAGES, "sent to line", "sent to file"}
    assert status.stages["age"].count == counts.inferred == status.deadline_misses
    assert status.stages["sessions"].p50 >= 4.95  # a sleep is never shorter; the histogram is within 1 %
    assert sum(status.histogram.values()) == counts.inferred == sum(moment.frames for moment in status.moments)
    for pose in recorder.poses:
        s = pose.stamps
        assert s.exposed <= s.arrived <= s.taken <= s.found <= s.judged and s.overhead >= 0

    told = json.loads(summary.read_text())
    assert not list(summary.parent.glob("*.writing*"))
    assert told["cameras"]["camera"]["superseded"] == counts.superseded and told["facts"] == {
        "bundle": "stub",
        "source camera": "camera, 4x4 px",
    }
    assert told["sources"] == {"camera": "camera"}
    assert told["missing"]["camera"]["dropped by device"] == {"numbers": "7-8,30", "not_listed": 0}
    lost = set(range(63)) - {7, 8, 30} - {number for _, number in finder.looked}
    ranges = [part.split("-") for part in told["missing"]["camera"]["superseded"]["numbers"].split(",")]
    assert {n for part in ranges for n in range(int(part[0]), int(part[-1]) + 1)} == lost
    assert told["histogram"][-1][0] is None and told["state"] == "stopped"


def test_stop_by_hand_while_it_runs() -> None:
    before = sys.getswitchinterval()
    run = run_of(StubFinder(0.002), [StubSource(period=0.001)], outputs=[output := KeptOutput()])
    run.start()
    assert sys.getswitchinterval() < before and gc.get_freeze_count() > 0
    until(run, lambda status: status.cameras["camera"].inferred > 5)
    status = run.stop()
    assert status.state is RunState.STOPPED and closed(status) and not status.faults
    assert output.said[-2:] == ["safe", "close"]
    assert sys.getswitchinterval() == before and gc.get_freeze_count() == 0
    with pytest.raises(LiveError, match="started before"):
        run.start()


def test_result_in_work_at_a_stop_by_hand_drives_nothing() -> None:
    entered, free = threading.Event(), threading.Event()

    def look(_: float) -> None:
        entered.set()
        assert free.wait(LONG)

    output, recorder = KeptOutput("line"), KeptOutput("file")
    run = run_of(StubFinder(1.0, sleep=look), [StubSource()], outputs=[output], recorders=[recorder])
    run.start()
    assert entered.wait(LONG)
    stopping = threading.Thread(target=run.stop)
    stopping.start()
    assert output.until(lambda said: said == ["open", "safe"])  # at once, while the graphs are still at work
    free.set()
    stopping.join()
    status = run.status()
    assert output.said == ["open", "safe", "safe", "close"] and closed(status)
    assert recorder.said[-2:] == ["safe", "close"] and len(recorder.poses) == status.cameras["camera"].inferred > 0


def test_cameras_share_the_model_and_none_starves() -> None:
    finder = StubFinder(0.004)
    names = ["a", "b", "c", "d"]
    run = run_of(finder, [StubSource(name, period=0.01, frames=40) for name in names], options=calm(max_wait=0.005))
    run.start()
    assert run.wait(LONG)
    status = run.stop()
    assert closed(status) and finder.warmed == [(4, 4, 4)] and max(finder.batches) == 4
    for name in names:
        assert status.cameras[name].captured == 40
        numbers = [number for camera, number in finder.looked if camera == name]
        assert numbers == sorted(set(numbers)) and numbers[-1] == 39
        # Four cameras in one batch of 4 ms each 10 ms: most frames of each are inferred, however busy the machine is.
        assert len(numbers) >= 10


def test_camera_that_dies_ends_and_the_others_go_on() -> None:
    output = KeptOutput()
    run = run_of(
        StubFinder(),
        [StubSource("left", period=0.005, lost_after=5), StubSource("right", period=0.005)],
        outputs=[output],
        triggers=(triggers := StubTriggers()),
    )
    run.start()
    status = until(run, lambda status: status.faults)
    assert not run.wait(0.1)
    went_on = status.cameras["right"].inferred
    status = until(run, lambda status: status.cameras["right"].inferred > went_on + 5)
    assert status.state is RunState.DEGRADED
    assert [(f.kind, f.where, f.ends_run) for f in status.faults] == [(FaultKind.SOURCE_LOST, "left", False)]
    assert "unplugged" in status.faults[0].sentence
    assert "safe" in output.said and triggers.switched_off >= 1
    status = run.stop()
    assert status.cameras["left"].captured == 5 and closed(status) and status.state is RunState.STOPPED


def test_run_is_faulted_when_the_last_camera_is_lost() -> None:
    output = KeptOutput()
    run = run_of(StubFinder(), [StubSource(period=0.005, lost_after=5)], outputs=[output], options=calm())
    run.start()
    assert run.wait(LONG)
    assert run.status().state is RunState.FAULTED and run.status().faults[-1].ends_run
    assert output.until(lambda said: said[-1] == "safe")  # before anybody stops the run
    status = run.stop()
    assert status.state is RunState.FAULTED and closed(status) and status.cameras["camera"].captured == 5


def test_driver_that_raises_anything_is_a_lost_camera() -> None:
    class Odd(StubSource):
        def read(self, timeout: float) -> CapturedFrame | None:  # noqa: ARG002
            raise ZeroDivisionError("inside the driver")

    run = run_of(StubFinder(), [odd := Odd()])
    run.start()
    assert run.wait(LONG)
    assert "ZeroDivisionError: inside the driver" in run.stop().faults[0].sentence and odd.closed == 1


def test_camera_that_freezes_is_a_fault_until_it_gives_frames_again() -> None:
    class Napping(StubSource):
        awake = threading.Event()

        def read(self, timeout: float) -> CapturedFrame | None:
            if self._given == 5 and not self.awake.wait(timeout):
                return None
            return super().read(timeout)

    output = KeptOutput()
    run = run_of(
        StubFinder(),
        [source := Napping(period=0.005)],
        outputs=[output],
        triggers=StubTriggers(),
        options=calm(frozen_after=0.3),
    )
    run.start()
    frozen = until(run, lambda status: status.state is RunState.DEGRADED and status.cameras["camera"].captured == 5)
    assert set(kinds(frozen)) == {FaultKind.SOURCE_FROZEN}
    assert output.until(lambda said: said[-1] == "safe")
    assert until(run, lambda status: status.triggers == {"near": False})
    source.awake.set()
    until(run, lambda status: status.state is RunState.RUNNING and status.triggers == {"near": True})
    assert closed(run.stop())


def test_driver_that_never_comes_back_is_left_alone() -> None:
    class Hung(StubSource):
        free = threading.Event()

        def read(self, timeout: float) -> CapturedFrame | None:
            if self._given == 3:
                self.free.wait()
            return super().read(timeout)

    run = run_of(StubFinder(), [source := Hung()], options=calm(patience=1.0))
    run.start()
    until(run, lambda status: status.cameras["camera"].inferred == 3)
    status = run.stop()
    assert kinds(status) == [FaultKind.SOURCE_FROZEN] and "did not come back" in status.faults[0].sentence
    assert closed(status)
    source.free.set()


def test_inference_that_fails_now_and_then_is_counted() -> None:
    finder = StubFinder(0.001, fails=lambda frames: frames[0].number % 4 == 0)
    run = run_of(finder, [StubSource(period=0.01, frames=40)], outputs=[output := KeptOutput()])
    run.start()
    assert run.wait(LONG)
    status = run.stop()
    failed = [number for _, number in finder.looked if number % 4 == 0]
    counts = status.cameras["camera"]
    assert closed(status) and counts.failed == len(failed) > 0 and status.state is RunState.STOPPED
    assert kinds(status) == [FaultKind.INFERENCE_FAILED] * len(failed)
    assert finder.forgotten == ["camera"] * len(failed)
    assert output.said.count("safe") >= 2 and not set(failed) & set(output.said)


def test_inference_that_fails_again_and_again_ends_the_run() -> None:
    finder = StubFinder(fails=lambda frames: True)
    run = run_of(finder, [StubSource(period=0.005)], outputs=[KeptOutput()], options=calm(failures=4))
    run.start()
    assert run.wait(LONG)
    status = run.stop()
    assert status.state is RunState.FAULTED and len(finder.looked) == 4 and closed(status)
    assert status.faults[-1].ends_run and "4 times in a row" in status.faults[-1].sentence
    assert status.outputs["output"].in_safe_state


def test_mistake_of_the_loop_itself_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(*_: object) -> None:
        raise ZeroDivisionError("a mistake")

    run = run_of(StubFinder(), [StubSource()], outputs=[output := KeptOutput()])
    monkeypatch.setattr(StageTimes, "add", add)
    run.start()
    assert run.wait(LONG) and run.status().state is RunState.FAULTED
    assert output.until(lambda said: said[-1] == "safe")
    status = run.stop()
    assert closed(status) and "ZeroDivisionError (a mistake)" in status.faults[0].sentence


def test_graphs_that_never_come_back_are_left_alone() -> None:
    free = threading.Event()
    run = run_of(
        StubFinder(0.001, sleep=lambda seconds: free.wait()),
        [StubSource()],
        options=calm(patience=0.1),
    )
    run.start()
    until(run, lambda status: status.cameras["camera"].captured > 1)
    status = run.stop()
    assert FaultKind.INFERENCE_FAILED in kinds(status) and "did not come back" in status.faults[-1].sentence
    assert all(counts.closed and counts.waiting for counts in status.cameras.values())
    free.set()


def test_rule_that_raises_is_a_fault_and_does_not_hold() -> None:
    triggers, output = StubTriggers(), KeptOutput()
    run = run_of(StubFinder(), [StubSource(period=0.005)], outputs=[output], triggers=triggers)
    run.start()
    until(run, lambda status: status.triggers == {"near": True})
    triggers.raises = True
    status = until(run, lambda status: status.faults)
    assert kinds(status) == [FaultKind.JUDGING_FAILED] and "told to raise" in status.faults[0].sentence
    until(run, lambda status: status.triggers == {"near": False})
    inferred = run.status().cameras["camera"].inferred
    until(run, lambda status: status.cameras["camera"].inferred > inferred + 3)
    triggers.raises = False
    until(run, lambda status: status.state is RunState.RUNNING and status.triggers == {"near": True})
    status = run.stop()
    assert closed(status) and status.cameras["camera"].failed == 0 and status.triggers == {"near": False}
    told = [dict(pose.triggers) for pose in output.poses]
    assert {"near": True} in told and {"near": False} in told and {} not in told


def test_predictor_is_asked_and_one_that_raises_lets_no_rule_hold() -> None:
    class Predictor:
        lead = 0.02

        def predict(self, frame, found):
            if frame.number == 3:
                raise ValueError("odd")
            return found.poses

    output = KeptOutput()
    run = run_of(
        StubFinder(),
        [StubSource(period=0.02, frames=6)],
        recorders=[output],
        predictor=Predictor(),
        triggers=StubTriggers(),
    )
    run.start()
    assert run.wait(LONG)
    assert kinds(run.stop()) == [FaultKind.JUDGING_FAILED]
    told = {pose.frame.number: (pose.predicted is None, pose.lead, dict(pose.triggers)) for pose in output.poses}
    assert told[3] == (True, 0.0, {"near": False}) and told[5] == (False, 0.02, {"near": True})


def test_tap_that_raises_is_a_fault_and_nothing_else() -> None:
    class Full:
        name = "video"

        def offer(self, frame: CapturedFrame) -> None:
            if frame.camera == "left":  # the recorder of one camera is given the other's frames, too
                raise OSError(errno.ENOSPC, "No space left on device")

    sources = [StubSource("left", period=0.005, frames=20), StubSource("right", period=0.005, frames=20)]
    run = run_of(StubFinder(), sources, taps=[Full()])
    run.start()
    assert run.wait(LONG)
    status = run.stop()
    assert kinds(status) == [FaultKind.RECORDING_FAILED] and "No space left" in status.faults[0].sentence
    assert {counts.captured for counts in status.cameras.values()} == {20} and closed(status)


def test_simulated_camera_that_drops_frames_and_is_unplugged() -> None:
    faults = SimulatedFaults(drop=0.2, jitter=0.004, unplug_after=1.0)
    camera = SimulatedCamera("sim", 160, 120, 100.0, faults=faults)
    run = run_of(StubFinder(0.015), [camera], outputs=[KeptOutput()])
    run.start()
    assert run.wait(LONG)
    status = run.stop()
    counts = status.cameras["sim"]
    assert status.state is RunState.FAULTED and closed(status) and FaultKind.SOURCE_LOST in kinds(status)
    assert counts.dropped_by_device > 0 and counts.captured > 0
    gone = sum(last - first + 1 for why in run.missing()["sim"].values() for first, last in why.ranges)
    assert gone == counts.dropped_by_device + counts.captured - counts.inferred


def test_callback_that_calls_exit_ends_nothing() -> None:
    output = KeptOutput(sends=lambda pose: sys.exit(1) if pose.frame.number == 2 else None)
    run = run_of(StubFinder(), [StubSource(period=0.02, frames=6)], recorders=[output])
    run.start()
    assert run.wait(LONG)
    status = run.stop()
    assert kinds(status) == [FaultKind.OUTPUT_FAILED] and closed(status) and status.outputs["output"].sent == 5


def test_what_cannot_be_opened_is_refused_and_everything_is_closed_again() -> None:
    class Absent(StubSource):
        def open(self) -> Applied:
            raise LiveError("cellar: there is no such camera; plug it in.")

    there, output = StubSource("there"), KeptOutput()
    run = run_of(StubFinder(), [there, Absent("cellar")], outputs=[output])
    with pytest.raises(LiveError, match="no such camera"):
        run.start()
    assert there.closed == 1 and output.said[-2:] == ["safe", "close"]
    assert run.status().state is RunState.STOPPED and closed(run.status())

    class Cold(StubFinder):
        def warm_up(self, height: int, width: int, frames: int) -> None:  # noqa: ARG002
            raise LiveError("graph: does not take these frames; crop them.")

    run = run_of(Cold(), [there := StubSource()], outputs=[output := KeptOutput()])
    with pytest.raises(LiveError, match="does not take"):
        run.start()
    assert there.closed == 1 and output.said[-2:] == ["safe", "close"]


def test_names_must_differ_and_options_make_sense() -> None:
    with pytest.raises(LiveError, match="two cameras"):
        run_of(StubFinder(), [StubSource("a"), StubSource("a")])
    with pytest.raises(LiveError, match="two outputs"):
        run_of(StubFinder(), [StubSource()], outputs=[KeptOutput("a")], recorders=[KeptOutput("a")])
    with pytest.raises(LiveError, match="at least one"):
        run_of(StubFinder(), [])
    for wrong in ({"max_age": 0.0}, {"max_wait": -1.0}, {"missed_share": 1.0}, {"together": 0}, {"deadline": -1}):
        with pytest.raises(LiveError, match=next(iter(wrong))):
            LiveOptions(**wrong)  # pyright: ignore[reportArgumentType]


def test_summary_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = run_of(StubFinder(), [StubSource(frames=3)], options=calm(summary=tmp_path / "file" / "run.json"))
    run.start()
    assert run.wait(LONG)
    status = run.stop()
    assert kinds(status) == [FaultKind.RECORDING_FAILED] and "run.json" in status.faults[0].sentence


@pytest.mark.parametrize("first", RunState)
@pytest.mark.parametrize("second", RunState)
def test_only_legal_states_follow(first: RunState, second: RunState) -> None:
    health = Health()
    health._state = first
    if second in _MAY_FOLLOW[first]:
        health.go(second)
        assert health.state is second
    else:
        with pytest.raises(ValueError, match="cannot become"):
            health.go(second)
        assert health.state is first


def test_run_is_degraded_as_long_as_any_fault_goes_on() -> None:
    health = Health()
    for state in (RunState.LOADING, RunState.WARM):
        health.go(state)
    assert health.report(FaultKind.OUTPUT_FAILED, "line", "line: failed.")
    health.go(RunState.RUNNING)
    assert health.state is RunState.DEGRADED
    assert not health.report(FaultKind.OUTPUT_FAILED, "line", "line: failed again.")
    assert health.report(FaultKind.SOURCE_FROZEN, "top", "top: froze.")
    health.over(FaultKind.OUTPUT_FAILED, "line")
    assert health.state is RunState.DEGRADED
    health.over(FaultKind.SOURCE_FROZEN, "top")
    assert health.state is RunState.RUNNING and len(health.faults) == 2
    assert health.report(FaultKind.SOURCE_LOST, "top", "top: gone.", ends_run=True)
    health.over(FaultKind.SOURCE_LOST, "top")
    assert health.state is RunState.FAULTED and health.ended.is_set()
    with pytest.raises(ValueError, match="cannot become"):
        health.go(RunState.STOPPED)


def test_faults_of_a_long_bad_day_stay_few() -> None:
    health = Health()
    for number in range(FIRST + LAST + 100):
        health.report(FaultKind.OUTPUT_FAILED, "line", str(number))
        health.over(FaultKind.OUTPUT_FAILED, "line")
    assert len(health.faults) == FIRST + LAST and health.count == FIRST + LAST + 100
    assert (health.faults[0].sentence, health.faults[-1].sentence) == ("0", str(FIRST + LAST + 99))
