"""The one clock of a live run: monotonic, of high resolution, shared by all threads of the process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds since some moment; only differences mean anything. Tests give their own."""

now: Clock = time.perf_counter
"""``time.monotonic`` would do on Linux, but ticks every 16 ms on Windows."""
