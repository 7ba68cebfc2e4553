"""Several videos in one call: what overlaps, what stays in order, and what an interruption leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_video import BrightestCell, analyzer, draw_frame, numbers_in, write_video

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Array
from rigpose.errors import BackendError
from rigpose.files.results import ResultFiles, read_results
from rigpose.videos import journalled_video
from rigpose.videos.analysis import (
    AnalysisInterrupted,
    AnalysisOptions,
    ResultIdentity,
    VideoFailure,
    VideoResult,
    analyze_video,
    analyze_videos,
)
from rigpose.videos.one_video import OneVideo
from rigpose.videos.video import Video

IDENTITY = ResultIdentity("DLC_Drawn", "0123abcd")
WAIT = 30.0
"""Far more than anything here needs, even on a busy machine [s]."""


class _Watched(BrightestCell):
    """Calls back before every batch, with the number that its first frame shows."""

    def __init__(self, before: Callable[[int], None]) -> None:
        super().__init__()
        self.before = before

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = super().run(inputs)
        self.before(numbers_in(found["keypoints"][:1, None, :, :2])[0])
        return found


def _model(before: Callable[[int], None] = lambda number: None) -> Analyzer:
    model = analyzer()
    model.session = _Watched(before)
    return model


def _files(video: Path) -> ResultFiles:
    return ResultFiles.of(video, "DLC_Drawn")


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three videos whose frames show 0..59, 60..119 and 120..179."""
    return [write_video(tmp_path / f"{name}.mp4", range(60 * i, 60 * i + 60)) for i, name in enumerate("abc")]


def _collect(outcomes: list[str]) -> Callable[[VideoResult | VideoFailure], None]:
    return lambda outcome: outcomes.append(f"{outcome.video.name} {type(outcome).__name__[5:]}")


def test_each_video_s_files_are_those_that_it_would_have_alone(three: list[Path], tmp_path: Path) -> None:
    small = tmp_path / "small.avi"
    writer = cv2.VideoWriter(str(small), cv2.VideoWriter.fourcc(*"FFV1"), 25, (96, 64))
    for number in range(30):
        writer.write(draw_frame(number % 8)[:64, :96])
    writer.release()
    videos = [three[0], small, *three[1:]]
    report = analyze_videos(_model(), videos, identity=IDENTITY)
    assert [(result.video, result.frames) for result in report.results] == [
        (video, 30 if video == small else 60) for video in videos
    ]
    for video in videos:
        alone = analyze_video(
            _model(), video, identity=IDENTITY, options=AnalysisOptions(destination=tmp_path / "alone")
        )
        assert alone.csv is not None and alone.csv.read_bytes() == _files(video).csv.read_bytes()
        np.testing.assert_array_equal(read_results(alone.h5).xy, read_results(_files(video).h5).xy)
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob("*.lock"))


