"""Waiting for a frame that is not due yet, in slices, so that ``close`` of another thread ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rigpose.live.clock import Clock

Sleep: TypeAlias = Callable[[float], object]
"""Lets so many seconds pass. Tests give their own beside their own clock."""

SLICE = 0.02
"""Longest wait at a time [s]: how long a closed source may keep its reader."""


def wait_until(moment: float, clock: Clock, sleep: Sleep, closed: Callable[[], bool]) -> None:
    """Return at ``moment`` [s], or soon after ``closed`` says so."""
    while not closed() and (rest := moment - clock()) > 0:
        sleep(min(rest, SLICE))
