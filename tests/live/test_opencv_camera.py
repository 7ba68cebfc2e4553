"""Webcams and network cameras: what OpenCV says is checked, and nobody's password is shown."""

from __future__ import annotations

import socket
import threading
import time

import cv2
import numpy as np
import pytest
from live_cameras import HEIGHT, WIDTH, FakeCapture, Sensor, network_camera

from rigpose.live.faults import LiveError
from rigpose.live.sources import opencv_camera
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.opencv_camera import OpencvCamera


@pytest.fixture
def sensor(monkeypatch: pytest.MonkeyPatch) -> Sensor:
    sensor = Sensor()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: FakeCapture(sensor))
    return sensor


def test_what_the_camera_does_otherwise_is_said(sensor: Sensor) -> None:
    asked = Asked(width=1920, height=1080, frames_per_second=200.0, exposure=4.0)
    camera = OpencvCamera(0, asked, measured=0.5)
    applied = camera.open()
    camera.close()
    assert (applied.width, applied.height) == (WIDTH, HEIGHT)
    width, height, rate = applied.differences
    assert width == "camera0: its width is 32 px where 1920 were asked for."
    assert height == "camera0: its height is 24 px where 1080 were asked for."
    # The driver says 200, as it was told; what comes is 50, or less on a busy machine.
    assert applied.frames_per_second == 200.0
    assert "frames per second where 200 were asked for; dim light" in rate
    assert float(rate.split("gives ")[1].split()[0]) < 60


def test_a_camera_that_gives_no_frame_cannot_be_opened(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    sensor.frozen = True
    monkeypatch.setattr(opencv_camera, "FIRST_FRAME", 0.1)
    with pytest.raises(LiveError, match="camera0: gave no frame"):
        OpencvCamera(0).open()


def test_a_camera_that_hangs_neither_holds_its_reader_nor_who_closes_it(sensor: Sensor) -> None:
    camera = OpencvCamera(0, measured=0.05)
    camera.open()
    sensor.frozen = True
    while camera.read(0.1) is not None:
        pass
    done = threading.Event()

    def wait() -> None:
        camera.read(60.0)
        done.set()

    threading.Thread(target=wait, daemon=True).start()
    camera.close()
    assert done.wait(10.0)


def test_a_late_reader_gets_the_newest_frame(sensor: Sensor) -> None:
    camera = OpencvCamera(0, measured=0.05)
    camera.open()
    end = time.monotonic() + 10.0
    while sensor.given < 15 and time.monotonic() < end:
        time.sleep(0.01)
    sensor.frozen = True
    late = []
    while (frame := camera.read(0.5)) is not None:
        late.append(int(frame.image.max()))
    camera.close()
    # One was left, and one may have been on its way when the camera stopped.
    assert 1 <= len(late) <= 2 and late[-1] == sensor.given >= 15


def test_linux_is_told_the_exposure_in_its_unit_and_its_stamps_are_read(
    sensor: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[int, float] = {}

    class Listening(FakeCapture):
        def set(self, setting: int, value: float) -> bool:
            told[setting] = value
            return super().set(setting, value)

        def get(self, setting: int) -> float:
            return 1000 * self.stamp if setting == cv2.CAP_PROP_POS_MSEC else super().get(setting)

    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: Listening(sensor))
    camera = OpencvCamera(0, Asked(exposure=4.0), measured=0.0)
    assert camera.open().differences == ()
    frames = [camera.read(5.0) for _ in range(3)]
    camera.close()
    # The kernel's stamps are those of the pictures, 20 ms apart or more where some were not read.
    stamps = [frame.device_time for frame in frames if frame is not None and frame.device_time is not None]
    assert len(stamps) == 3 and np.diff(stamps).min() >= 0.02 - 1e-6
    assert told[cv2.CAP_PROP_EXPOSURE] == 40 and told[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
    assert told[cv2.CAP_PROP_BUFFERSIZE] == 1


def test_a_trigger_is_refused(sensor: Sensor) -> None:
    with pytest.raises(LiveError, match="OpenCV cannot have a camera triggered"):
        OpencvCamera(0, Asked(trigger_line="Line1")).open()


def test_no_password_is_in_any_name_or_sentence() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    with pytest.raises(LiveError) as told:
        OpencvCamera(f"http://someone:hush@127.0.0.1:{port}/live?key=hush").open()
    assert str(told.value).startswith(f"127.0.0.1:{port}/live: OpenCV cannot open this camera")
    assert "hush" not in str(told.value) and "someone" not in str(told.value)
    with network_camera() as there:
        camera = OpencvCamera(there["url"], measured=0.1)
        applied = camera.open()
        frame = camera.read(5.0)
        camera.close()
    assert camera.name == f"127.0.0.1:{there['port']}/live.mjpg"
    assert frame is not None and frame.camera == camera.name and frame.image.shape == (HEIGHT, WIDTH, 3)
    assert "hush" not in repr(applied)
