"""Cameras for tests: one sensor behind fakes of OpenCV's, harvesters' and pypylon's own objects, and real emulators."""

from __future__ import annotations

import http.server
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np

from rigpose.arrays import Array, Frames

WIDTH, HEIGHT = 32, 24


@dataclass(frozen=True)
class Shot:
    """One picture of a sensor."""

    count: int
    ticks: int
    pixels: Array
    complete: bool = True
    skipped: int = 0


class Sensor:
    """Gives its newest picture, at its rate by the real clock, or what a test puts into ``shots``.

    Attributes:
        shots: Given first, one after the other.
        frozen: Gives no pictures.
        gone: Unplugged.
        let_go: How often it was closed.
        given: Of the newest picture, its count.
    """

    def __init__(self, serial: str = "123", rate: float = 50.0) -> None:
        self.serial, self.rate = serial, rate
        self.settings: dict[str, Any] = {
            "PixelFormat": "Mono8",
            "Width": WIDTH,
            "Height": HEIGHT,
            "AcquisitionFrameRate": rate,
            "ExposureTime": 2000.0,
            "TriggerSelector": "FrameStart",
            "TriggerMode": "On",
            "TriggerSource": "Line1",
        }
        self.choices = {"PixelFormat": ("Mono8", "Mono12", "Strange7"), "TriggerSource": ("Line1", "Line2")}
        self.limits = {"Width": (16, 64, 8), "Height": (16, 64, 2)}
        self.shots: deque[Shot] = deque()
        self.frozen = self.gone = False
        self.let_go = 0
        self._begun, self.given = time.perf_counter(), -1

    def ready(self) -> bool:
        return bool(self.shots) or (not self.frozen and not self.gone and self._due() > self.given)

    def shot(self, seconds: float) -> Shot | None:
        end = time.perf_counter() + seconds
        while not self.ready():
            if self.gone or time.perf_counter() >= end:
                return None
            time.sleep(0.001)
        if self.shots:
            return self.shots.popleft()
        skipped = max(0, self._due() - self.given - 1) if self.given >= 0 else 0
        self.given = self._due()
        return Shot(self.given, round(1e9 * (7 + self.given / self.rate)), mono(self.given), skipped=skipped)

    def set(self, name: str, value: Any) -> None:
        if name not in self.settings:
            raise AttributeError(name)
        if value not in self.choices.get(name, (value,)):
            raise DriverError(f"{value} is not in the list : thrown in a file. And more")
        self.settings[name] = value

    def _due(self) -> int:
        return int((time.perf_counter() - self._begun) * self.rate)


class DriverError(Exception):
    """What drivers raise."""


def mono(count: int) -> Array:
    return np.full(HEIGHT * WIDTH, count % 251, np.uint8)


class FakeCapture:
    """``cv2.VideoCapture`` of a webcam that obeys no request for its size, and queues no more than one picture."""

    def __init__(self, sensor: Sensor) -> None:
        self._sensor, self._image = sensor, np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        self._values = {cv2.CAP_PROP_FPS: sensor.rate}
        self.stamp = 0.0  # of the last picture [s]

    def isOpened(self) -> bool:  # noqa: N802
        return not self._sensor.gone

    def getBackendName(self) -> str:  # noqa: N802
        return "V4L2"

    def set(self, setting: int, value: float) -> bool:
        self._values[setting] = value
        return True

    def get(self, setting: int) -> float:
        size = {cv2.CAP_PROP_FRAME_WIDTH: WIDTH, cv2.CAP_PROP_FRAME_HEIGHT: HEIGHT}
        return size.get(setting, self._values.get(setting, 0.0))

    def grab(self) -> bool:
        while (shot := self._sensor.shot(0.2)) is None:
            if self._sensor.gone or self._sensor.let_go:
                return False
        self.stamp = shot.ticks * 1e-9
        self._image = np.repeat(shot.pixels.reshape(HEIGHT, WIDTH, 1), 3, axis=2)
        return True

    def retrieve(self) -> tuple[bool, Frames]:
        return True, self._image

    def release(self) -> None:
        self._sensor.let_go += 1


