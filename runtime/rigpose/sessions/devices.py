"""Where a graph runs: the words a user may say, and what the NVIDIA driver reports."""

from __future__ import annotations

import ctypes
import os
import re

from rigpose.errors import ConfigError


def resolve_device(asked: str) -> str:
    """``cpu`` or ``cuda:N`` for what was asked for.

    Args:
        asked: ``cpu``, ``cuda`` (the first GPU), ``cuda:N``, or ``auto``: CUDA where the driver reports a GPU, else
            the CPU.

    Raises:
        ConfigError: Another word.
    """
    if asked == "auto":
        return "cuda:0" if cuda_devices() > 0 else "cpu"
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", asked)
    if not match:
        raise ConfigError(f"device {asked!r}: a bundle runs on auto, cpu, cuda or cuda:N; choose one of them.")
    return "cpu" if asked == "cpu" else f"cuda:{match[1] or 0}"


def cuda_devices() -> int:
    """How many GPUs the NVIDIA driver reports; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def usable_cores() -> int:
    """Cores that this process may use; less than the machine has inside a container or a batch job."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
