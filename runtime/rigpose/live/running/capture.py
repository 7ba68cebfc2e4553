"""One camera, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from rigpose.errors import RigposeError
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.faults import FaultKind
from rigpose.live.running.health import Health
from rigpose.live.running.slot import Slots
from rigpose.live.sources.frame_source import Applied, FrameSource, SourceEndedError

PATIENCE = 0.1
"""Longest single wait for a frame [s], so that a stop is heard."""


class Tap(Protocol):
    """Whoever wants every captured frame, such as a recorder of video."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    def offer(self, frame: CapturedFrame) -> None:
        """Called by the thread of the frame's camera; it must not wait for anything."""
        ...


class Capture:
    """A camera's thread: it opens the camera, reads frame after frame into its slot, and closes it.

    Args:
        source: The camera.
        slots: Where its frames go.
        taps: Who else gets each of them.
        health: Where faults are reported.
        on_lost: Told the camera's name and what happened when it is lost; it is no longer ``going`` then.
        clock: The run's.

    Attributes:
        name: The camera's.
        kind: What it is.
        going: Whether frames may still come.
        lost: Whether it ended by a fault.
        done: Whether it has ended and everybody knows how.
        heard: When its last frame came, or reading began [s].
    """

    def __init__(
        self,
        source: FrameSource,
        slots: Slots,
        *,
        taps: Sequence[Tap],
        health: Health,
        on_lost: Callable[[str, str], None],
        clock: Clock = now,
    ) -> None:
        self.name, self.kind = source.name, source.kind
        self.going, self.lost, self.done = True, False, False
        self.heard = float("inf")
        self._source, self._slots, self._taps = source, slots, tuple(taps)
        self._health, self._on_lost, self._clock = health, on_lost, clock
        self._opened, self._begun = threading.Event(), threading.Event()
        self._stopping = False
        self._refused_by: set[str] = set()
        self._applied: Applied | None = None
        self._refused: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"rigpose-camera-{self.name}", daemon=True)

    def open(self) -> None:
        """Open the camera, without waiting for it."""
        self._thread.start()

    def applied(self) -> Applied:
        """What the camera does, as soon as it is open.

        Raises:
            LiveError: It cannot be used; and whatever else its ``open`` raises.
        """
        self._opened.wait()
        if self._applied is None:
            raise self._refused or RuntimeError(f"{self.name} is not open")
        return self._applied

    def begin(self) -> None:
        """Read from now on."""
        self.heard = self._clock()
        self._begun.set()

    def stop(self) -> None:
        """Read no more; a frame that comes now is not captured."""
        self._stopping = True
        self._begun.set()

    def join(self, timeout: float) -> bool:
        """Wait until the camera is closed, at most so long [s]; whether it is."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if not self._thread.is_alive():
            return True
        self._health.report(
            FaultKind.SOURCE_FROZEN,
            self.name,
            f"{self.name}: reading from the {self.kind.value} did not come back within {timeout:g} s and was left "
            f"alone; {self.kind.advice.stuck}.",
        )
        return False

    def _run(self) -> None:
        try:
            self._applied = self._source.open()
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits for it
            self._refused = error
            self.going = False
            self._close()
            return
        finally:
            self._opened.set()
        self._begun.wait()
        try:
            while not self._stopping:
                self._read()
        except SourceEndedError:
            pass
        except Exception as error:  # noqa: BLE001  # whatever a driver raises, this camera gives no more frames
            self._lose(error)
        finally:
            self.going = False
            self._slots.end(self.name)
            self.done = True
            self._close()

    def _read(self) -> None:
        frame = self._source.read(PATIENCE)
        if frame is None or self._stopping:
            return
        self._slots.put(frame)
        self.heard = self._clock()
        for tap in self._taps:
            self._offer(tap, frame)

    def _offer(self, tap: Tap, frame: CapturedFrame) -> None:
        try:
            tap.offer(frame)
        except Exception as error:  # noqa: BLE001  # a recorder's trouble is not the camera's
            self._refused_by.add(tap.name)
            sentence = (
                str(error)
                if isinstance(error, RigposeError)
                else f"{tap.name}: did not take frame {frame.number} of {frame.camera} ({type(error).__name__}: "
                f"{error}), so that it is missing there; look at the disk."
            )
            self._health.report(FaultKind.RECORDING_FAILED, tap.name, sentence)
        else:
            if tap.name in self._refused_by:  # by a frame of this camera: one that keeps another's takes all of these
                self._refused_by.discard(tap.name)
                self._health.over(FaultKind.RECORDING_FAILED, tap.name)

    def _lose(self, error: Exception) -> None:
        self.lost, self.going = True, False
        # The rig's own errors are sentences already; those of drivers are not.
        sentence = (
            str(error)
            if isinstance(error, RigposeError)
            else f"{self.name}: the {self.kind.value} raised {type(error).__name__}: {error}; "
            f"{self.kind.advice.raised}."
        )
        self._on_lost(self.name, sentence)

    def _close(self) -> None:
        with suppress(Exception):  # it is gone, or never was there
            self._source.close()
