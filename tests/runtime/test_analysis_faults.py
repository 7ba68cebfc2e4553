"""What goes wrong on a rig: cut and damaged files, a full disk, Ctrl-C, and a process that is killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tables
from colourful_video import KINDS, stand_in_for_nvdec, write_kind
from drawn_video import analyzer, damage_avi_frame, numbers_in, write_video

from rigpose.errors import MediaError
from rigpose.files.results import ResultFiles, read_results
from rigpose.videos.analysis import AnalysisOptions, VideoResult, analyze_video, analyze_videos
from rigpose.videos.journal import FrameRecord, Journal
from rigpose.videos.metadata import ResultIdentity

IDENTITY = ResultIdentity("DLC_Drawn", "0123abcd")
FRAMES = 203
"""No whole number of batches."""
WAIT = 60.0
"""Far more than a subprocess needs, even on a busy machine [s]."""

PROGRAM = textwrap.dedent("""
    import signal, sys
    from drawn_video import analyzer
    from rigpose.videos.analysis import AnalysisInterrupted, AnalysisOptions, analyze_video
    from rigpose.errors import RigposeError
    from rigpose.videos.metadata import ResultIdentity

    # A shell that starts the tests in the background makes them, and so this program, deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    video, seconds, options = sys.argv[1], float(sys.argv[2]), AnalysisOptions(decoder=sys.argv[3])
    identity = ResultIdentity("DLC_Drawn", "0123abcd")
    try:
        result = analyze_video(analyzer(seconds_per_batch=seconds), video, identity=identity, options=options)
    except AnalysisInterrupted as stopped:
        print(stopped)
        sys.exit(130)
    except RigposeError as error:
        print(error)
        sys.exit(1)
    print(result.frames, result.resumed_at)