def fake_pypylon(sensor: Sensor) -> dict[str, ModuleType]:
    """``sys.modules`` of a pypylon that knows one camera."""
    device = SimpleNamespace(GetSerialNumber=lambda: sensor.serial, GetModelName=lambda: "acA640-fake")
    factory = SimpleNamespace(EnumerateDevices=lambda: [device], CreateDevice=lambda device: device)
    pylon: Any = ModuleType("pypylon.pylon")
    pylon.TlFactory = SimpleNamespace(GetInstance=lambda: factory)
    pylon.InstantCamera = lambda device: _PylonCamera(sensor)
    pylon.GrabStrategy_LatestImageOnly, pylon.TimeoutHandling_Return = "latest", "return"
    genicam: Any = ModuleType("pypylon.genicam")
    genicam.GenericException = DriverError
    genicam.IsReadable = genicam.IsWritable = lambda node: node is not None
    package: Any = ModuleType("pypylon")
    package.pylon, package.genicam = pylon, genicam
    return {"pypylon": package, "pypylon.pylon": pylon, "pypylon.genicam": genicam}


class _PylonCamera:
    def __init__(self, sensor: Sensor) -> None:
        self._sensor, self._grabbing = sensor, False

    def Open(self) -> None:  # noqa: N802
        if self._sensor.gone:
            raise DriverError("The device is gone : thrown")

    def GetNodeMap(self) -> Any:  # noqa: N802
        sensor = self._sensor
        return SimpleNamespace(GetNode=lambda name: _PylonNode(sensor, name) if name in sensor.settings else None)

    def StartGrabbing(self, strategy: str) -> None:  # noqa: N802
        assert strategy == "latest"
        self._grabbing = True

    def StopGrabbing(self) -> None:  # noqa: N802
        if self._sensor.gone:
            raise DriverError("The device is gone : thrown")
        self._grabbing = False

    def IsCameraDeviceRemoved(self) -> bool:  # noqa: N802
        return self._sensor.gone

    def DestroyDevice(self) -> None:  # noqa: N802
        self._sensor.let_go += 1

    def RetrieveResult(self, milliseconds: int, handling: str) -> Any:  # noqa: N802
        assert self._grabbing and handling == "return"
        return _grab_result(self._sensor, self._sensor.shot(milliseconds / 1000))


class _PylonNode:
    def __init__(self, sensor: Sensor, name: str) -> None:
        self._sensor, self._name = sensor, name
        self.Min, self.Max, self.Inc = sensor.limits.get(name, (0, 0, 1))
        self.Symbolics = sensor.choices.get(name, ())

    @property
    def Value(self) -> Any:  # noqa: N802
        return self._sensor.settings[self._name]

    @Value.setter
    def Value(self, value: Any) -> None:  # noqa: N802
        self._sensor.set(self._name, value)


def _grab_result(sensor: Sensor, shot: Shot | None) -> Any:
    if shot is None:
        return SimpleNamespace(IsValid=lambda: False)
    return SimpleNamespace(
        IsValid=lambda: True,
        GrabSucceeded=lambda: shot.complete,
        GetBuffer=lambda: bytearray(shot.pixels.tobytes()),
        Height=sensor.settings["Height"],
        Width=sensor.settings["Width"],
        PaddingX=0,
        BlockID=shot.count,
        NumberOfSkippedImages=shot.skipped,
        TimeStamp=shot.ticks,
        Release=lambda: None,
    )


def fake_harvesters(sensor: Sensor) -> dict[str, ModuleType]:
    """``sys.modules`` of a harvesters that knows one camera."""
    core: Any = ModuleType("harvesters.core")
    core.Harvester = lambda: _Harvester(sensor)
    package: Any = ModuleType("harvesters")
    package.core = core
    modules = {"harvesters": package, "harvesters.core": core}
    for name in ("genicam", "genicam.genapi", "genicam.gentl"):
        modules[name] = ModuleType(name)
        modules[name].GenericException = DriverError  # type: ignore[attr-defined]
    return modules


