"""Memory for what the graphs see of live frames, kept from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from rigpose.analyzers.analyzer import FrameRun
from rigpose.arrays import Frames
from rigpose.live.captured_frame import CapturedFrame


def of_one_size(frames: Sequence[CapturedFrame]) -> list[list[int]]:
    """Rows of the frames that have the same size, and so can share a batch; in order of their first ones."""
    alike: dict[Hashable, list[int]] = {}
    for row, frame in enumerate(frames):
        alike.setdefault(frame.image.shape, []).append(row)
    return list(alike.values())


class InputSlots:
    """For each size of frames, its way to the graphs, and slots that are filled again and again.

    Args:
        run_of: (height, width) -> the way of frames of this size.
    """

    def __init__(self, run_of: Callable[[int, int], FrameRun]) -> None:
        self._run_of = run_of
        self._runs: dict[tuple[int, int], FrameRun] = {}
        self._slots: dict[tuple[int, int], Frames] = {}

    def fill(self, images: Sequence[Frames]) -> tuple[FrameRun, Frames]:
        """The way of these images, all of one size, and their slots (B, h, w, 3), good until the next ones are filled.

        Raises:
            ValueError: They are no uint8 BGR frames.
        """
        height, width = size = images[0].shape[:2]
        if size not in self._runs:
            self._runs[size] = self._run_of(height, width)
        run, slots = self._runs[size], self._slots.get(size)
        if slots is None or len(slots) < len(images):
            slots = self._slots[size] = np.empty((len(images), *run.slot_size, 3), np.uint8)
        for image, slot in zip(images, slots, strict=False):
            run.write(image, out=slot)
        return run, slots[: len(images)]
