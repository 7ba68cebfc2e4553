"""The pipeline: order, overlap, memory and the end of everything when one stage fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
from drawn_video import BrightestCell, analyzer, draw_frame, numbers_in

from rigpose.arrays import Array
from rigpose.errors import MediaError
from rigpose.poses import Poses
from rigpose.videos.pipeline import SLOTS, Timing, run_pipeline
from rigpose.videos.video import VideoFrame


def _frames(count: int, *, first: int = 0, seconds: float = 0.0) -> Iterator[VideoFrame]:
    for number in range(first, first + count):
        time.sleep(seconds)
        yield VideoFrame(number, number * 40.0, draw_frame(number))


class _Collected:
    def __init__(self, *, seconds: float = 0.0) -> None:
        self.timings: list[Timing] = []
        self.poses: list[Poses] = []
        self.seconds = seconds

    def __call__(self, timing: Timing, poses: Sequence[Poses]) -> None:
        time.sleep(self.seconds)
        self.timings.append(timing)
        self.poses += poses

    def numbers(self) -> list[int]:
        return numbers_in(np.stack([found.xy for found in self.poses]))


@pytest.mark.parametrize(("count", "batch"), [(1, 8), (7, 8), (8, 8), (9, 8), (50, 1), (200, 7)])
def test_every_frame_comes_out_once_and_in_order(count: int, batch: int) -> None:
    found = _Collected()
    model = analyzer()
    run_pipeline(model.run_of(96, 160), _frames(count), batch=batch, sink=found)
    assert found.numbers() == list(range(count))
    assert [timing.first for timing in found.timings] == list(range(0, count, batch))
    assert [t for timing in found.timings for t in timing.times] == [40.0 * i for i in range(count)]


def test_frames_can_begin_later() -> None:
    found = _Collected()
    model = analyzer()
    run_pipeline(model.run_of(96, 160), _frames(20, first=16), batch=8, sink=found)
    assert [timing.first for timing in found.timings] == [16, 24, 32]
    assert found.numbers() == list(range(16, 36))


def test_no_frames_give_nothing() -> None:
    found = _Collected()
    model = analyzer()
    run_pipeline(model.run_of(96, 160), iter(()), batch=8, sink=found)
    assert found.poses == []


def test_the_three_stages_overlap() -> None:
    found = _Collected(seconds=0.02)
    model = analyzer(seconds_per_batch=0.02)
    begun = time.perf_counter()
    run_pipeline(model.run_of(96, 160), _frames(40, seconds=0.02), batch=1, sink=found)
    # One after the other they would take 40 * 60 ms = 2.4 s; overlapped 40 * 20 ms and a busy machine's share.
    assert time.perf_counter() - begun < 1.8


def test_a_slow_sink_holds_the_decoder_back() -> None:
    decoded = 0
    most_ahead = 0
    handed_on = 0

    def frames() -> Iterator[VideoFrame]:
        nonlocal decoded, most_ahead
        for frame in _frames(60):
            decoded += 1
            most_ahead = max(most_ahead, decoded - handed_on)
            yield frame

    def sink(timing: Timing, poses: Sequence[Poses]) -> None:
        nonlocal handed_on
        time.sleep(0.005)
        handed_on += len(poses)

    model = analyzer()
    run_pipeline(model.run_of(96, 160), frames(), batch=2, sink=sink)
    # The ring, the candidates that wait, and one batch in the hands of each of the three stages.
    assert most_ahead <= 2 * (2 * SLOTS + 3)
    assert handed_on == 60


class _FailingSession(BrightestCell):
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:  # noqa: ARG002
        raise MediaError("inference broke")


def _failing_frames() -> Iterator[VideoFrame]:
    yield from _frames(20)
    raise MediaError("decoding broke")


def _failing_sink(timing: Timing, poses: Sequence[Poses]) -> None:
    raise MediaError("writing broke")


@pytest.mark.parametrize("stage", ["decoding", "inference", "writing"])
def test_an_error_in_one_stage_ends_all_and_is_raised_once(stage: str) -> None:
    model = analyzer()
    if stage == "inference":
        model.session = _FailingSession()
    frames = _failing_frames() if stage == "decoding" else _frames(200)
    sink = _failing_sink if stage == "writing" else _Collected()
    before = threading.active_count()
    begun = time.perf_counter()
    with pytest.raises(MediaError, match=f"{stage} broke"):
        run_pipeline(model.run_of(96, 160), frames, batch=4, sink=sink)
    assert threading.active_count() == before
    # All 200 frames would be quick as well, but a stage left waiting would hang for ever.
    assert time.perf_counter() - begun < 5


@pytest.mark.slow
@pytest.mark.parametrize("slowest", ["decoding", "inference", "writing"])
def test_the_slowest_stage_alone_sets_the_speed(slowest: str) -> None:
    seconds = {stage: 0.05 if stage == slowest else 0.02 for stage in ("decoding", "inference", "writing")}
    model = analyzer(seconds_per_batch=seconds["inference"])
    taken = []
    # A busy machine wakes sleepers late, now and then for a whole turn.
    while len(taken) < 3 and min(taken, default=np.inf) >= 60 * 0.05 / 0.75:
        found = _Collected(seconds=seconds["writing"])
        begun = time.perf_counter()
        run_pipeline(model.run_of(96, 160), _frames(60, seconds=seconds["decoding"]), batch=1, sink=found)
        taken.append(time.perf_counter() - begun)
        assert found.numbers() == list(range(60))
    # 60 * 50 ms, where one stage after the other would take 60 * 90.
    assert min(taken) < 60 * 0.05 / 0.75
