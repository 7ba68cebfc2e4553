"""What the loop costs by a real clock. The machine may be busy: what is measured is the best of several attempts, as
other programs can only add to it."""

from __future__ import annotations

import errno
import time
import tracemalloc
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
import pytest
from live_stand_ins import KeptOutput, StubFinder, StubSource

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Array
from rigpose.live.faults import FaultKind
from rigpose.live.finding.whole_frame import WholeFrameFinder
from rigpose.live.live_pose import LivePose
from rigpose.live.outputs.output import Output
from rigpose.live.running.loop import LiveRun
from rigpose.live.running.run_options import LiveOptions
from rigpose.live.status import RunStatus
from rigpose.live.watched_session import watch_sessions
from rigpose.models.model_spec import ModelSpec

LONG = 120.0
VGA = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
ATTEMPTS = 4


class StubSession:
    """A graph of exact duration: one animal of eight keypoints in every frame."""

    device = "cpu"

    def __init__(self, takes: float) -> None:
        self._takes = takes
        keypoints = np.random.default_rng(1).uniform(0, 400, (1, 8, 3))
        keypoints[..., 2] = 0.9
        self._keypoints = keypoints.astype(np.float32)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        time.sleep(self._takes)
        return {"keypoints": np.repeat(self._keypoints, len(inputs["frames"]), axis=0)}


def real_finder(takes: float) -> WholeFrameFinder:
    spec = ModelSpec("single_animal", "stub", tuple("abcdefgh"))
    return WholeFrameFinder(Analyzer(spec, StubSession(takes)), None)


def played(finder, *, outputs: tuple[Output, ...] = (), frames: int = 500, session_time=None, **source) -> RunStatus:
    run = LiveRun(
        finder,
        [StubSource(image=VGA, frames=frames, **source)],
        outputs=outputs,
        session_time=session_time,
        options=LiveOptions(patience=0.5),
    )
    run.start()
    run.wait(LONG)
    return run.stop()


@pytest.mark.slow  # a minute of real time where the machine is busy
def test_newest_frame_wins_in_real_time() -> None:
    """100 frames per second, a model of 25 ms: the age and share of a queue of one, within 10 % and a busy machine."""
    found = []
    for _ in range(ATTEMPTS):
        finder = StubFinder(0.025)
        status = played(finder, frames=600, session_time=finder)
        counts = status.cameras["camera"]
        assert counts.closed and counts.captured == 600
        age, superseded = status.stages["age"].p50, counts.superseded / 600
        print(found := [*found, f"age p50 {age:.1f} ms, superseded {superseded:.0%}"])
        if abs(age - 29.9) < 2.99 and abs(superseded - 0.6) < 0.06:
            return
    pytest.fail(f"in every attempt: {found}")


@pytest.mark.slow  # seconds of real time per attempt
def test_software_overhead_of_a_frame_of_640_by_480() -> None:
    """From taking a frame to its poses, without the session: the product's own analyzer, finder, loop and outputs."""
    found = []
    for _ in range(ATTEMPTS):
        finder = real_finder(0.005)
        status = played(finder, outputs=(KeptOutput(keeps=False),), session_time=watch_sessions(finder))
        overhead = status.stages["overhead"]
        print(found := [*found, overhead])
        assert overhead.count > 300
        if overhead.p50 <= 1.0 and overhead.p99 <= 3.0:
            return
    pytest.fail(f"in every attempt: {found}")


@pytest.mark.slow  # 12 000 frames with every allocation traced
def test_memory_does_not_grow_over_ten_thousand_frames() -> None:
    finder = real_finder(0.0)
    measured: list[int] = []
    seen = 0
    real_find = finder.find

    def find(frames):
        nonlocal seen
        seen += 1
        if seen in (2_000, 12_000):
            measured.append(tracemalloc.get_traced_memory()[0])
        return real_find(frames)

    finder.find = find
    source = StubSource(image=VGA, period=1e-4)  # as fast as it goes, so that frames are superseded, too
    run = LiveRun(finder, [source], outputs=[KeptOutput(keeps=False)], session_time=watch_sessions(finder))
    tracemalloc.start()
    try:
        run.start()
        end = time.monotonic() + LONG
        while len(measured) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        status = run.stop()
    finally:
        tracemalloc.stop()
    grown = measured[1] - measured[0]
    print(f"grown by {grown} bytes; {status.cameras}")
    # One forgotten object per frame, however small, would be 160 kB and more; what varies is what is in work.
    assert grown < 50_000


def never(_) -> None:
    time.sleep(60)


def full(_) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def slow(_) -> None:
    time.sleep(0.2)


def unchanged(usual: Callable[[], RunStatus], disturbed: Callable[[], RunStatus]) -> RunStatus:
    """The last disturbed run, if the p99 from taking a frame to its poses is within 10 % of the usual one's.

    Runs go by turns, so that what else the machine does comes to both; medians leave single bad runs out.
    """
    by_turns: tuple[list[float], list[float]] = ([], [])
    ratio = float("nan")
    for attempt in range(3 * ATTEMPTS):
        statuses = usual(), disturbed()
        for status, kept in zip(statuses, by_turns, strict=True):
            kept.append(status.stages["sessions"].p99 + status.stages["overhead"].p99)
        ratio = median(by_turns[1]) / median(by_turns[0])
        print(f"pair {attempt}: p99 {by_turns[0][-1]:.2f} and {by_turns[1][-1]:.2f} ms, of medians {ratio:.3f}")
        if attempt >= 2 and ratio <= 1.1:
            return statuses[1]
    pytest.fail(f"p99 is {ratio:.2f} times as long: {by_turns}")


def with_output(send: Callable[[LivePose], object]) -> RunStatus:
    finder = StubFinder(0.008, keeps=False)
    return played(finder, outputs=(KeptOutput(sends=send, keeps=False),), frames=250, session_time=finder)


@pytest.mark.slow  # runs of seconds, by turns
@pytest.mark.parametrize(
    ("send", "faults"),
    [(never, ["output stalled"]), (full, ["output failed"]), (slow, [])],
    ids=["never", "full", "slow"],
)
def test_inference_does_not_notice_a_bad_output(send: Callable[[LivePose], object], faults: list[str]) -> None:
    status = unchanged(lambda: with_output(lambda pose: None), lambda: with_output(send))
    # One that never comes back is reported as it stalls, and no second time as it does not close.
    assert [fault.kind.value for fault in status.faults if fault.where == "output"] == faults
    assert status.outputs["output"].in_safe_state == (send is not never)


@pytest.mark.slow  # runs of seconds, by turns
def test_inference_does_not_notice_a_camera_that_dies() -> None:
    def pair(lost_after: int | None) -> RunStatus:
        finder, output = StubFinder(0.008, keeps=False), KeptOutput(keeps=False)
        sources = [StubSource("goes on", frames=250), StubSource("dies", frames=250, lost_after=lost_after)]
        run = LiveRun(finder, sources, outputs=[output], session_time=finder)
        run.start()
        run.wait(LONG)
        return run.stop()

    status = unchanged(lambda: pair(None), lambda: pair(30))
    assert [fault.where for fault in status.faults if fault.kind is FaultKind.SOURCE_LOST] == ["dies"]
    assert status.cameras["goes on"].captured == 250 and status.cameras["dies"].captured == 30
    assert all(counts.closed and not counts.waiting for counts in status.cameras.values())
