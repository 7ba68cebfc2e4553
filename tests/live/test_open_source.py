"""What a user types is the source that they get, or a sentence of what there is to choose."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from drawn_video import write_video
from live_cameras import Sensor, fake_harvesters, fake_pypylon

from rigpose.commands.live_arguments import add_live_arguments
from rigpose.live.faults import LiveError
from rigpose.live.sources import simulated_text
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.basler import BaslerCamera
from rigpose.live.sources.genicam import GenicamCamera
from rigpose.live.sources.open_source import open_source, open_sources
from rigpose.live.sources.opencv_camera import OpencvCamera
from rigpose.live.sources.simulated import SimulatedCamera, SimulatedFaults
from rigpose.live.sources.simulated_text import SETTINGS, simulated_camera
from rigpose.live.sources.source_kind import SourceKind
from rigpose.live.sources.video_file import VideoFileSource


@pytest.mark.parametrize(
    ("text", "asked", "size", "rate"),
    [
        ("simulated", Asked(), (640, 480), 100.0),
        ("simulated", Asked(width=320, height=200, frames_per_second=30.0), (320, 200), 30.0),
        ("simulated:320x240@62.5", Asked(width=1000), (320, 240), 62.5),
        ("simulated:320x240", Asked(), (320, 240), 100.0),
        ("simulated@25", Asked(), (640, 480), 25.0),
        ("simulated:", Asked(), (640, 480), 100.0),
        ("simulated@25,animals=2", Asked(), (640, 480), 25.0),
        ("simulated:320x240@62.5,seed=4", Asked(), (320, 240), 62.5),
        ("simulated:drop=0.1,fps=50,320x240", Asked(frames_per_second=30.0), (320, 240), 50.0),
        ("simulated:animals=2", Asked(width=320, height=200, frames_per_second=30.0), (320, 200), 30.0),
    ],
)
def test_a_simulated_camera_is_as_it_was_said(text: str, asked: Asked, size: tuple[int, int], rate: float) -> None:
    source = open_source(text, asked)
    assert isinstance(source, SimulatedCamera) and source.name == "simulated"
    assert source.kind is SourceKind.SIMULATED
    applied = source.open()
    assert (applied.width, applied.height) == size and applied.frames_per_second == rate
    source.close()


@pytest.mark.parametrize(
    ("typed", "faults"),
    [
        ("drop=0.02", SimulatedFaults(drop=0.02)),
        ("drop=2%,jitter=5", SimulatedFaults(drop=0.02, jitter=0.005)),
        ("jitter=5ms", SimulatedFaults(jitter=0.005)),
        ("jitter=.005s", SimulatedFaults(jitter=0.005)),
        ("late=0.01,late_by=30", SimulatedFaults(late=0.01, late_by=0.03)),
        ("late=1%", SimulatedFaults(late=0.01)),
        ("freeze=5", SimulatedFaults(freeze_after=5.0)),
        ("freeze=5s,freeze_for=1500ms", SimulatedFaults(freeze_after=5.0, freeze_for=1.5)),
        ("unplug=12", SimulatedFaults(unplug_after=12.0)),
        ("drift=-50", SimulatedFaults(clock_drift_ppm=-50.0)),
        ("drift=50ppm", SimulatedFaults(clock_drift_ppm=50.0)),
    ],
)
def test_faults_are_typed_in_the_units_that_people_use(
    monkeypatch: pytest.MonkeyPatch, typed: str, faults: SimulatedFaults
) -> None:
    made: list[dict[str, object]] = []

    def make(*_: object, **options: object) -> None:
        made.append(options)

    monkeypatch.setattr(simulated_text, "SimulatedCamera", make)
    simulated_camera(f"simulated:160x120,{typed}", Asked())
    got = made[0]["faults"]
    assert isinstance(got, SimulatedFaults)
    # A number of milliseconds or per cent is multiplied, which may cost its last digit.
    for field in fields(SimulatedFaults):
        expected = getattr(faults, field.name)
        assert getattr(got, field.name) == (expected and pytest.approx(expected, rel=1e-12)), field.name


def test_all_settings_together_are_those_of_the_camera() -> None:
    typed = "simulated:480x160@50,animals=3,seconds=2,seed=7,drop=0.1"
    source = open_source(typed)
    assert isinstance(source, SimulatedCamera) and source.animals == 3
    made = SimulatedCamera(width=480, height=160, frames_per_second=50.0, animals=3, seed=7)
    assert source.truth(5).shape[0] == 3 and (source.truth(5) == made.truth(5)).all()
    other = open_source(typed.replace("seed=7", "seed=8"))
    assert isinstance(other, SimulatedCamera) and (other.truth(5) != made.truth(5)).any()


def test_the_help_names_every_setting() -> None:
    parser = argparse.ArgumentParser()
    add_live_arguments(parser)
    told = " ".join(parser.format_help().split())
    assert all(f"{setting}=" in told for setting in SETTINGS)


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
    assert source.kind is SourceKind.CAMERA


def test_a_path_is_a_recording(tmp_path: Path) -> None:
    path = write_video(tmp_path / "walk.mp4", range(3))
    source = open_source(str(path), Asked(paced=False, loop=True))
    assert isinstance(source, VideoFileSource) and source.name == "walk.mp4"
    assert source.kind is SourceKind.VIDEO_FILE
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
        ("simulated,animals=2", r"source simulated,animals=2: there is no such"),
        (
            "simulated:640",
            r"simulated:640: 640 is neither a size and rate, .* nor a setting, .* animals, .* and drift\.$",
        ),
        ("simulated:animals=3,", r"nothing between two commas is neither"),
        ("simulated:drop=0,02", r"02 is neither"),
        ("simulated:320x240,640x480", r"640x480 is neither"),
        (
            "simulated:drops=0.02",
            r"drops is no setting .* animals, fps, .* and drift; did you mean drop\.$",
        ),
        ("simulated:=3", r"nothing is no setting"),
        ("simulated:animals=3,animals=3", r"animals is said twice"),
        ("simulated:640x480@100,fps=50", r"fps is said twice"),
        ("simulated:animals=2.5", r"animals is a whole number, such as 3, and not 2\.5\."),
        ("simulated:animals=", r"animals is a whole number, such as 3, and not nothing\."),
        ("simulated:animals", r"animals is a whole number, such as 3, and not nothing\."),
        ("simulated:animals=0", r"simulated: 0 animals make no sense"),
        ("simulated:animals=9", r"9 animals do not fit into 640x480 px"),
        ("simulated:seconds=0", r"simulated: 0 seconds make no sense"),
        ("simulated:unplug=soon", r"unplug is a time in seconds, such as 12 or 500ms, and not soon\."),
        ("simulated:jitter=-5", r"jitter is a time in milliseconds, such as 5 or 0\.005s, and not -5\."),
        ("simulated:drop=nan", r"drop is a share of the frames, such as 0\.02 or 2%, and not nan\."),
        ("simulated:drop=1", r"drop: a share of 1 leaves no camera"),
        ("simulated:late=150%", r"late: 1\.5 is no share"),
        ("simulated:late_by=30", r"late_by is given and late is not; add late=\.\.\., or leave late_by out"),
        ("simulated:freeze_for=3", r"freeze_for is given and freeze is not"),
        ("simulated@", r"fps is frames per second, such as 100, and not nothing"),
        ("simulated@0", r"simulated: 0 frames per second make no sense"),
        ("simulated@20000", r"ask for at most 8192 px a side and 10000 frames per second"),
        ("simulated:100000x100", r"ask for at most 8192 px a side"),
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