""")


def _command(video: Path, seconds_per_batch: float, decoder: str = "auto") -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(video), str(seconds_per_batch), decoder]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def _start(video: Path, seconds_per_batch: float, decoder: str = "auto") -> subprocess.Popen[str]:
    return subprocess.Popen(
        _command(video, seconds_per_batch, decoder),
        env=_environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _wait_for_some_frames(journal: Path) -> None:
    """Until a few batches are on disk, and so the analysis is in the middle."""
    end = time.monotonic() + WAIT
    while not journal.exists() or journal.stat().st_size < 2500:
        assert time.monotonic() < end, "the analysis never began"
        time.sleep(0.01)


def _content(files: ResultFiles) -> tuple[bytes, bytes, bytes]:
    """The bytes of the text table and of the h5 table, and its description.

    HDF5 notes the second at which each part of a file was made, so the files as such always differ.
    """
    with closing(tables.open_file(str(files.h5))) as file:
        table = file.root.df_with_missing.table
        attributes = [(name, repr(table.attrs[name])) for name in table.attrs._f_list("all")]
        described = repr((table.description, table.chunkshape, attributes)).encode()
        rows = table.read().tobytes()
    return files.csv.read_bytes(), rows, described


@pytest.fixture
def uninterrupted(tmp_path: Path) -> tuple[bytes, bytes, bytes]:
    folder = tmp_path / "uninterrupted"
    folder.mkdir()
    video = write_video(folder / "a.mp4", range(FRAMES))
    analyze_video(analyzer(), video, identity=IDENTITY)
    return _content(ResultFiles.of(video, "DLC_Drawn"))


@pytest.mark.parametrize("decoder", ["opencv", "pyav"])
@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interruption_the_same_command_ends_with_the_same_bytes(
    kill: signal.Signals, decoder: str, tmp_path: Path, uninterrupted: tuple[bytes, bytes, bytes]
) -> None:
    if decoder == "pyav":
        pytest.importorskip("av")
    video = write_video(tmp_path / "a.mp4", range(FRAMES))
    files = ResultFiles.of(video, "DLC_Drawn")
    process = _start(video, 0.4, decoder)
    _wait_for_some_frames(files.partial)
    process.send_signal(kill)
    sent = time.monotonic()
    said, traceback = process.communicate(timeout=WAIT)
    assert not files.h5.exists() and not files.csv.exists()
    assert files.partial.exists()
    if kill == signal.SIGINT:
        assert process.returncode == 130 and traceback == ""
        assert "frames, which are kept; the same command continues from there." in said
        # The remaining 20 batches would take 8 s.
        assert time.monotonic() - sent < 5

    second = subprocess.run(
        _command(video, 0, decoder), env=_environment(), text=True, capture_output=True, timeout=WAIT, check=True
    )
    frames, resumed_at = map(int, second.stdout.split())
    assert frames == FRAMES
    assert 0 < resumed_at < FRAMES and resumed_at % 8 == 0
    assert _content(files) == uninterrupted
    assert not files.partial.exists()
    assert [path.name for path in tmp_path.iterdir() if ".writing" in path.name] == []


@pytest.mark.parametrize("decoder", ["opencv", "pyav", "nvdec"])
def test_it_goes_on_with_the_decoder_that_it_began_with(
    decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", stand_in_for_nvdec())
    video = write_kind(tmp_path, KINDS["h264 b-frames"], frames=60)
    other = "opencv" if decoder == "pyav" else "pyav"

    def interrupted() -> None:
        append = Journal.append

        def third(journal: Journal, records: Sequence[FrameRecord]) -> None:
            if journal.frames == 16:
                raise KeyboardInterrupt
            append(journal, records)

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", third)
            with pytest.raises(KeyboardInterrupt):
                _analyzed(video, AnalysisOptions(decoder=decoder))

    whole = _analyzed(video, AnalysisOptions(decoder=decoder, destination=tmp_path / "whole"))
    for word in (decoder, "auto"):
        interrupted()
        result = _analyzed(video, AnalysisOptions(decoder=word, overwrite=True))
        assert result.resumed_at == 16 and result.frames == 60 and not result.warnings
        assert _content(ResultFiles.including(result.h5)) == _content(ResultFiles.including(whole.h5))
        result.h5.unlink()
    interrupted()
    result = _analyzed(video, AnalysisOptions(decoder=other, overwrite=True))
    assert result.resumed_at == 0 and result.frames == 60
    assert [warning.endswith("this one began anew.") for warning in result.warnings] == [True]


def _analyzed(video: Path, options: AnalysisOptions) -> VideoResult:
    return analyze_video(analyzer(), video, identity=IDENTITY, options=options)


def test_another_model_does_not_continue_an_interrupted_analysis(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(FRAMES))
    process = _start(video, seconds_per_batch=0.15)
    _wait_for_some_frames(ResultFiles.of(video, "DLC_Drawn").partial)
    process.kill()
    process.communicate(timeout=WAIT)
    result = analyze_video(analyzer(), video, identity=ResultIdentity("DLC_Drawn", "another"))
    assert result.resumed_at == 0 and result.frames == FRAMES


# A drawn video's journal takes 10 kB, its smallest h5 more than 80 kB: so one limit hits each.
@pytest.mark.parametrize("limit", [5_000, 40_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing_that_looks_whole(
    limit: int, tmp_path: Path, uninterrupted: tuple[bytes, bytes, bytes]
) -> None:
    video = write_video(tmp_path / "a.mp4", range(FRAMES))
    files = ResultFiles.of(video, "DLC_Drawn")
    full = subprocess.run(
        _command(video, 0),
        env=_environment(),
        text=True,
        capture_output=True,
        timeout=WAIT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        check=False,
    )
    assert full.returncode == 1, full.stderr
    assert "cannot be written" in full.stdout and "Traceback" not in full.stderr
    assert len(full.stdout.strip().splitlines()) == 1
    assert not files.h5.exists()
    assert [path.name for path in tmp_path.iterdir() if ".writing" in path.name] == []

    result = analyze_video(analyzer(), video, identity=IDENTITY)
    assert result.resumed_at > 0
    assert _content(files) == uninterrupted


def test_a_cut_video_gives_the_frames_that_are_there_and_says_so(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", range(60), codec="MJPG")
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 2 // 3])
    result = analyze_video(analyzer(), video, identity=IDENTITY)
    assert 20 < result.frames < 60
    assert numbers_in(read_results(result.h5).xy) == list(range(result.frames))
    (warning,) = result.warnings
    assert f"only {result.frames} of the 60 frames" in warning and "at the end" in warning


def test_a_cut_mp4_whose_index_is_gone_is_refused(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(60))
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"a\.mp4: OpenCV cannot open this as a video"):
        analyze_video(analyzer(), video, identity=IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(("claimed", "says"), [(90, "only 60 of the 90 frames"), (40, "promises 40 frames and 60")])
def test_a_container_that_lies_about_its_length_is_not_believed(claimed: int, says: str, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", range(60), codec="MJPG")
    _claim_frames(video, claimed)
    result = analyze_video(analyzer(), video, identity=IDENTITY)
    assert numbers_in(read_results(result.h5).xy) == list(range(60))
    (warning,) = result.warnings
    assert says in warning


def _claim_frames(avi: Path, count: int) -> None:
    """Change the number of frames in the headers of an AVI file."""
    data = bytearray(avi.read_bytes())
    main = data.index(b"avih") + 8
    data[main + 16 : main + 20] = count.to_bytes(4, "little")
    stream = data.index(b"strh") + 8
    data[stream + 32 : stream + 36] = count.to_bytes(4, "little")
    avi.write_bytes(data)


def test_ctrl_c_between_videos_stops_all_of_them(tmp_path: Path) -> None:
    videos = [write_video(tmp_path / f"{name}.mp4", range(10)) for name in "ab"]

    def interrupt(_result: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyze_videos(analyzer(), videos, identity=IDENTITY, options=AnalysisOptions(batch=4), each=interrupt)
    assert ResultFiles.of(videos[0], "DLC_Drawn").h5.exists()
    assert not ResultFiles.of(videos[1], "DLC_Drawn").h5.exists()


def test_rows_are_never_invented_where_the_time_stamps_do_not_explain_them(tmp_path: Path) -> None:
    """A frame inside is damaged, and the container promises ten more than there ever were."""
    video = write_video(tmp_path / "a.avi", range(60), codec="MJPG")
    damage_avi_frame(video, 20)
    _claim_frames(video, 70)
    result = analyze_video(analyzer(), video, identity=IDENTITY)
    assert result.frames == 59
    assert np.isfinite(read_results(result.h5).xy).all()
    (warning,) = result.warnings
    assert "do not say which are missing" in warning