class _Harvester:
    def __init__(self, sensor: Sensor) -> None:
        self._sensor = sensor
        self.device_info_list = [SimpleNamespace(serial_number=sensor.serial, model="Fake", id_="id")]

    def add_file(self, path: str, *, check_existence: bool, check_validity: bool) -> None:
        assert path.endswith(".cti") and check_existence and check_validity

    def update(self) -> None:
        pass

    def reset(self) -> None:
        pass

    def create(self, device: Any) -> _Acquirer:
        assert device is self.device_info_list[0]
        if self._sensor.gone:
            raise DriverError("GenTL exception: Requested resource is already in use. (ID: -1004)")
        return _Acquirer(self._sensor)


class _Acquirer:
    num_buffers, min_num_buffers = 1, 2

    def __init__(self, sensor: Sensor) -> None:
        self._sensor, self._stream = sensor, _Stream(sensor)
        self.remote_device = SimpleNamespace(node_map=_GenNodes(sensor))
        self.data_streams = [SimpleNamespace(node_map=_GenNodes(sensor), module=self._stream)]

    def start(self) -> None:
        pass

    def stop(self) -> None:
        if self._sensor.gone:
            raise DriverError("lost")

    def destroy(self) -> None:
        self._sensor.let_go += 1

    def try_fetch(self, *, timeout: float, is_raw: bool) -> Any:
        assert is_raw
        # All buffers of a producer that are never given back are soon none.
        assert self._stream.fetched - self._stream.queued < self.num_buffers
        shot = self._sensor.shot(timeout)
        if shot is None:
            return None
        self._stream.fetched += 1
        return _buffer(self._sensor, shot, self._stream)


class _Stream:
    def __init__(self, sensor: Sensor) -> None:
        self._sensor = sensor
        self.fetched = self.queued = 0

    @property
    def num_awaiting_delivery(self) -> int:
        return len(self._sensor.shots) or int(self._sensor.ready())

    def queue_buffer(self, buffer: Any) -> None:
        assert buffer.parent is self
        self.queued += 1


class _GenNodes:
    def __init__(self, sensor: Sensor) -> None:
        self._sensor = sensor

    def __getattr__(self, name: str) -> Any:
        if name not in self._sensor.settings:
            raise AttributeError(name)
        return _GenNode(self._sensor, name)


class _GenNode:
    def __init__(self, sensor: Sensor, name: str) -> None:
        self._sensor, self._name = sensor, name
        self.min, self.max, self.inc = sensor.limits.get(name, (0, 0, 1))
        self.symbolics = sensor.choices.get(name, ())
        self.node = SimpleNamespace(invalidate_node=lambda: None)

    @property
    def value(self) -> Any:
        if self._sensor.gone:
            raise DriverError("GenTL exception: I/O error")
        return self._sensor.settings[self._name]

    @value.setter
    def value(self, value: Any) -> None:
        self._sensor.set(self._name, value)


def _buffer(sensor: Sensor, shot: Shot, stream: _Stream) -> Any:
    return SimpleNamespace(
        raw_buffer=shot.pixels.tobytes() + bytes(7),
        height=sensor.settings["Height"],
        width=sensor.settings["Width"],
        image_offset=0,
        padding_x=0,
        frame_id=shot.count,
        timestamp_ns=shot.ticks,
        parent=stream,
    )


@contextmanager
def network_camera(rate: float = 20.0) -> Iterator[Mapping[str, Any]]:
    """A real network camera: motion JPEG by HTTP. ``url`` is where it is; setting ``gone`` ends all its streams."""
    gone = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for count in range(100_000):
                    if gone.wait(1 / rate):
                        return
                    picture = cv2.imencode(".jpg", mono(count).reshape(HEIGHT, WIDTH))[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
            except OSError:
                return

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    port = server.server_address[1]
    try:
        yield {"url": f"http://someone:hush@127.0.0.1:{port}/live.mjpg?key=hush", "port": port, "gone": gone}
    finally:
        gone.set()
        server.shutdown()
        server.server_close()
