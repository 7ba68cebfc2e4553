"""The process of the window: asks for a frame, draws it, shows it, and asks again."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Protocol

import cv2
import numpy as np

from rigpose.arrays import Array, Frames
from rigpose.live.faults import LiveError
from rigpose.live.viewing.picture import LiveDrawing
from rigpose.poses import Poses
from rigpose.videos.drawing import FONT

READY, ASKS, CLOSED = "ready", "asks", "closed"
"""What the process says; anything else that it says first is why it cannot begin."""
PERIOD = 1 / 25
"""Of pictures; eyes need no more, and none is drawn that nobody sees [s]."""
STALE = 1.0
"""A picture that is so old says so [s]."""
STRIP = 26
"""Height of the line below a picture [px]."""


@dataclass(frozen=True)
class Handed:
    """A frame in shared memory and what is known of it.

    Attributes:
        memory: Name of the shared memory.
        shape: (H, W, 3) of the frame in it, uint8 BGR.
        camera: Whose.
        number: By the camera's count.
        age: Of the frame when its poses were there [ms].
        poses: [frame px].
        ids: (N,) of the animals.
        predicted: Where they will be [frame px]; none where nothing predicts.
        lead: How long after the frame's exposure that is [ms].
        triggers: Rules that hold.
    """

    memory: str
    shape: tuple[int, ...]
    camera: str
    number: int
    age: float
    poses: Poses
    ids: Array
    predicted: Poses | None
    lead: float
    triggers: tuple[str, ...]


class Screen(Protocol):
    """What shows pictures."""

    def open(self) -> None:
        """Get ready.

        Raises:
            LiveError: There is no display; a sentence without the next step.
        """
        ...

    def show(self, picture: Frames) -> None:
        """Show a picture (H, W, 3) BGR in place of the one before."""
        ...

    def is_open(self) -> bool:
        """Whether the user still looks; to be asked often, as a window lives only while it is asked."""
        ...


class OpenCvScreen:
    """A window of OpenCV's; q, Escape or its button closes it."""

    TITLE = "rigpose live"

    def open(self) -> None:
        """Open the window."""
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise LiveError("there is no display to show a window on (DISPLAY is not set).")
        # OpenCV's wheels look for fonts in a folder that they lack, and say so for every window.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        os.environ.setdefault("QT_QPA_FONTDIR", "/usr/share/fonts")
        try:
            cv2.namedWindow(self.TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise LiveError(
                "this OpenCV was built without windows; install opencv-python in place of opencv-python-headless."
            ) from error
        self._size: tuple[int, int] | None = None

    def show(self, picture: Frames) -> None:
        """Show a picture; the window takes its size from the first one."""
        size = picture.shape[1], picture.shape[0]
        if size != self._size:
            cv2.resizeWindow(self.TITLE, *size)
            self._size = size
        cv2.imshow(self.TITLE, picture)

    def is_open(self) -> bool:
        """Let the window live for a moment."""
        key = cv2.waitKey(1) & 0xFF
        return key not in (ord("q"), 27) and cv2.getWindowProperty(self.TITLE, cv2.WND_PROP_VISIBLE) >= 1


def show(pipe: Connection, drawing: LiveDrawing, make_screen: Callable[[], Screen]) -> None:
    """Show frames until the other end of the pipe is closed or the user closes the window."""
    # Ctrl-C is for the run, which then closes the window.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever inference needs comes first.
    if hasattr(os, "nice"):
        os.nice(5)
    cv2.setNumThreads(1)
    screen, wall = make_screen(), _Wall(drawing)
    try:
        screen.open()
    except LiveError as error:
        pipe.send(str(error))
        return
    # The run may end at any moment, in the middle of a message, too.
    with suppress(EOFError, OSError):
        pipe.send(READY)
        _show_all(pipe, screen, wall)
        pipe.send(CLOSED)


def _show_all(pipe: Connection, screen: Screen, wall: _Wall) -> None:
    """Until the user closes the window, or the pipe ends."""
    asked, next_picture = False, 0.0
    screen.show(wall.picture())
    while screen.is_open():
        if not asked and time.perf_counter() >= next_picture:
            pipe.send(ASKS)
            asked = True
            next_picture = time.perf_counter() + PERIOD
        if pipe.poll(PERIOD / 2):
            wall.hang(pipe.recv())
            asked = False
            screen.show(wall.picture())
        elif wall.is_stale():
            screen.show(wall.picture())


@dataclass
class _Hung:
    """The newest picture of a camera, and the words below it."""

    picture: Frames
    words: str
    since: float
    stale_said: int = 0


class _Wall:
    """The newest pictures of all cameras, side by side."""

    def __init__(self, drawing: LiveDrawing) -> None:
        self._drawing = drawing
        self._hung: dict[str, _Hung] = {}
        self._memory: SharedMemory | None = None

    def hang(self, handed: Handed) -> None:
        """Draw a frame that was handed over; its memory is free again afterwards."""
        if self._memory is None or self._memory.name != handed.memory:
            if self._memory is not None:
                self._memory.close()
            self._memory = SharedMemory(handed.memory)
        image = np.ndarray(handed.shape, np.uint8, self._memory.buf).copy()
        picture = self._drawing.draw(image, handed.poses, handed.ids, handed.predicted)
        words = [handed.camera, f"frame {handed.number}", f"age {handed.age:.1f} ms"]
        if handed.predicted is not None:
            words.append(f"diamonds: predicted for {handed.lead:.1f} ms")
        self._hung[handed.camera] = _Hung(picture, "   ".join([*words, *handed.triggers]), time.perf_counter())

    def is_stale(self) -> bool:
        """Whether a picture must say again how old it is."""
        time_now = time.perf_counter()
        return any(int((time_now - one.since) / STALE) != one.stale_said for one in self._hung.values())

    def picture(self) -> Frames:
        """All of them, in tiles of the size of the largest."""
        if not self._hung:
            return _with_words(np.zeros((360, 480, 3), np.uint8), "waiting for the first pose", stale=False)
        tiles = [self._tile(one) for one in self._hung.values()]
        height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
        columns = int(np.ceil(np.sqrt(len(tiles))))
        rows = -(-len(tiles) // columns)
        whole = np.zeros((rows * height, columns * width, 3), np.uint8)
        for i, tile in enumerate(tiles):
            top, left = i // columns * height, i % columns * width
            whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        return whole

    def _tile(self, one: _Hung) -> Frames:
        one.stale_said = int((time.perf_counter() - one.since) / STALE)
        if not one.stale_said:
            return _with_words(one.picture, one.words, stale=False)
        return _with_words(one.picture, f"NO NEW POSE FOR {one.stale_said * STALE:.0f} s   {one.words}", stale=True)


def _with_words(picture: Frames, words: str, *, stale: bool) -> Frames:
    """A picture above a line of words; OpenCV's letters are ASCII."""
    strip = np.full((STRIP, picture.shape[1], 3), 24, np.uint8)
    colour = (60, 160, 255) if stale else (225, 225, 225)
    plain = words.encode("ascii", "replace").decode()
    cv2.putText(strip, plain, (8, STRIP - 8), FONT, 0.45, colour, 1, cv2.LINE_AA)
    return np.vstack([picture, strip])
