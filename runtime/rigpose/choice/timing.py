"""Times of things that do the same, taken in turns so that a busy machine disturbs all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np

from rigpose.arrays import Frames

if TYPE_CHECKING:
    from rigpose.analyzers.analyzer import FrameRun

K = TypeVar("K")
SECONDS = 4.0
"""So long turns are taken."""
LEAST_TURNS, MOST_TURNS = 3, 15
"""Three have a median that one disturbance does not move; more than fifteen change nothing that matters."""
HOPELESS = 2.5
"""What took so many times the fastest's time in two turns, both at their best, gets no third one."""


def median_seconds(tasks: Mapping[K, Callable[[], object]]) -> dict[K, float]:
    """Median wall time of each task [s]; each runs once before, for what is only made once."""
    for task in tasks.values():
        task()
    taken: dict[K, list[float]] = {key: [] for key in tasks}
    begun, turns = time.perf_counter(), 0
    while turns < LEAST_TURNS or (turns < MOST_TURNS and time.perf_counter() - begun < SECONDS):
        best = {key: min(seconds, default=0.0) for key, seconds in taken.items()}
        for key, task in tasks.items():
            if turns > 1 and best[key] > HOPELESS * min(best.values()):
                continue
            start = time.perf_counter()
            task()
            taken[key].append(time.perf_counter() - start)
        turns += 1
    return {key: statistics.median(seconds) for key, seconds in taken.items()}


def filled_batch(run: FrameRun, frames: Sequence[Frames], frame_size: tuple[int, int], batch: int) -> Frames:
    """A batch buffer with pictures of a size, repeated until it is full.

    Args:
        run: The model, for frames of this size.
        frames: Pictures that show what the model looks for, so that graphs behind a detector have their work.
        frame_size: (H, W).
        batch: How many.

    Returns:
        (batch, h, w, 3) as the run takes them.
    """
    height, width = frame_size
    slots = np.empty((batch, *run.slot_size, 3), np.uint8)
    for i, slot in enumerate(slots):
        picture: Any = cv2.resize(frames[i % len(frames)], (width, height))
        run.write(picture, out=slot)
    return slots