def test_the_next_video_is_opened_while_this_one_is_in_the_graphs(
    three: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = {video: threading.Event() for video in three}
    opening = OneVideo.__init__

    def noted(one: OneVideo, model: Analyzer, path: Path, **more) -> None:
        opening(one, model, path, **more)
        opened[path].set()

    monkeypatch.setattr(OneVideo, "__init__", noted)

    def before(number: int) -> None:
        if number // 60 < 2:
            assert opened[three[number // 60 + 1]].wait(WAIT), "the next video was not opened"

    assert len(analyze_videos(_model(before), three, identity=IDENTITY).results) == 3


def test_tables_are_written_while_the_next_video_is_in_the_graphs(
    three: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = [threading.Event() for _ in three]
    written: list[str] = []
    write = journalled_video.write_files

    def waits(files: ResultFiles, *more) -> None:
        place = "abc".index(files.stem[0])
        if place < 2:
            assert begun[place + 1].wait(WAIT), "the next video did not begin before the tables were written"
        written.append(files.stem[0])
        write(files, *more)

    monkeypatch.setattr(journalled_video, "write_files", waits)
    outcomes: list[str] = []
    analyze_videos(_model(lambda number: begun[number // 60].set()), three, identity=IDENTITY, each=_collect(outcomes))
    assert written == ["a", "b", "c"]
    assert outcomes == ["a.mp4 Result", "b.mp4 Result", "c.mp4 Result"]


def test_however_many_videos_there_are_three_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = [write_video(tmp_path / f"{i}.mp4", range(10)) for i in range(9)]
    now: set[Video] = set()
    most = 0
    opening, closing = Video.__init__, Video.close

    def opened(video: Video, *args, **more) -> None:
        nonlocal most
        opening(video, *args, **more)
        now.add(video)
        most = max(most, len(now))

    def closed(video: Video) -> None:
        closing(video)
        now.discard(video)

    monkeypatch.setattr(Video, "__init__", opened)
    monkeypatch.setattr(Video, "close", closed)
    assert len(analyze_videos(_model(), videos, identity=IDENTITY).results) == 9
    assert 2 <= most <= 3 and not now


def test_bad_videos_and_folders_are_said_in_their_places(three: list[Path], tmp_path: Path) -> None:
    three[1].write_bytes(b"no video")
    (tmp_path / "empty").mkdir()
    outcomes: list[str] = []
    sources = [three[0], tmp_path / "empty", three[1], three[2], tmp_path / "missing.mp4"]
    analyze_videos(_model(), sources, identity=IDENTITY, each=_collect(outcomes))
    assert outcomes == ["a.mp4 Result", "empty Failure", "b.mp4 Failure", "c.mp4 Result", "missing.mp4 Failure"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*DLC_Drawn*")}
    again: list[str] = []
    analyze_videos(_model(), sources, identity=IDENTITY, each=_collect(again))
    assert again == outcomes
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*DLC_Drawn*")} == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_video_that_is_named_twice_does_not_wait_for_itself(
    *, overwrite: bool, three: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(three[0].parent)
    sources = [three[0], Path(three[0].name), three[1], three[0]]
    report = analyze_videos(_model(), sources, identity=IDENTITY, options=AnalysisOptions(overwrite=overwrite))
    assert not report.failures
    assert [result.skipped for result in report.results] == [False, not overwrite, False, not overwrite]
    assert numbers_in(read_results(_files(three[0]).h5).xy) == list(range(60))


def _threads_of_the_analysis() -> list[str]:
    of_an_analysis = ("rigpose-open", "rigpose-decode", "rigpose-poses", "rigpose-tables")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(of_an_analysis)]


def _slow_tables(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Tables that wait at their tenth row until they are given up, or may go on; (they wait, they may go on)."""
    waiting, go_on = threading.Event(), threading.Event()
    write = journalled_video.write_files

    def slowly(files: ResultFiles, frames, *more) -> None:
        class Slow:
            def __len__(self) -> int:
                return len(frames)

            def __iter__(self) -> Iterator:
                for row, poses in enumerate(frames):
                    if row == 10:
                        waiting.set()
                        while not go_on.wait(0.01) and not frames._given_up():
                            pass
                    yield poses

        write(files, Slow(), *more)  # type: ignore[arg-type]

    monkeypatch.setattr(journalled_video, "write_files", slowly)
    return waiting, go_on


def test_ctrl_c_while_one_is_written_and_one_inferred_keeps_both_journals(
    three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[str] = []
    with monkeypatch.context() as patch:
        waiting, _ = _slow_tables(patch)

        def before(number: int) -> None:
            # Inference is at most a line of three batches and one in hand before the journal, which so has some frames.
            if number == 60 + 6 * 8:
                assert waiting.wait(WAIT)
                raise KeyboardInterrupt

        with pytest.raises(AnalysisInterrupted) as stopped:
            analyze_videos(_model(before), three, identity=IDENTITY, each=_collect(outcomes))
    assert f"{three[0]}: stopped while its tracks and tables were made; its frames are kept" in str(stopped.value)
    assert f"{three[1]}: stopped after " in str(stopped.value)
    assert outcomes == []
    # The third was open and had not begun.
    assert [_files(video).partial.exists() for video in three] == [True, True, False]
    assert not list(tmp_path.glob("*.writing*")) and not list(tmp_path.glob("*.lock"))
    assert not any(_files(video).h5.exists() for video in three)
    assert _threads_of_the_analysis() == []

    report = analyze_videos(_model(), three, identity=IDENTITY)
    assert [result.resumed_at > 0 for result in report.results] == [True, True, False]
    for i, video in enumerate(three):
        assert numbers_in(read_results(_files(video).h5).xy) == list(range(60 * i, 60 * i + 60))
    assert not list(tmp_path.glob("*.partial"))


def test_ctrl_c_while_waiting_for_tables_keeps_the_frames_of_the_video_behind(
    three: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rigpose.videos import in_turn

    with monkeypatch.context() as patch:
        waiting, _ = _slow_tables(patch)
        wait = in_turn.wait

        def interrupted(futures) -> object:
            patch.setattr(in_turn, "wait", wait)
            assert waiting.wait(WAIT)
            raise KeyboardInterrupt

        patch.setattr(in_turn, "wait", interrupted)
        with pytest.raises(AnalysisInterrupted) as stopped:
            analyze_videos(_model(), three[:2], identity=IDENTITY)
    assert f"{three[0]}: stopped while its tracks and tables were made" in str(stopped.value)
    assert f"{three[1]}: stopped after 60 of 60 frames" in str(stopped.value)
    assert all(_files(video).partial.exists() for video in three[:2])


def test_ctrl_c_while_a_video_is_opened_lets_go_of_it(
    three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = Future.result
    with monkeypatch.context() as patch:

        def interrupted(opening: Future, timeout: float | None = None) -> object:
            result(opening, timeout)
            patch.setattr(Future, "result", result)
            raise KeyboardInterrupt

        patch.setattr(Future, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            analyze_videos(_model(), three, identity=IDENTITY)
    assert _threads_of_the_analysis() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "c.mp4"]


def test_an_error_that_ends_everything_comes_after_the_tables_that_are_being_written(three: list[Path]) -> None:
    outcomes: list[str] = []

    def before(number: int) -> None:
        if number == 60:
            raise BackendError("the GPU has gone.")

    with pytest.raises(BackendError, match="the GPU has gone"):
        analyze_videos(_model(before), three, identity=IDENTITY, each=_collect(outcomes))
    assert outcomes == ["a.mp4 Result"]
    assert [_files(video).h5.exists() for video in three] == [True, False, False]
    assert _threads_of_the_analysis() == []
