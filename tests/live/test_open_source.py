"""What a user types is the source that they get, or a sentence of what there is to choose."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from drawn_video import write_video
from live_cameras import Sensor, fake_harvesters, fake_pypylon

from rigpose.live.faults import LiveError
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.basler import BaslerCamera
from rigpose.live.sources.genicam import GenicamCamera
from rigpose.live.sources.open_source import open_source, open_sources
from rigpose.live.sources.opencv_camera import OpencvCamera
from rigpose.live.sources.simulated import SimulatedCamera
from rigpose.live.sources.video_file import VideoFileSource


@pytest.mark.parametrize(
    ("text", "asked", "size", "rate"),
    [
        ("simulated", Asked(), (640, 480), 100.0),
        ("simulated", Asked(width=320, height=200, frames_per_second=30.0), (320, 200), 30.0),
        ("simulated:320x240@62.5", Asked(width=1000), (320, 240), 62.5),
        ("simulated:320x240", Asked(), (320, 240), 100.0),
        ("simulated@25", Asked(), (640, 480), 25.0),
    ],
)
def test_a_simulated_camera_is_as_it_was_said(text: str, asked: Asked, size: tuple[int, int], rate: float) -> None:
    source = open_source(text, asked)
    assert isinstance(source, SimulatedCamera) and source.name == "simulated"
    applied = source.open()
    assert (applied.width, applied.height) == size and applied.frames_per_second == rate
    source.close()


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("camera:0", OpencvCamera, "camera0"),
        ("camera:/dev/v4l/by-id/usb-acme", OpencvCamera, "usb-acme"),
        ("rtsp://someone:hush@10.0.0.7:554/stream1?token=hush", OpencvCamera, "10.0.0.7:554/stream1"),
        ("http://10.0.0.7/", OpencvCamera, "10.0.0.7"),
        ("genicam:A-17", GenicamCamera, "genicam-A-17"),
        ("basler:0815", BaslerCamera, "basler-0815"),
    ],
)
def test_cameras_have_the_same_name_on_every_day(text: str, kind: type, name: str) -> None:
    source = open_source(text)
    assert isinstance(source, kind) and source.name == name
    assert open_source(text, name="left").name == "left"


def test_a_path_is_a_recording(tmp_path: Path) -> None:
    path = write_video(tmp_path / "walk.mp4", range(3))
    source = open_source(str(path), Asked(paced=False, loop=True))
    assert isinstance(source, VideoFileSource) and source.name == "walk.mp4"
    source.open()
    read = [source.read(0.0) for _ in range(5)]
    assert [frame and frame.number for frame in read] == [0, 1, 2, 3, 4]  # it began again, and left none out
    source.close()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "simulatd",
            r"source simulatd: there is no such video file .*; give simulated, .*video file\.",
        ),
        ("simulated:640", r"source simulated:640: there is no such"),
        ("simulated@0", r"simulated: 0 frames per second make no sense"),
        ("missing.mp4", r"source missing\.mp4: there is no such video file"),
        ("camera:", r"camera: say which, such as camera:0"),
        ("rtp://someone:hush@host/x", r"source [^@]*: there is no such"),
    ],
)
def test_what_is_no_source_says_what_there_is(text: str, sentence: str) -> None:
    with pytest.raises(LiveError, match=sentence) as told:
        open_source(text)
    assert "hush" not in str(told.value)


def test_without_a_serial_number_it_says_which_cameras_there_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "maker.cti").touch()
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    for name, module in (fake_harvesters(Sensor("A1")) | fake_pypylon(Sensor("B2"))).items():
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(LiveError, match=r"genicam: say which .* serial number; there is genicam:A1 \(Fake\)\."):
        open_source("genicam")
    with pytest.raises(LiveError, match=r"basler: say which .*; there is basler:B2 \(acA640-fake\)\."):
        open_source("basler:")


def test_several_sources_have_names_of_their_own(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "v.mp4", tmp_path / "b" / "v.mp4"
    for path in (first, second):
        path.parent.mkdir()
        write_video(path, range(2))
    texts = ["simulated", "simulated", str(first), "camera:0", str(second), "simulated:320x240"]
    names = [source.name for source in open_sources(texts)]
    assert names == ["simulated", "simulated-2", "v.mp4", "camera0", "v.mp4-2", "simulated-3"]


def test_simulated_cameras_beside_each_other_see_different_animals() -> None:
    left, right = open_sources(["simulated", "simulated"])
    assert isinstance(left, SimulatedCamera) and isinstance(right, SimulatedCamera)
    assert abs(left.truth(0) - right.truth(0)).max() > 1


def test_a_camera_cannot_be_given_twice() -> None:
    with pytest.raises(LiveError, match="camera0: is given twice"):
        open_sources(["camera:0", "simulated", "camera:0"])


@pytest.mark.parametrize("setting", ["width", "height", "frames_per_second", "exposure"])
def test_settings_that_make_no_sense_are_refused(setting: str) -> None:
    with pytest.raises(LiveError, match=f"{setting}: 0 makes no sense"):
        Asked(**{setting: 0})  # type: ignore[arg-type]


def test_a_triggered_camera_has_no_rate_of_its_own() -> None:
    with pytest.raises(LiveError, match="trigger"):
        Asked(trigger_line="Line1", frames_per_second=30)
