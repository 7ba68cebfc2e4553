"""Screens for the window's process that need no display."""

from __future__ import annotations

import time
from pathlib import Path

import cv2

from rigpose.arrays import Frames
from rigpose.live.faults import LiveError


class FolderScreen:
    """Keeps every picture as a file; a file ``close`` in the folder is a user who closes the window."""

    def __init__(self, folder: Path, seconds: float = 0.0) -> None:
        self._folder, self._seconds, self._count = folder, seconds, 0

    def open(self) -> None:
        pass

    def show(self, picture: Frames) -> None:
        time.sleep(self._seconds)
        hidden = self._folder / "writing.png"
        cv2.imwrite(str(hidden), picture)
        hidden.replace(self._folder / f"{self._count:05d}.png")
        self._count += 1

    def is_open(self) -> bool:
        return not (self._folder / "close").exists()


class NoScreen:
    """A machine without a display."""

    def open(self) -> None:
        raise LiveError("there is no screen here.")

    def show(self, picture: Frames) -> None:
        raise AssertionError(f"nothing was opened to show {picture.shape} on")

    def is_open(self) -> bool:
        return False
