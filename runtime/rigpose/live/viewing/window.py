"""``--show``: a window on the rig's screen, in a process of its own."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError
from rigpose.live.live_pose import LivePose
from rigpose.live.viewing.picture import LiveDrawing
from rigpose.live.viewing.window_process import ASKS, READY, Handed, OpenCvScreen, Screen, show
from rigpose.poses import Poses

PATIENCE = 20.0
"""For the process to begin, which loads OpenCV anew, on a machine that is busy [s]."""
FAREWELL = 2.0
"""For it to end, before it is ended [s]."""


class Window:
    """An output that shows the newest poses of every camera.

    The window's process asks for a frame when it has time for one, at most 25 times a second; then the next result goes
    to it through shared memory. Nothing ever waits for it, and drawing costs the run nothing. Once the window is closed
    or its process has died, that is told, and the run goes on without it.

    Args:
        drawing: How poses are drawn.
        name: Of the output.
        tell: Gets a sentence when the window is gone.
        screen: Makes what shows the pictures, in the other process.
        clock: The run's.
    """

    def __init__(
        self,
        drawing: LiveDrawing,
        *,
        name: str = "window",
        tell: Callable[[str], None] | None = None,
        screen: Callable[[], Screen] = OpenCvScreen,
        clock: Clock = now,
    ) -> None:
        self._drawing, self._name, self._screen, self._clock = drawing, name, screen, clock
        self._tell = logging.getLogger(__name__).warning if tell is None else tell
        self._process: BaseProcess | None = None
        self._asked = False
        self._newest: dict[str, LivePose] = {}  # not shown yet; the camera that waits longest is the first
        self._memory: SharedMemory | None = None

    @property
    def name(self) -> str:
        """For people; unique in a run."""
        return self._name

    @property
    def is_open(self) -> bool:
        """Whether there is a window, as far as is known."""
        return self._process is not None

    def open(self) -> None:
        """Open the window, and wait until it is there.

        Raises:
            LiveError: There is no display, or this OpenCV has no windows.
        """
        if self._process is not None:
            return
        # A copy of this process would hold its threads' locks and its camera; a fresh one holds nothing.
        fresh = multiprocessing.get_context("spawn")
        self._pipe, theirs = fresh.Pipe()
        process = fresh.Process(
            target=show, args=(theirs, self._drawing, self._screen), name=f"rigpose-{self._name}", daemon=True
        )
        process.start()
        theirs.close()
        said = None
        with suppress(EOFError, OSError):
            said = self._pipe.recv() if self._pipe.poll(PATIENCE) else None
        if said != READY:
            _end(process)
            self._pipe.close()
            cause = said or "its process ended before it could show anything; is the display that DISPLAY names there?"
            raise LiveError(f"{self._name}: {cause} Use a desktop session, or look at the run in a browser with --web.")
        self._process = process

    def send(self, pose: LivePose) -> None:
        """Show a result if the window has time for it; a later one of its camera takes its place."""
        if self._process is None:
            return
        self._newest[pose.frame.camera] = pose
        try:
            while self._pipe.poll():
                if self._pipe.recv() != ASKS:
                    self._leave("was closed")
                    return
                self._asked = True
            if self._asked:
                self._hand_over(self._newest.pop(next(iter(self._newest))))
        except (EOFError, OSError):
            self._leave(f"its process ended (exit status {_end(self._process)})")

    def safe(self) -> None:
        """Nothing: a window drives nothing, and it says by itself that no pose comes any more."""

    def close(self) -> None:
        """Close the window; a second call does nothing."""
        if self._process is None:
            return
        process, self._process = self._process, None
        self._newest.clear()
        self._pipe.close()
        process.join(FAREWELL)
        _end(process)
        self._forget_memory()

    def _leave(self, cause: str) -> None:
        self.close()
        self._tell(f"{self._name}: {cause}; the run goes on without it.")

    def _hand_over(self, pose: LivePose) -> None:
        image = pose.frame.image
        if self._memory is None or self._memory.size < image.nbytes:
            self._forget_memory()
            self._memory = SharedMemory(create=True, size=image.nbytes)
        # The window looks at this memory only between its being told of a frame and its asking for the next.
        np.ndarray(image.shape, np.uint8, self._memory.buf)[...] = image
        poses = Poses(pose.poses.xy, pose.poses.score, unique=pose.poses.unique)
        predicted = pose.predicted
        if predicted is not None:
            predicted = Poses(predicted.xy, predicted.score, unique=predicted.unique)
        self._pipe.send(
            Handed(
                memory=self._memory.name,
                shape=image.shape,
                camera=pose.frame.camera,
                number=pose.frame.number,
                age=1000 * pose.stamps.age,
                poses=poses,
                ids=pose.ids,
                predicted=predicted,
                lead=1000 * pose.lead,
                triggers=tuple(name for name, holds in pose.triggers.items() if holds),
            )
        )
        self._asked = False

    def _forget_memory(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory.unlink()
            self._memory = None


def _end(process: BaseProcess) -> int | None:
    """See to it that a process has ended; its exit status."""
    process.join(0.2)
    if process.is_alive():
        process.kill()
        process.join(FAREWELL)
    return process.exitcode
