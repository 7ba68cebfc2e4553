"""What every source of frames must do, fakes of drivers and real ones alike."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_video import write_video
from live_cameras import FakeCapture, Sensor, fake_harvesters, fake_pypylon, network_camera

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.faults import LiveError, SourceLostError
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.basler import BaslerCamera
from rigpose.live.sources.frame_source import FrameSource, SourceEndedError
from rigpose.live.sources.genicam import GenicamCamera
from rigpose.live.sources.opencv_camera import OpencvCamera
from rigpose.live.sources.simulated import SimulatedCamera, SimulatedFaults
from rigpose.live.sources.video_file import VideoFileSource

PATIENCE = 10.0
"""Longer than any frame takes on any busy machine [s]."""


@dataclass
class Bench:
    """A source, and what unplugs its camera where that can be done."""

    source: FrameSource
    unplug: Callable[[], None] | None = None
    paced: bool = True


def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    shift = 0.0

    def unplug() -> None:
        nonlocal shift
        shift = 1000.0

    yield Bench(
        SimulatedCamera(
            "simulated",
            160,
            120,
            50,
            faults=SimulatedFaults(unplug_after=900),
            clock=lambda: time.perf_counter() + shift,
        ),
        unplug,
    )


def video_paced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(VideoFileSource(write_video(tmp_path / "v.mp4", range(100))))


def video_as_fast_as_possible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(VideoFileSource(write_video(tmp_path / "v.mp4", range(100)), paced=False, loop=True), paced=False)


def webcam(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    sensor = Sensor()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: FakeCapture(sensor))
    yield Bench(OpencvCamera(0, measured=0.05), lambda: setattr(sensor, "gone", True))


def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    with network_camera() as camera:
        yield Bench(OpencvCamera(camera["url"], measured=0.05), camera["gone"].set)


def genicam_fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    sensor = Sensor()
    for name, module in fake_harvesters(sensor).items():
        monkeypatch.setitem(sys.modules, name, module)
    yield Bench(GenicamCamera("123", producers=(tmp_path / "x.cti",)), lambda: setattr(sensor, "gone", True))


def genicam_real_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    """The producer of pretended cameras that harvesters' own GenTL binding brings with it."""
    pytest.importorskip("harvesters.core")
    genicam = pytest.importorskip("genicam.gentl")
    producer = Path(genicam.__file__).with_name("viky.cti")
    if not producer.is_file():
        pytest.skip("this version of genicam brings no pretended camera")
    asked = Asked(pixel_format="Mono8", width=320, height=240, frames_per_second=50)
    yield Bench(GenicamCamera("1", asked, producers=(producer,)))


def basler_fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    sensor = Sensor()
    for name, module in fake_pypylon(sensor).items():
        monkeypatch.setitem(sys.modules, name, module)
    yield Bench(BaslerCamera("123"), lambda: setattr(sensor, "gone", True))


def basler_real_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    """Basler's own emulation of a camera, in its own driver."""
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    pytest.importorskip("pypylon.pylon")
    yield Bench(BaslerCamera("0815-0001", Asked(width=320, height=240, frames_per_second=50)))


KINDS = (
    simulated,
    video_paced,
    video_as_fast_as_possible,
    webcam,
    network,
    genicam_fake,
    genicam_real_driver,
    basler_fake,
    basler_real_driver,
)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    benches = request.param(monkeypatch, tmp_path)
    bench = next(benches)
    yield bench
    bench.source.close()
    next(benches, None)


def frames(source: FrameSource, many: int) -> list[CapturedFrame]:
    found: list[CapturedFrame] = []
    end = time.perf_counter() + PATIENCE
    while len(found) < many:
        assert time.perf_counter() < end, f"only {len(found)} frames came"
        frame = source.read(0.5)
        if frame is not None:
            found.append(frame)
    return found


def read_on(source: FrameSource) -> None:
    for _ in range(100):
        assert (frame := source.read(0.2)) is None or frame.camera == source.name


def test_frames_have_their_size_numbers_that_rise_and_times_in_order(bench: Bench) -> None:
    applied = bench.source.open()
    first, *others = frames(bench.source, 8)
    kept = first.image.copy()
    others += frames(bench.source, 4)
    assert np.array_equal(first.image, kept)  # nobody wrote into it
    assert not any(np.shares_memory(first.image, other.image) for other in others)
    for frame in (first, *others):
        assert frame.camera == bench.source.name
        assert frame.image.dtype == np.uint8 and frame.image.shape == (applied.height, applied.width, 3)
        assert frame.exposed <= frame.arrived
    for before, after in zip((first, *others), others, strict=False):
        assert after.number > before.number
        assert after.arrived > before.arrived and after.exposed > before.exposed
        if before.device_time is not None and after.device_time is not None:
            assert after.device_time > before.device_time


def test_without_a_new_frame_a_read_ends_at_its_timeout(bench: Bench) -> None:
    if not bench.paced:
        pytest.skip("it always has a frame")
    bench.source.open()
    frames(bench.source, 1)
    began = time.perf_counter()
    answers = [bench.source.read(0.001) for _ in range(30)]
    assert None in answers
    assert time.perf_counter() - began < PATIENCE


def test_it_is_read_only_while_it_is_open_and_can_be_opened_again(bench: Bench) -> None:
    bench.source.close()
    with pytest.raises(LiveError, match="not open"):
        bench.source.read(0.01)
    for _ in range(2):
        bench.source.open()
        frames(bench.source, 2)
        bench.source.close()
        bench.source.close()
        with pytest.raises(LiveError, match="not open"):
            bench.source.read(0.01)


def test_close_frees_a_reader_that_waits(bench: Bench) -> None:
    bench.source.open()
    some = threading.Event()
    ends: list[object] = []

    def read() -> None:
        try:
            while (frame := bench.source.read(60.0)) is not None:
                some.set()
            ends.append(frame)
        except LiveError as error:
            ends.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert some.wait(PATIENCE)
    bench.source.close()
    reader.join(PATIENCE)
    assert not reader.is_alive()
    assert len(ends) == 1 and not isinstance(ends[0], SourceLostError)


def test_a_lost_camera_stays_lost_and_nothing_takes_its_place(bench: Bench) -> None:
    if bench.unplug is None:
        pytest.skip("nothing can unplug it")
    bench.source.open()
    frames(bench.source, 2)
    bench.unplug()
    with pytest.raises(SourceLostError, match=bench.source.name):
        read_on(bench.source)
    for _ in range(2):
        with pytest.raises(SourceLostError, match=bench.source.name):
            bench.source.read(0.05)
    bench.source.close()
    with pytest.raises(LiveError, match=bench.source.name.split(":")[0]):
        bench.source.open()


@pytest.mark.parametrize("paced", [True, False])
def test_a_recording_ends(tmp_path: Path, *, paced: bool) -> None:
    source = VideoFileSource(write_video(tmp_path / "v.mp4", range(4)), paced=paced)
    source.open()
    with pytest.raises(SourceEndedError):
        read_on(source)
    with pytest.raises(SourceEndedError):
        source.read(0.5)
    source.close()
