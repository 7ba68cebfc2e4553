"""Every decoder gives the frames that OpenCV gives, to the bit; what one cannot decode is said in a sentence."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
from colourful_video import FRAMES, KINDS, Kind, picture, stand_in_for_nvdec, write_kind
from drawn_video import analyzer, damage_avi_frame, write_video

from rigpose.arrays import Frames
from rigpose.commands import analyze
from rigpose.decoding import decoder as decoding
from rigpose.decoding.decoder import Decoder, default_threads, open_decoder
from rigpose.errors import BackendError, ConfigError, MediaError, MissingExtraError
from rigpose.videos.analysis import ResultIdentity, analyze_video

pytest.importorskip("av")


def _read(video: Decoder) -> tuple[list[float], list[Frames]]:
    times, frames = [], []
    while True:
        times.append(video.time)
        frames.append(video.retrieve())
        if not video.advance():
            video.close()
            return times, frames


def _check_same(path: Path, name: str, threads: int = 2) -> None:
    ours, opencv = open_decoder(path, name, threads), open_decoder(path, "opencv", threads)
    assert ours.name == name
    assert (ours.frames_reported, ours.frames_per_second) == (opencv.frames_reported, opencv.frames_per_second)
    (times, frames), (expected_times, expected) = _read(ours), _read(opencv)
    # Both divide whole ticks of the container's clock; only the order of two multiplications differs.
    np.testing.assert_allclose(times, expected_times, rtol=0, atol=1e-6)
    assert len(frames) == len(expected) == FRAMES
    for frame, same in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame, same)


@pytest.mark.parametrize("kind", KINDS)
def test_pyav_gives_the_frames_and_times_of_opencv(kind: str, tmp_path: Path) -> None:
    _check_same(write_kind(tmp_path, KINDS[kind]), "pyav")


def test_frames_are_the_ones_that_were_written(tmp_path: Path) -> None:
    path = write_kind(tmp_path, KINDS["ffv1 rgb odd"])
    for name in ("opencv", "pyav"):
        _, frames = _read(open_decoder(path, name))
        for number, frame in enumerate(frames):
            np.testing.assert_array_equal(frame, picture(number, 97, 161))


def test_frames_stay_as_they_are_while_others_are_decoded(tmp_path: Path) -> None:
    path = write_kind(tmp_path, KINDS["h264"])
    for name in ("opencv", "pyav"):
        video = open_decoder(path, name)
        first = video.retrieve()
        before = first.copy()
        while video.advance():
            video.retrieve()
        np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(threads: int, tmp_path: Path) -> None:
    _check_same(write_kind(tmp_path, KINDS["h264 b-frames"]), "pyav", threads)


@pytest.mark.parametrize("damaged", [(0,), (12,), (17, 18, 40), (58, 59)])
def test_the_same_frames_are_lost_where_some_are_damaged(damaged: tuple[int, ...], tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", range(60), codec="MJPG")
    for number in damaged:
        damage_avi_frame(path, number)
    (times, frames), (expected_times, expected) = (_read(open_decoder(path, name, 2)) for name in ("pyav", "opencv"))
    assert len(frames) == 60 - len(damaged)
    np.testing.assert_allclose(times, expected_times, atol=1e-6)
    for frame, same in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame, same)


def test_a_cut_file_ends_at_the_same_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", range(60), codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    counts = {name: len(_read(open_decoder(path, name, 2))[1]) for name in ("opencv", "pyav")}
    assert 20 < counts["opencv"] == counts["pyav"] < 60


def test_auto_is_opencv_and_pyav_where_opencv_knows_no_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_decoder(write_kind(tmp_path, KINDS["h264"])).name == "opencv"
    path = write_kind(tmp_path, Kind("mp4", "libsvtav1"))
    try:
        open_decoder(path, "opencv")
    except MediaError:
        pass
    else:
        pytest.skip("this OpenCV decodes AV1")
    video = open_decoder(path)
    assert video.name == "pyav"
    assert len(_read(video)[1]) == FRAMES
    result = analyze_video(analyzer(), path, identity=ResultIdentity("D", "0"))
    assert result.decoder == "pyav" and result.frames == FRAMES and not result.warnings
    monkeypatch.setattr(decoding, "find_spec", lambda name: None)
    with pytest.raises(MediaError, match=r'not one frame can be decoded.*pip install "rigpose\[video\]"'):
        open_decoder(path)


@pytest.mark.parametrize("name", ["auto", "opencv", "pyav"])
def test_a_file_that_is_no_video_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_bytes(b"not a video " * 100)
    says = "PyAV" if name == "pyav" else "OpenCV"
    with pytest.raises(MediaError, match=rf"text\.mp4: {says} cannot open this as a video"):
        open_decoder(path, name)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="PyAV finds no video stream that it can decode"):
        open_decoder(path, "pyav")


def test_a_decoder_that_is_none_or_missing_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_kind(tmp_path, KINDS["h264"])
    with pytest.raises(ConfigError, match="choose one of auto, opencv, pyav, nvdec"):
        open_decoder(path, "ffmpeg")
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", None)
    with pytest.raises(MissingExtraError, match="pip install PyNvVideoCodec"):
        open_decoder(path, "nvdec")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r'pip install "rigpose\[video\]"'):
        open_decoder(path, "pyav")


@pytest.mark.parametrize(
    "kind",
    ["h264", "h264 b-frames", "h264 not whole blocks", "h264 full range", "h264 bt709", "hevc", "h264 turned left"],
)
def test_the_gpu_s_planes_become_the_frames_of_opencv(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", stand_in_for_nvdec())
    _check_same(write_kind(tmp_path, KINDS[kind]), "nvdec")


@pytest.mark.parametrize("kind", ["h264 4:4:4", "h264 4:2:2", "h264 10 bit", "vp9 odd"])
def test_what_the_gpu_cannot_decode_is_said_before_it_is_tried(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", stand_in_for_nvdec(fails="CreateDecoder"))
    with pytest.raises(MediaError, match=r"NVDEC is used for 8-bit 4:2:0 .* no H\.264 4:4:4 .* use --decoder opencv\."):
        open_decoder(write_kind(tmp_path, KINDS[kind]), "nvdec")


def test_a_gpu_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_kind(tmp_path, KINDS["h264"])
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", stand_in_for_nvdec(fails="CreateDecoder"))
    with pytest.raises(BackendError, match=r"NVDEC cannot be used \(no CUDA-capable device is detected\);"):
        open_decoder(path, "nvdec")
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", stand_in_for_nvdec(fails="Decode"))
    with pytest.raises(MediaError, match=r"NVDEC stopped \(HandlePictureDecode failed\)"):
        open_decoder(path, "nvdec")


def test_threads_that_decode_are_counted_from_the_cores_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, threads in ((1, 1), (2, 2), (64, 8)):
        monkeypatch.setattr(
            decoding.os, "sched_getaffinity", lambda _pid, cores=cores: set(range(cores)), raising=False
        )
        assert default_threads() == threads


def test_the_word_on_the_command_line_reaches_the_analysis() -> None:
    parser = argparse.ArgumentParser()
    analyze.COMMAND.configure(parser)
    for words, decoder in (([], "auto"), (["--decoder", "pyav"], "pyav")):
        assert analyze.analysis_options(parser.parse_args(["bundle", "a.mp4", *words])).decoder == decoder
