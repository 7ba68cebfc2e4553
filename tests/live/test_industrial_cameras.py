"""GenICam and Basler cameras: counts, clocks, settings and faults, behind fakes and in the real drivers."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import numpy as np
import pytest
from live_cameras import HEIGHT, WIDTH, Sensor, Shot, fake_harvesters, fake_pypylon, mono

from rigpose.errors import MissingExtraError
from rigpose.live.faults import LiveError, SourceLostError
from rigpose.live.sources import basler, genicam
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.basler import BaslerCamera, basler_serials
from rigpose.live.sources.frame_counter import NONE, FrameCounter
from rigpose.live.sources.genicam import GenicamCamera, genicam_serials

Camera: TypeAlias = GenicamCamera | BaslerCamera
Make: TypeAlias = Callable[..., Camera]
PATIENCE = 10.0
"""Longer than any frame takes on any busy machine [s]."""


@pytest.fixture
def sensor() -> Sensor:
    sensor = Sensor()
    sensor.frozen = True  # frames come only where a test sends them
    return sensor


@pytest.fixture(params=["genicam", "basler"])
def make(
    request: pytest.FixtureRequest, sensor: Sensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Make]:
    made: list[Camera] = []
    genicam = request.param == "genicam"
    modules = fake_harvesters(sensor) if genicam else fake_pypylon(sensor)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)

    def camera(serial: str = "123", asked: Asked | None = None) -> Camera:
        producers = (tmp_path / "x.cti",)
        made.append(GenicamCamera(serial, asked, producers=producers) if genicam else BaslerCamera(serial, asked))
        return made[-1]

    yield camera
    for one in made:
        one.close()


class ReaderFirst:
    """A lock as unfair as ``threading.Lock`` may be: who asks again and again has it before who waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reader: threading.Thread | None = None

    def __enter__(self) -> None:
        if self.reader is not None and threading.current_thread() is not self.reader:
            self.reader.join(PATIENCE)
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def test_close_does_not_wait_for_a_reader_that_asks_again_and_again(
    make: Make, sensor: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = ReaderFirst()
    for module in (basler, genicam):
        monkeypatch.setattr(module, "threading", SimpleNamespace(Lock=lambda: lock))
    sensor.frozen = False
    camera = make()
    camera.open()
    some = threading.Event()

    def read() -> None:
        while camera.read(PATIENCE) is not None:
            some.set()

    lock.reader = threading.Thread(target=read, daemon=True)
    lock.reader.start()
    assert some.wait(PATIENCE)
    begun = time.monotonic()
    camera.close()
    assert not lock.reader.is_alive() and time.monotonic() - begun < PATIENCE / 2


def test_gaps_in_the_camera_count_are_gaps_in_the_numbers(make: Make, sensor: Sensor) -> None:
    camera = make()
    camera.open()
    numbers = []
    for count in (65530, 65531, 65534, 1, 2, 5):
        sensor.shots.append(Shot(count, 1000 * count, mono(count)))
        frame = camera.read(1.0)
        assert frame is not None
        numbers.append(frame.number)
    # The count goes round from 65535 to 1, and 65535 itself was lost.
    assert numbers == [0, 1, 4, 6, 7, 10]


def test_exposure_is_by_the_camera_clock(make: Make, sensor: Sensor) -> None:
    camera = make()
    camera.open()
    frames = []
    for count in range(5):
        sensor.shots.append(Shot(count, 5_000_000_000 + 10_000_000 * count, mono(count)))
        frames.append(camera.read(1.0))
    assert [frame and frame.device_time for frame in frames] == pytest.approx([5.0, 5.01, 5.02, 5.03, 5.04])


def test_a_camera_without_a_clock_or_a_count_is_numbered_as_its_frames_come(make: Make, sensor: Sensor) -> None:
    camera = make()
    camera.open()
    for number in range(3):
        sensor.shots.append(Shot(NONE, 0, mono(7)))
        frame = camera.read(1.0)
        assert frame is not None and frame.number == number
        assert frame.device_time is None and frame.exposed == frame.arrived


def test_of_several_frames_that_wait_the_newest_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # For producers that have no such mode; Basler's driver has one, which its own emulation shows below.
    sensor = Sensor()
    for name, module in fake_harvesters(sensor).items():
        monkeypatch.setitem(sys.modules, name, module)
    camera = GenicamCamera("123", producers=(tmp_path / "x.cti",))
    camera.open()
    sensor.frozen = True
    camera.read(0.0)
    sensor.shots.extend(Shot(count, 1000 * count, mono(count)) for count in (50_000, 50_001, 50_002))
    frame = camera.read(1.0)
    assert frame is not None and (frame.image == 50_002 % 251).all()
    assert camera.read(0.01) is None
    # Without a count, the two that were passed over still leave their gap.
    first = camera._counter.number(None)
    sensor.shots.extend(Shot(NONE, 1000 * count, mono(count)) for count in (1, 2, 3))
    frame = camera.read(1.0)
    assert frame is not None and frame.number == first + 3
    camera.close()


def test_settings_are_made_and_what_differs_is_said(make: Make, sensor: Sensor) -> None:
    asked = Asked(width=45, height=500, frames_per_second=80.0, exposure=4.0, pixel_format="Mono12")
    applied = make(asked=asked).open()
    assert sensor.settings["ExposureTime"] == 4000.0 and sensor.settings["AcquisitionFrameRate"] == 80.0
    assert sensor.settings["PixelFormat"] == "Mono12"
    # A trigger that somebody left switched on would keep all frames away.
    assert sensor.settings["TriggerMode"] == "Off"
    assert (applied.width, applied.height, applied.frames_per_second) == (40, 64, 80.0)
    width, height = applied.differences
    assert "its width is 40 px where 45 were asked for; it can be 16 to 64 in steps of 8" in width
    assert "its height is 64 px where 500 were asked for" in height


def test_frames_of_twelve_bits_lose_four(make: Make, sensor: Sensor) -> None:
    camera = make(asked=Asked(pixel_format="Mono12"))
    camera.open()
    values = np.arange(HEIGHT * WIDTH, dtype="<u2") * 5
    sensor.shots.append(Shot(1, 1, values.view(np.uint8)))
    frame = camera.read(1.0)
    assert frame is not None
    assert np.array_equal(frame.image[..., 1].ravel(), values >> 4)


def test_a_trigger_line_is_set_and_its_rate_is_nobodys(make: Make, sensor: Sensor) -> None:
    applied = make(asked=Asked(trigger_line="Line2")).open()
    assert (sensor.settings["TriggerMode"], sensor.settings["TriggerSource"]) == ("On", "Line2")
    assert applied.frames_per_second is None
    with pytest.raises(LiveError, match=r"cannot be triggered by Line9 \(.*\); it has Line1, Line2\."):
        make(asked=Asked(trigger_line="Line9")).open()


def test_pixels_that_cannot_be_had_or_read_are_refused(make: Make, sensor: Sensor) -> None:
    with pytest.raises(LiveError, match=r"cannot send pixels as BGR8 \(.*\); it has Mono8, Mono12, Strange7\."):
        make(asked=Asked(pixel_format="BGR8")).open()
    with pytest.raises(LiveError, match=r"format Strange7 cannot be read; set it to Mono8 or Mono12\."):
        make(asked=Asked(pixel_format="Strange7")).open()
    assert sensor.let_go == 2


def test_a_serial_number_that_is_not_there_says_which_are(make: Make) -> None:
    with pytest.raises(LiveError, match=r"no camera has the serial number 77; there is 123 \(.*\)\."):
        make("77").open()


def test_a_picture_that_came_incompletely_is_a_gap(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in fake_pypylon(sensor).items():
        monkeypatch.setitem(sys.modules, name, module)
    camera = BaslerCamera("123")
    camera.open()
    numbers = []
    for count, complete in ((3, True), (4, False), (5, True)):
        sensor.shots.append(Shot(count, 10 * count, mono(count), complete=complete))
        frame = camera.read(0.05)
        numbers.append(None if frame is None else frame.number)
    assert numbers == [0, None, 2]
    camera.close()


def test_a_camera_that_is_pulled_out_while_nobody_reads_can_be_closed(make: Make, sensor: Sensor) -> None:
    camera = make()
    camera.open()
    sensor.gone = True
    with pytest.raises(SourceLostError, match="check its cable"):
        camera.read(0.05)
    camera.close()
    assert sensor.let_go == 1


def test_a_picture_that_is_cut_short_ends_the_camera_with_its_name(make: Make, sensor: Sensor) -> None:
    camera = make()
    camera.open()
    sensor.shots.append(Shot(1, 1, mono(1)[:99]))
    with pytest.raises(SourceLostError, match=rf"{camera.name}: \d+ bytes came for a picture of 32x24 Mono8 pixels"):
        camera.read(1.0)
    sensor.shots.append(Shot(2, 2, mono(2)))
    with pytest.raises(SourceLostError):
        camera.read(1.0)


def test_the_extra_is_named_where_the_library_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pypylon", None)
    monkeypatch.setitem(sys.modules, "harvesters", None)
    with pytest.raises(MissingExtraError, match=r'pip install "rigpose\[basler\]"'):
        BaslerCamera("1").open()
    with pytest.raises(MissingExtraError, match=r'pip install "rigpose\[genicam\]"'):
        GenicamCamera("1", producers=(tmp_path / "x.cti",)).open()


def test_without_a_producer_it_says_where_they_come_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, module in fake_harvesters(Sensor()).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    with pytest.raises(LiveError, match="no GenTL producer was found"):
        GenicamCamera("123").open()
    (tmp_path / "maker.cti").touch()
    assert genicam_serials() == [("123", "Fake")]


def test_a_counter_goes_round_and_begins_anew() -> None:
    counter = FrameCounter()
    assert [counter.number(count) for count in (65534, 65535, 1, 2)] == [0, 1, 2, 3]
    assert counter.number(1) == 4  # the camera began anew: no gap of 65534
    assert counter.number(None, skipped=3) == 8
    assert counter.number(NONE) == 9
    wide = FrameCounter()
    assert [wide.number(count) for count in (2**40, 2**40 + 5, 0, 1)] == [0, 5, 6, 7]


def test_the_real_producer_says_what_it_has_and_gives_its_newest_frame() -> None:
    pytest.importorskip("harvesters.core")
    genicam = pytest.importorskip("genicam.gentl")
    producer = Path(genicam.__file__).with_name("viky.cti")
    if not producer.is_file():
        pytest.skip("this version of genicam brings no pretended camera")
    assert ("2", "Viky") in genicam_serials((producer,))
    asked = Asked(width=320, height=5000, frames_per_second=100.0)
    camera = GenicamCamera("2", asked, producers=(producer,))
    with pytest.raises(LiveError, match=r"serial number 9; there is 0 \(Viky\), 1 \(Viky\), 2 \(Viky\)"):
        GenicamCamera("9", producers=(producer,)).open()
    applied = camera.open()
    assert (applied.width, applied.height) == (320, 800)
    (sentence,) = applied.differences
    assert "its height is 800 px where 5000 were asked for; it can be 100 to 800" in sentence
    first = camera.read(5.0)
    assert first is not None and first.image.shape == (800, 320, 3)
    # Another one of the same producer, which a process can open once.
    other = GenicamCamera("0", producers=(producer,))
    other.open()
    second = other.read(5.0)
    assert second is not None and second.camera == "genicam-0" != first.camera
    other.close()
    assert camera.read(5.0) is not None
    # Somebody has it already, so nobody else gets it, and nobody gets another one instead.
    with pytest.raises(LiveError, match="cannot be opened"):
        GenicamCamera("2", producers=(producer,)).open()
    camera.close()


def test_the_real_basler_driver_leaves_out_what_failed_and_waits_for_its_trigger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    pytest.importorskip("pypylon.pylon")
    assert ("0815-0000", "Emulation") in basler_serials()
    camera = BaslerCamera("0815-0000", Asked(width=64, height=48, frames_per_second=100.0, pixel_format="Mono12"))
    applied = camera.open()
    assert (applied.width, applied.height, applied.frames_per_second) == (64, 48, 100.0)
    first = camera.read(5.0)
    assert first is not None and first.image.shape == (48, 64, 3)
    assert camera._camera is not None
    camera._camera.ForceFailedBufferCount.Value = 5  # type: ignore[attr-defined]
    camera._camera.ForceFailedBuffer.Execute()  # type: ignore[attr-defined]
    numbers = [first.number]
    while len(numbers) < 40:
        if (frame := camera.read(5.0)) is not None:
            numbers.append(frame.number)
    assert numbers[-1] - numbers[0] >= 39 + 5  # those five are gaps, and so is what a busy machine missed
    camera.close()
    waiting = BaslerCamera("0815-0000", Asked(trigger_line="Line1"))
    waiting.open()
    assert waiting.read(0.1) is None
    waiting.close()
