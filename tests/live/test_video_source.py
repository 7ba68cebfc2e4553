"""Recordings as sources: in step with their time stamps, or frame after frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_video import FRAMES_PER_SECOND, draw_frame, write_video

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.faults import LiveError
from rigpose.live.sources.frame_source import SourceEndedError
from rigpose.live.sources.video_file import VideoFileSource
from rigpose.videos.video import Video

PERIOD = 1 / FRAMES_PER_SECOND


class Time:
    """A clock that goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 7.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_video(tmp_path / "v.mp4", range(20))


def source(path: Path, clock: Time, **options: float) -> VideoFileSource:
    made = VideoFileSource(path, clock=clock, sleep=clock.sleep, **options)  # type: ignore[arg-type]
    made.open()
    return made


def some(made: VideoFileSource, many: int) -> list[CapturedFrame]:
    found = [made.read(10.0) for _ in range(many)]
    assert None not in found
    return [frame for frame in found if frame is not None]


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_paced_frames_come_at_their_time_stamps(path: Path, speed: float) -> None:
    clock = Time()
    made = source(path, clock, speed=speed)
    found = some(made, 20)
    assert [frame.number for frame in found] == list(range(20))
    due = 7.0 + np.arange(20) * PERIOD / speed
    assert [frame.arrived for frame in found] == pytest.approx(due, abs=1e-6)
    assert [frame.exposed for frame in found] == pytest.approx(due, abs=1e-6)
    assert [frame.device_time for frame in found] == pytest.approx(np.arange(20) * PERIOD, abs=1e-6)
    with pytest.raises(SourceEndedError, match=r"v\.mp4: was played to its end"):
        made.read(1.0)


def test_a_late_reader_gets_the_frame_that_is_due(path: Path) -> None:
    clock = Time()
    made = source(path, clock)
    some(made, 1)
    clock.now += 5.5 * PERIOD
    (frame,) = some(made, 1)
    assert frame.number == 5
    assert frame.arrived - frame.exposed == pytest.approx(0.5 * PERIOD, abs=1e-6)
    assert made.read(0.1 * PERIOD) is None
    assert some(made, 1)[0].number == 6


def test_the_last_frame_is_not_passed_over(path: Path) -> None:
    clock = Time()
    made = source(path, clock)
    some(made, 1)
    clock.now += 1000.0
    assert some(made, 1)[0].number == 19


def test_not_paced_every_frame_comes_once_however_late_the_reader_is(path: Path) -> None:
    clock = Time()
    made = source(path, clock, paced=False)
    found = []
    for _ in range(20):
        found += some(made, 1)
        clock.now += 3.0
    assert [frame.number for frame in found] == list(range(20))
    assert all(frame.exposed == frame.arrived for frame in found)


def test_the_frames_are_those_that_analysis_sees(path: Path) -> None:
    with Video(path) as video:
        offline = [frame.image for frame in video.frames()]
    live = [frame.image for frame in some(source(path, Time(), paced=False), 20)]
    assert all(np.array_equal(a, b) for a, b in zip(offline, live, strict=True))
    # The codec moves grey values by some steps, and no bright cell by any.
    assert np.abs(live[3].astype(int) - draw_frame(3)).max() < 40


@pytest.mark.parametrize("paced", [True, False])
def test_numbers_and_times_go_on_when_it_begins_again(path: Path, *, paced: bool) -> None:
    found = some(source(path, Time(), paced=paced, loop=True), 50)
    assert [frame.number for frame in found] == list(range(50))
    assert [frame.device_time for frame in found] == pytest.approx(np.arange(50) * PERIOD, abs=1e-6)
    assert np.array_equal(found[45].image, found[5].image)


def test_what_is_no_video_is_told_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(LiveError, match=r"notes\.mp4"):
        VideoFileSource(tmp_path / "notes.mp4").open()
    with pytest.raises(LiveError, match=r"there is no such video file"):
        VideoFileSource(tmp_path / "gone.mp4").open()
