"""Where a graph runs: the words a user may say, and what the NVIDIA driver reports."""

from __future__ import annotations

import ctypes
import os
import re
import weakref
from typing import Any

import numpy as np

from rigpose.arrays import Array
from rigpose.errors import BackendError, ConfigError

_FOR_EVERY_CONTEXT = 1  # CU_MEMHOSTALLOC_PORTABLE


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
    driver = _driver()
    count = ctypes.c_int(0)
    if driver is None or driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def describe_gpu(index: int) -> str:
    """Name and driver version of a GPU, such as ``NVIDIA H200 driver 13010``; what it is called without a driver."""
    driver, handle, number = _driver(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    if driver is None or driver.cuInit(0) != 0 or driver.cuDeviceGet(ctypes.byref(handle), index) != 0:
        return f"cuda:{index}"
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDriverGetVersion(ctypes.byref(number))
    return f"{name.value.decode(errors='replace')} driver {number.value}"


def page_locked(size: int, device: int) -> Array:
    """Memory of the host that a GPU reads by itself, at the speed of its bus; freed with the last array over it.

    Args:
        size: In bytes.
        device: Index of a GPU.

    Returns:
        (size,) uint8.

    Raises:
        BackendError: The driver gives none, as where a batch system limits what a job may lock.
    """
    driver, handle, context, pointer = _driver(), ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()

    def ask(call: str, *arguments: Any) -> None:
        answer = "no driver" if driver is None else getattr(driver, call)(*arguments)
        if answer != 0:
            raise BackendError(
                f"cuda:{device}: the NVIDIA driver gives no page-locked memory of {size} bytes ({call}: {answer}); "
                "take a smaller --batch, or use --device cpu."
            )

    ask("cuInit", 0)
    ask("cuDeviceGet", ctypes.byref(handle), device)
    # A thread works in the context that it pushed last; ONNX Runtime uses each device's primary one.
    ask("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
    ask("cuCtxPushCurrent_v2", context)
    try:
        ask("cuMemHostAlloc", ctypes.byref(pointer), ctypes.c_size_t(max(size, 1)), _FOR_EVERY_CONTEXT)
    finally:
        driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
    memory: Any = (ctypes.c_ubyte * size).from_address(pointer.value or 0)
    # The end of the process frees it, too, and by then the driver may have been shut down.
    weakref.finalize(memory, _free, driver, context, pointer).atexit = False
    return np.frombuffer(memory, np.uint8)


def usable_cores() -> int:
    """Cores that this process may use; less than the machine has inside a container or a batch job."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _driver() -> Any:
    """The NVIDIA driver's library; none where it is not installed."""
    try:
        return ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None


def _free(driver: Any, context: ctypes.c_void_p, pointer: ctypes.c_void_p) -> None:
    driver.cuCtxPushCurrent_v2(context)
    driver.cuMemFreeHost(pointer)
    driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
