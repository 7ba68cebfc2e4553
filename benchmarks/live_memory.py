"""One measurement of a live run's memory, in a process of its own: ``live_memory.py --one CASE``; see ``live.py``.

Every frame is a new picture of 160x120 px, and rules, prediction and an output get each result. What is in work varies
by a few pictures, so medians over some hundred frames are compared: around the first mark, and at the end.
"""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
from live_case import SPEC, PlainOutput, exact_finder, predictor_of, ten_rules
from memory import resident_size
from turns import tell

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.finding.pose_finder import Found
from rigpose.live.finding.whole_frame import WholeFrameFinder
from rigpose.live.running.loop import LiveRun
from rigpose.live.sources.simulated import SimulatedCamera
from rigpose.live.watched_session import watch_sessions

WINDOW = 500
"""Frames before a mark that its median is of."""
RATE = 1000.0
"""Of the camera; what is too fast is superseded, as it would be."""
LONGEST = 300.0
"""Of all [s]."""


class Sized:
    """Notes the memory at every frame that the finder is given, and does all else as the finder does."""

    def __init__(self, finder: WholeFrameFinder, frames: int, size: Callable[[], int]) -> None:
        self.finder, self._size = finder, size
        self.spec, self.device = finder.spec, finder.device
        self.warm_up, self.forget = finder.warm_up, finder.forget
        self.sizes, self.seen = np.zeros(frames, np.int64), 0

    def find(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        """See ``PoseFinder``."""
        if self.seen < len(self.sizes):
            self.sizes[self.seen] = self._size()
            self.seen += 1
        return self.finder.find(frames)


def main() -> None:
    """Measure, and tell."""
    case = json.loads(sys.argv[sys.argv.index("--one") + 1])
    first, frames = case["from"], case["frames"]
    size = resident_size
    if case["traced"]:
        tracemalloc.start()

        def size() -> int:
            return tracemalloc.get_traced_memory()[0]

    finder = exact_finder(lambda: 0.0)
    sized = Sized(finder, frames, size)
    run = LiveRun(
        sized,
        [SimulatedCamera("camera", 160, 120, RATE, seconds=LONGEST)],
        outputs=[PlainOutput()],
        predictor=predictor_of(SPEC.keypoints),
        triggers=ten_rules("camera"),
        session_time=watch_sessions(finder),
    )
    run.start()
    while sized.seen < frames and not run.wait(0.05):
        pass
    status = run.stop()
    if sized.seen < frames:
        raise SystemExit(f"{sized.seen} of {frames} frames were inferred within {LONGEST:g} s; {status.faults}")
    before, after = sized.sizes[first - WINDOW : first], sized.sizes[-WINDOW:]
    tell(
        {
            "grown": int(np.median(after) - np.median(before)),
            "peak_grown": int(after.max() - before.max()),
            "at_the_end": int(np.median(after)),
            "seconds": round(status.seconds, 1),
        }
    )


if __name__ == "__main__":
    main()
