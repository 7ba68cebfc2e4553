"""Frames on their way from the thread of a camera to the thread that records."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from rigpose.arrays import Frames
from rigpose.live.captured_frame import CapturedFrame

ROOM_AGAIN = 0.5
"""What had no room is crowded until no more of its memory is in use than this part, so that frames which come and go at
the limit are one trouble and not hundreds."""


@dataclass(frozen=True, slots=True, eq=False)
class WaitingFrame:
    """What is recorded of a frame; times as of ``CapturedFrame``. The picture is none where none is wanted."""

    number: int
    device_time: float | None
    exposed: float
    arrived: float
    image: Frames | None


@dataclass(frozen=True, slots=True)
class DroppedFrames:
    """Frames that came one after the other and found no room.

    Attributes:
        first: Number of the first.
        last: Number of the last; none between them is missing.
    """

    first: int
    last: int


class WaitingFrames:
    """A queue of references to frames, which holds so many bytes of pictures and no more.

    One thread puts and another takes; neither waits for the other, because each has its own counts.

    Args:
        memory: Most bytes of pictures that wait; one frame has room, whatever its size.

    Attributes:
        offered: Frames that came before the end.
        dropped: Those of them that found no room.
        crowded: Whether frames are dropped, now or a moment ago.
        over: Whether all was taken and no more will come.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._queue: SimpleQueue[WaitingFrame | DroppedFrames | None] = SimpleQueue()
        self._ending = threading.Lock()  # against an end in the middle of putting; the taker never has it
        self._ended = False
        self._run: DroppedFrames | None = None
        self.offered = self.dropped = 0
        self._put_frames = self._put_bytes = 0
        self._taken_frames = self._taken_bytes = 0
        self.crowded = self.over = False

    def put(self, frame: CapturedFrame, *, picture: bool) -> None:
        """Take a frame, or only its number where there is no room; what comes after the end is passed over."""
        image = frame.image if picture else None
        size = _bytes(image)
        with self._ending:
            if self._ended:
                return
            waiting, in_use = self._put_frames - self._taken_frames, self._put_bytes - self._taken_bytes
            if waiting and in_use + size > self._memory:
                self._drop(frame.number)
                self.crowded = True
            else:
                self._close_run()
                self.crowded = self.crowded and in_use > ROOM_AGAIN * self._memory
                self._put_frames += 1
                self._put_bytes += size
                self._queue.put(WaitingFrame(frame.number, frame.device_time, frame.exposed, frame.arrived, image))
            self.offered += 1

    def take(self, timeout: float) -> WaitingFrame | DroppedFrames | None:
        """The next one, in the order in which they came; none if there was none for ``timeout`` [s], or all is over."""
        try:
            item = self._queue.get(timeout=timeout)
        except Empty:
            return None
        if item is None:
            self.over = True
        elif isinstance(item, WaitingFrame):
            self._taken_bytes += _bytes(item.image)
            self._taken_frames += 1
        return item

    def end(self) -> None:
        """No more will come."""
        with self._ending:
            self._ended = True
            self._close_run()
            self._queue.put(None)

    def _drop(self, number: int) -> None:
        """Count a frame to the run under way: a disk that hangs for hours is one run, not a growing list."""
        self.dropped += 1
        run = self._run
        if run is not None and run.last + 1 == number:
            self._run = DroppedFrames(run.first, number)
        else:
            self._close_run()
            self._run = DroppedFrames(number, number)

    def _close_run(self) -> None:
        if self._run is not None:
            self._queue.put(self._run)
            self._run = None


def _bytes(image: Frames | None) -> int:
    return 0 if image is None else image.nbytes
