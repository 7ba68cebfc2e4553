"""Industrial cameras of any maker through their GenTL producer (a ``.cti`` file), by ``harvesters``."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError, SourceLostError
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.camera_features import Value, apply, brief
from rigpose.live.sources.device_clock import DeviceClock
from rigpose.live.sources.frame_counter import FrameCounter
from rigpose.live.sources.frame_source import Applied
from rigpose.live.sources.gentl_producers import Producers, driver_errors, tried
from rigpose.live.sources.pixel_formats import to_bgr
from rigpose.live.sources.source_kind import SourceKind
from rigpose.live.sources.waiting import Sleep

if TYPE_CHECKING:
    from harvesters.core import ImageAcquirer

BUFFERS = 4
LOOK = 0.0005
"""How often a new frame is looked for [s]. Harvesters would wait for one itself, but it holds Python's global lock
while it waits, and the threads that infer would stand still; asking whether one is there takes a microsecond."""
BLIND_LOOK = 0.002
"""The same for producers that cannot say whether a frame is there [s]."""


class GenicamCamera:
    """A camera behind a GenTL producer, known by its serial number.

    The producer keeps its newest frame alone where it can; where it cannot, older ones are passed over here.

    Attributes:
        name: See ``FrameSource``; ``genicam-SERIAL`` unless given.
    """

    kind = SourceKind.CAMERA

    def __init__(
        self,
        serial: str,
        asked: Asked | None = None,
        *,
        name: str | None = None,
        producers: tuple[Path, ...] = (),
        clock: Clock = now,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Choose a camera.

        Args:
            serial: Its serial number.
            asked: Its settings.
            name: What its frames call their camera.
            producers: The ``.cti`` files; those in the folders of ``GENICAM_GENTL64_PATH`` if none are given.
            clock: The clock of the run.
            sleep: Lets time pass.
        """
        self.name = name or f"genicam-{serial}"
        self._serial, self._asked, self._files = serial, asked or Asked(), producers
        self._clock, self._sleep = clock, sleep
        self._producers: Producers | None = None
        self._acquirer: ImageAcquirer | None = None
        self._lost, self._closed = False, True
        # Held while the producer is asked for anything: closing it under a reader would take the process with it.
        self._busy = threading.Lock()

    def open(self) -> Applied:
        """See ``FrameSource``."""
        self._producers = Producers(self._files)
        try:
            self._acquirer = self._created(self._producers)
            nodes = _Nodes(self._acquirer.remote_device.node_map)
            applied = apply(nodes, self._asked, self.name)
            self._format = str(nodes.read("PixelFormat"))
            self._size = applied.height, applied.width
            self._acquirer.num_buffers = max(BUFFERS, self._acquirer.min_num_buffers)
            stream = _Nodes(self._acquirer.data_streams[0].node_map)
            stream.write("StreamBufferHandlingMode", "NewestOnly")
            self._acquirer.start()
        except driver_errors() as error:
            self.close()
            raise LiveError(
                f"{self.name}: cannot be started ({brief(error)}); unplug it, plug it in, try again."
            ) from error
        except LiveError:
            self.close()
            raise
        self._nodes, self._lost, self._closed = nodes, False, False
        self._counter, self._device_clock = FrameCounter(), DeviceClock()
        return applied

    def read(self, timeout: float) -> CapturedFrame | None:
        """See ``FrameSource``."""
        if self._acquirer is None:
            raise LiveError(f"{self.name}: is not open; open it before reading.")
        deadline = self._clock() + timeout
        while True:
            with self._busy:
                if self._closed or self._acquirer is None:
                    return None
                frame, pause = self._taken(self._acquirer)
                if frame is None and self._clock() >= deadline:
                    self._look_after(self._nodes)
                    return None
            if frame is not None:
                return frame
            self._sleep(pause)

    def close(self) -> None:
        """See ``FrameSource``."""
        self._closed = True  # before the lock, which a reader that asks again and again may keep
        with self._busy:
            acquirer, self._acquirer = self._acquirer, None
            producers, self._producers = self._producers, None
            if acquirer is not None:
                # A camera that is gone cannot be told to stop; what is left of it is let go of all the same.
                tried(acquirer.stop, None)
                tried(acquirer.destroy, None)
            if producers is not None:
                producers.close()

    def _created(self, producers: Producers) -> ImageAcquirer:
        there = producers.devices()
        same = [device for device in there if device.serial == self._serial]
        if not same:
            known = ", ".join(f"{device.serial} ({device.model})" for device in there)
            raise LiveError(
                f"{self.name}: no camera has the serial number {self._serial}; there is {known or 'none at all'}."
            )
        try:
            return producers.create(same[0])
        except driver_errors() as error:
            raise LiveError(
                f"{self.name}: cannot be opened ({brief(error)}); close the program that has it, and check that you "
                "may use it."
            ) from error

    def _taken(self, acquirer: ImageAcquirer) -> tuple[CapturedFrame | None, float]:
        """The newest frame that is there, or none; and when to look again [s]."""
        if self._lost:
            raise self._gone()
        stream: Any = acquirer.data_streams[0].module
        try:
            waiting: int | None = tried(lambda: stream.num_awaiting_delivery, None)
            many = 1 if waiting is None else waiting
            fetched: list[Any] = [acquirer.try_fetch(timeout=0.002, is_raw=True) for _ in range(many)]
            buffers = [buffer for buffer in fetched if buffer is not None]
            if not buffers:
                return None, LOOK if waiting is not None else BLIND_LOOK
            frame = self._frame(buffers[-1], self._clock(), skipped=len(buffers) - 1)
            for buffer in buffers:
                buffer.parent.queue_buffer(buffer)
        except driver_errors() as error:
            self._lost = True
            raise self._gone() from error
        except SourceLostError as error:
            self._lost = True
            raise SourceLostError(f"{self.name}: {error}") from error
        return frame, 0.0

    def _frame(self, buffer: Any, arrived: float, *, skipped: int) -> CapturedFrame:
        height = tried(lambda: buffer.height, 0) or self._size[0]
        width = tried(lambda: buffer.width, 0) or self._size[1]
        data = np.frombuffer(buffer.raw_buffer, np.uint8)[tried(lambda: buffer.image_offset, 0) :]
        image = to_bgr(data, height, width, self._format, padding=tried(lambda: buffer.padding_x, 0))
        number = self._counter.number(tried(lambda: buffer.frame_id, None), skipped)
        device_time = self._device_time(buffer)
        exposed = arrived if device_time is None else self._device_clock.exposed(device_time, arrived)
        return CapturedFrame(self.name, number, image, arrived, exposed, device_time)

    def _device_time(self, buffer: Any) -> float | None:
        """[s] by the camera's clock; none where it does not stamp its frames."""
        if nanoseconds := tried(lambda: buffer.timestamp_ns, 0):
            return nanoseconds * 1e-9
        ticks = tried(lambda: buffer.timestamp, 0)
        rate = tried(lambda: buffer.parent.parent.timestamp_frequency, 0) or self._nodes.read(
            "GevTimestampTickFrequency"
        )
        return ticks / float(rate) if ticks and rate else None

    def _look_after(self, nodes: _Nodes) -> None:
        """No frame came: ask the camera itself whether it is there, past everything that is remembered of it."""
        try:
            nodes.ask_anew("Width")
        except driver_errors() as error:
            self._lost = True
            raise self._gone() from error

    def _gone(self) -> SourceLostError:
        return SourceLostError(
            f"{self.name}: the camera no longer answers; check its cable and power, and start again."
        )


def genicam_serials(producers: tuple[Path, ...] = ()) -> list[tuple[str, str]]:
    """Serial number and model of every camera that is there.

    Raises:
        LiveError: No producer is installed.
        MissingExtraError: Harvesters is not installed.
    """
    opened = Producers(producers)
    try:
        return [(device.serial, device.model) for device in opened.devices()]
    finally:
        opened.close()


class _Nodes:
    """``camera_features.Features`` by harvesters."""

    def __init__(self, nodes: Any) -> None:
        self._nodes = nodes

    def read(self, name: str) -> Value | None:
        return tried(lambda: getattr(self._nodes, name).value, None)

    def write(self, name: str, value: Value) -> str | None:
        try:
            getattr(self._nodes, name).value = value
        except AttributeError:
            return "it has no such setting"
        except driver_errors() as error:
            return brief(error)
        return None

    def choices(self, name: str) -> tuple[str, ...]:
        return tuple(tried(lambda: getattr(self._nodes, name).symbolics, ()))

    def step(self, name: str) -> tuple[int, int, int]:
        node = getattr(self._nodes, name)
        return node.min, node.max, node.inc

    def ask_anew(self, name: str) -> None:
        node = getattr(self._nodes, name)
        node.node.invalidate_node()
        _ = node.value
