"""One place per camera, which holds its newest frame and nothing older."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.running.ledger import Ledger


class Slots:
    """Between the capture threads and the inference thread: a frame that nobody took gives way to the next.

    Frames are handed on as they are, without a copy.

    Args:
        cameras: Their names.
        ledger: Where it is written what becomes of frames.
        max_age: A frame that is older when it is taken is stale [s]; none takes every one.
        max_wait: How long the first camera with a frame waits for the others [s].
        together: Most frames to take at once; none is one of every camera.
        clock: The run's.
    """

    def __init__(
        self,
        cameras: Iterable[str],
        ledger: Ledger,
        *,
        max_age: float | None = None,
        max_wait: float = 0.0,
        together: int | None = None,
        clock: Clock = now,
    ) -> None:
        # In the order in which they were last taken, so that where not all fit, the one that waits longest comes first.
        self._frames: dict[str, CapturedFrame | None] = dict.fromkeys(cameras)
        self._live = set(self._frames)
        self._ledger, self._clock = ledger, clock
        self._max_age, self._max_wait = max_age, max_wait
        self._together = len(self._frames) if together is None else together
        self._closed = False
        self._filled = 0
        self._since = 0.0  # when the first of those that are filled was
        self._changed = threading.Condition(threading.Lock())

    def put(self, frame: CapturedFrame) -> None:
        """Leave the newest frame of its camera.

        Raises:
            LiveError: The camera's count did not rise.
        """
        with self._changed:
            before = self._frames[frame.camera]
            self._ledger.captured(frame.camera, frame.number, superseded=None if before is None else before.number)
            self._frames[frame.camera] = frame
            if before is None:
                self._filled += 1
                if self._filled == 1:
                    self._since = self._clock()
                self._changed.notify()

    def end(self, camera: str) -> None:
        """No frame of this camera will come any more; one that is there may still be taken."""
        with self._changed:
            self._live.discard(camera)
            self._changed.notify()

    def wait(self, timeout: float) -> bool:
        """Until frames may be taken, at most so long [s]; whether they may."""
        with self._changed:
            until = self._clock() + timeout
            while not (ready := self._ready()) and not self._closed and (left := until - self._clock()) > 0:
                self._changed.wait(
                    left if not self._filled else min(left, self._since + self._max_wait - self._clock())
                )
            return ready

    def close(self) -> None:
        """Let nobody wait any more; what is there may still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self) -> list[CapturedFrame]:
        """The newest frame of each camera that has one, if there has been enough waiting; stale ones are left out."""
        with self._changed:
            if not self._ready():
                return []
            taken = self._taken()
            if self._filled:  # they were too many to go together, and have waited already
                self._since = float("-inf")
        if self._max_age is None:
            return taken
        return [frame for frame in taken if not self._stale(frame, self._max_age)]

    def clear(self) -> None:
        """Give up what is there: it is stale."""
        with self._changed:
            while self._filled:
                for frame in self._taken():
                    self._ledger.stale(frame.camera, frame.number)

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return self._filled == 0

    def _ready(self) -> bool:
        if not self._filled:
            return False
        if self._closed or self._filled >= min(self._together, len(self._live)):
            return True
        return self._clock() - self._since >= self._max_wait

    def _taken(self) -> list[CapturedFrame]:
        taken = [frame for frame in self._frames.values() if frame is not None][: self._together]
        for frame in taken:
            del self._frames[frame.camera]  # and to the end of the line
            self._frames[frame.camera] = None
        self._filled -= len(taken)
        return taken

    def _stale(self, frame: CapturedFrame, max_age: float) -> bool:
        stale = self._clock() - frame.exposed > max_age
        if stale:
            self._ledger.stale(frame.camera, frame.number)
        return stale
