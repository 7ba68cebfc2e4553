"""Python itself takes time from frames, in rare long pieces; a live run trades them for frequent short ones."""

from __future__ import annotations

import gc
import sys

SWITCH = 5e-4
"""Longest that a thread which only computes keeps the others from running [s].

Python's own 5 ms is what a pose would wait for whenever another thread, such as an output, happens to be busy as the
graphs are done.
"""


class SteadyPython:
    """Settings of the whole process, changed while a run goes on."""

    def __init__(self) -> None:
        self._interval: float | None = None

    def begin(self) -> None:
        """Let what is loaded be searched for garbage no more: that would take tens of milliseconds each time."""
        gc.collect()
        gc.freeze()
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)

    def end(self) -> None:
        """As it was before; a second call does nothing."""
        if self._interval is not None:
            sys.setswitchinterval(self._interval)
            gc.unfreeze()
            self._interval = None
