"""Basler's cameras by ``pypylon``."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from rigpose.errors import MissingExtraError
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError, SourceLostError
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.camera_features import Value, apply, brief
from rigpose.live.sources.device_clock import DeviceClock
from rigpose.live.sources.frame_counter import FrameCounter
from rigpose.live.sources.frame_source import Applied
from rigpose.live.sources.pixel_formats import to_bgr
from rigpose.live.sources.source_kind import SourceKind

if TYPE_CHECKING:
    from pypylon.pylon import InstantCamera

SLICE_MS = 20
"""Longest wait at a time: how long ``close`` may have to wait for a reader."""
_TICKS = ("GevTimestampTickFrequency", "BslTimestampTickFrequency")
"""Where GigE cameras say how many ticks of their clock a second has; others count nanoseconds."""


class BaslerCamera:
    """A Basler camera, known by its serial number. The driver keeps only its newest frame.

    Attributes:
        name: See ``FrameSource``; ``basler-SERIAL`` unless given.
    """

    kind = SourceKind.CAMERA

    def __init__(self, serial: str, asked: Asked | None = None, *, name: str | None = None, clock: Clock = now) -> None:
        """Choose a camera.

        Args:
            serial: Its serial number.
            asked: Its settings.
            name: What its frames call their camera.
            clock: The clock of the run.
        """
        self.name = name or f"basler-{serial}"
        self._serial, self._asked, self._clock = serial, asked or Asked(), clock
        self._camera: InstantCamera | None = None
        self._lost, self._closed = False, True
        # Held while the driver is asked for anything: closing it under a reader would take the process with it.
        self._busy = threading.Lock()

    def open(self) -> Applied:
        """See ``FrameSource``."""
        pylon, genicam = _library()
        self._pylon, self._errors = pylon, genicam.GenericException
        self._camera = camera = self._created()
        try:
            camera.Open()
            nodes = _Nodes(camera, genicam)
            applied = apply(nodes, self._asked, self.name)
            self._format = str(nodes.read("PixelFormat"))
            self._ticks = next((float(rate) for name in _TICKS if (rate := nodes.read(name))), 1e9)
            camera.StartGrabbing(pylon.GrabStrategy_LatestImageOnly)
        except genicam.GenericException as error:
            self.close()
            raise LiveError(
                f"{self.name}: cannot be started ({brief(error)}); close the program that has it, or unplug it and "
                "plug it in."
            ) from error
        except LiveError:
            self.close()
            raise
        self._lost, self._closed = False, False
        self._counter, self._device_clock = FrameCounter(), DeviceClock()
        return applied

    def read(self, timeout: float) -> CapturedFrame | None:
        """See ``FrameSource``; a picture that came incompletely is a gap in the numbers."""
        if self._camera is None:
            raise LiveError(f"{self.name}: is not open; open it before reading.")
        deadline = self._clock() + timeout
        while True:
            left = max(0, min(SLICE_MS, round(1000 * (deadline - self._clock()))))
            with self._busy:
                if self._closed or self._camera is None:
                    return None
                frame = self._taken(self._camera, left)
            if frame is not None or self._clock() >= deadline:
                return frame

    def close(self) -> None:
        """See ``FrameSource``."""
        self._closed = True  # before the lock, which a reader that asks again and again may keep
        with self._busy:
            camera, self._camera = self._camera, None
            if camera is None:
                return
            # A camera that is gone cannot be told to stop; what is left of it is let go of all the same.
            for done in (camera.StopGrabbing, camera.DestroyDevice):
                with suppress(self._errors):
                    done()

    def _created(self) -> InstantCamera:
        factory = self._pylon.TlFactory.GetInstance()
        there = factory.EnumerateDevices()
        same = [device for device in there if device.GetSerialNumber() == self._serial]
        if not same:
            known = ", ".join(f"{device.GetSerialNumber()} ({device.GetModelName()})" for device in there)
            raise LiveError(
                f"{self.name}: no camera has the serial number {self._serial}; there is {known or 'none at all'}."
            )
        try:
            return self._pylon.InstantCamera(factory.CreateDevice(same[0]))
        except self._errors as error:
            raise LiveError(
                f"{self.name}: cannot be opened ({brief(error)}); close the program that has it."
            ) from error

    def _taken(self, camera: InstantCamera, milliseconds: int) -> CapturedFrame | None:
        """The newest frame, if one comes in so long a time."""
        if self._lost:
            raise self._gone()
        try:
            result = camera.RetrieveResult(milliseconds, self._pylon.TimeoutHandling_Return)
            arrived = self._clock()
            if result.IsValid():
                try:
                    return self._frame(result, arrived) if result.GrabSucceeded() else None
                finally:
                    result.Release()
            self._lost = camera.IsCameraDeviceRemoved()
        except self._errors as error:
            self._lost = True
            raise self._gone() from error
        except SourceLostError as error:
            self._lost = True
            raise SourceLostError(f"{self.name}: {error}") from error
        if self._lost:
            raise self._gone()
        return None

    def _frame(self, result: Any, arrived: float) -> CapturedFrame:
        data = np.frombuffer(result.GetBuffer(), np.uint8)
        image = to_bgr(data, result.Height, result.Width, self._format, padding=result.PaddingX)
        number = self._counter.number(result.BlockID, result.NumberOfSkippedImages)
        device_time = result.TimeStamp / self._ticks if result.TimeStamp else None
        exposed = arrived if device_time is None else self._device_clock.exposed(device_time, arrived)
        return CapturedFrame(self.name, number, image, arrived, exposed, device_time)

    def _gone(self) -> SourceLostError:
        return SourceLostError(f"{self.name}: the camera is gone; check its cable and power, and start again.")


def basler_serials() -> list[tuple[str, str]]:
    """Serial number and model of every camera that is there.

    Raises:
        MissingExtraError: Pypylon is not installed.
    """
    pylon, _ = _library()
    devices = pylon.TlFactory.GetInstance().EnumerateDevices()
    return [(device.GetSerialNumber(), device.GetModelName()) for device in devices]


class _Nodes:
    """``camera_features.Features`` by pypylon."""

    def __init__(self, camera: InstantCamera, genicam: Any) -> None:
        self._nodes, self._genicam = camera.GetNodeMap(), genicam

    def read(self, name: str) -> Value | None:
        node = self._nodes.GetNode(name)
        return node.Value if node is not None and self._genicam.IsReadable(node) else None

    def write(self, name: str, value: Value) -> str | None:
        node = self._nodes.GetNode(name)
        if node is None or not self._genicam.IsWritable(node):
            return "it has no such setting, or cannot change it now"
        try:
            node.Value = value
        except self._genicam.GenericException as error:
            return brief(error)
        return None

    def choices(self, name: str) -> tuple[str, ...]:
        node = self._nodes.GetNode(name)
        return tuple(node.Symbolics) if node is not None and self._genicam.IsReadable(node) else ()

    def step(self, name: str) -> tuple[int, int, int]:
        node = self._nodes.GetNode(name)
        return node.Min, node.Max, node.Inc


def _library() -> tuple[Any, Any]:
    try:
        from pypylon import genicam, pylon
    except ImportError as error:
        raise MissingExtraError(
            f'pypylon, which Basler cameras need, is missing ({error}); pip install "rigpose[basler]".'
        ) from error
    return pylon, genicam
