# pyright: basic
"""Memory of a GPU and the page-locked memory of the host that it copies from, in the order of one stream."""

from __future__ import annotations

import ctypes
import importlib
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rigpose.arrays import Array
from rigpose.errors import BackendError


@dataclass(frozen=True)
class Buffer:
    """The same bytes on both sides.

    Attributes:
        host: (N,) uint8.
        device: Address of N bytes there.
    """

    host: Array
    device: int


class Memory(Protocol):
    """What an engine's inputs and outputs lie in. Copies are queued on ``stream`` and done after ``synchronize``."""

    @property
    def device(self) -> str:
        """For people: ``cuda:0``."""
        ...

    @property
    def stream(self) -> int:
        """Handle of the queue."""
        ...

    def enter(self) -> None:
        """Make the device the one that this thread talks to."""
        ...

    def allocate(self, size: int) -> Buffer:
        """Memory for ``size`` bytes, kept for as long as this object."""
        ...

    def upload(self, buffer: Buffer, size: int) -> None:
        """Queue a copy of the first bytes from host to device."""
        ...

    def download(self, buffer: Buffer, size: int) -> None:
        """Queue a copy of the first bytes from device to host."""
        ...

    def synchronize(self) -> None:
        """Wait for everything that was queued."""
        ...

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What queues all that ``work`` queues, in one call; ``work`` itself is not run."""
        ...


class CudaMemory:
    """Memory of one GPU through cuda-bindings.

    Args:
        index: Number of the GPU.

    Raises:
        BackendError: The GPU has not enough memory, or fails.
    """

    def __init__(self, index: int) -> None:
        runtime: Any = importlib.import_module("cuda.bindings.runtime")
        self._cuda, self._index = runtime, index
        self._held: list[Callable[[], object]] = []
        # Runs when this object is gone, last first: the stream outlives what was queued on it.
        # At the end of the process the driver may be gone by then, and frees everything itself.
        weakref.finalize(self, _free, self._held, runtime, index).atexit = False
        self.enter()
        # The default stream would wait for every other user of this GPU in the process, and cannot be recorded.
        self._stream = self._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)
        self._keep("cudaStreamDestroy", self._stream)

    @property
    def device(self) -> str:
        """``cuda:N``."""
        return f"cuda:{self._index}"

    @property
    def stream(self) -> int:
        """The stream's handle."""
        return int(self._stream)

    def enter(self) -> None:
        """Choose the GPU for this thread."""
        self._call("cudaSetDevice", self._index)

    def allocate(self, size: int) -> Buffer:
        """Memory on the GPU, and page-locked on the host, which is what copies asynchronously."""
        device = self._call("cudaMalloc", size)
        self._keep("cudaFree", device)
        host = self._call("cudaMallocHost", size)
        self._keep("cudaFreeHost", host)
        memory: Any = (ctypes.c_uint8 * size).from_address(int(host))
        return Buffer(np.frombuffer(memory, np.uint8), int(device))

    def upload(self, buffer: Buffer, size: int) -> None:
        """Queue a copy to the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", buffer.device, buffer.host.ctypes.data, size, kind, self._stream)

    def download(self, buffer: Buffer, size: int) -> None:
        """Queue a copy from the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", buffer.host.ctypes.data, buffer.device, size, kind, self._stream)

    def synchronize(self) -> None:
        """Wait for the stream."""
        self._call("cudaStreamSynchronize", self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """A CUDA graph of what ``work`` queues: one launch instead of one for every kernel."""
        # Other threads of the process may allocate meanwhile.
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        try:
            work()
        except BaseException:
            with suppress(BackendError):
                self._call("cudaStreamEndCapture", self._stream)
            raise
        graph = self._call("cudaStreamEndCapture", self._stream)
        try:
            executable = self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)
        recorded = _Recorded(lambda: self._call("cudaGraphLaunch", executable, self._stream))
        # It dies with its launcher; a graph that still runs is kept by the driver until it ends.
        weakref.finalize(recorded, self._cuda.cudaGraphExecDestroy, executable).atexit = False
        return recorded

    def _call(self, function: str, *arguments: Any) -> Any:
        status, *values = getattr(self._cuda, function)(*arguments)
        if status != self._cuda.cudaError_t.cudaSuccess:
            reason = self._cuda.cudaGetErrorString(status)[1].decode()
            raise BackendError(
                f"{self.device}: {function} failed ({reason}); close other programs on this GPU, or run nvidia-smi to "
                "see its state."
            )
        return values[0] if values else None

    def _keep(self, function: str, handle: Any) -> None:
        free = getattr(self._cuda, function)
        self._held.append(lambda: free(handle))


class _Recorded:
    """A callable that can be referred to weakly."""

    def __init__(self, launch: Callable[[], None]) -> None:
        self._launch = launch

    def __call__(self) -> None:
        self._launch()


def _free(held: list[Callable[[], object]], runtime: Any, index: int) -> None:
    runtime.cudaSetDevice(index)
    while held:
        held.pop()()
