"""cuda.bindings.runtime with the host's memory in the place of a GPU's: what the session calls, and no more.

A recorded graph is replayed as on a GPU: with the addresses and sizes of its recording and what is in them by then.
"""

# Names and arguments are those of CUDA.
# ruff: noqa: ARG002, N802, N815

from __future__ import annotations

import ctypes
import enum
import sys
import types
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from rigpose.arrays import Array


class cudaError_t(enum.IntEnum):  # noqa: N801
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100
    cudaErrorStreamCaptureUnsupported = 900


class FakeCuda(types.ModuleType):
    """One GPU.

    Args:
        kernels: Queues what an engine last queued; what a recording holds between its copies.
        queued: How often an engine queued something.
    """

    cudaError_t = cudaError_t
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaStreamNonBlocking = 1

    def __init__(self, kernels: Callable[[], None], queued: Callable[[], int]) -> None:
        super().__init__("cuda.bindings.runtime")
        self._kernels, self._queued = kernels, queued
        self._arrays: dict[int, Array] = {}
        self._recording: list[Callable[[], None]] | None = None
        self._seen = 0
        self.devices = 1
        self.memory = 1 << 30
        self.may_record = True
        self.counts: dict[str, int] = {}
        self.entered = self.launched = 0

    def install(self) -> None:
        package, bindings = types.ModuleType("cuda"), types.ModuleType("cuda.bindings")
        package.bindings, bindings.runtime = bindings, self  # type: ignore[attr-defined]
        sys.modules |= {"cuda": package, "cuda.bindings": bindings, "cuda.bindings.runtime": self}

    def held(self, kind: str) -> int:
        """How many of a kind were made and not freed."""
        return self.counts.get(kind, 0)

    def cudaGetErrorString(self, status: cudaError_t) -> tuple[int, bytes]:
        return 0, {2: b"out of memory", 100: b"no CUDA-capable device is detected"}.get(status, b"not permitted")

    def cudaGetDeviceCount(self) -> tuple[cudaError_t, int | None]:
        return (cudaError_t.cudaSuccess, self.devices) if self.devices else (cudaError_t.cudaErrorNoDevice, None)

    def cudaGetDeviceProperties(self, index: int) -> tuple[cudaError_t, Any]:
        return cudaError_t.cudaSuccess, SimpleNamespace(name=b"NVIDIA RTX 4090\0\0", major=8, minor=9)

    def cudaDriverGetVersion(self) -> tuple[cudaError_t, int]:
        return cudaError_t.cudaSuccess, 13020

    def cudaSetDevice(self, index: int) -> tuple[cudaError_t]:
        self.entered += 1
        return (cudaError_t.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[cudaError_t, int]:
        assert flags == self.cudaStreamNonBlocking
        return cudaError_t.cudaSuccess, self._made("stream", 77)

    def cudaStreamDestroy(self, stream: int) -> tuple[cudaError_t]:
        return self._freed("stream")

    def cudaMalloc(self, size: int) -> tuple[cudaError_t, int | None]:
        if size > self.memory:
            return cudaError_t.cudaErrorMemoryAllocation, None
        return cudaError_t.cudaSuccess, self._made("device", self._array(size))

    def cudaMallocHost(self, size: int) -> tuple[cudaError_t, int]:
        return cudaError_t.cudaSuccess, self._made("host", self._array(size))

    def cudaFree(self, address: int) -> tuple[cudaError_t]:
        del self._arrays[address]
        return self._freed("device")

    def cudaFreeHost(self, address: int) -> tuple[cudaError_t]:
        del self._arrays[address]
        return self._freed("host")

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> tuple[cudaError_t]:
        assert to in self._arrays and source in self._arrays and stream == 77 and kind in (1, 2)
        assert size <= len(self._arrays[to]) and size <= len(self._arrays[source])
        self._queue(lambda: ctypes.memmove(to, source, size))
        return (cudaError_t.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[cudaError_t]:
        assert self._recording is None  # not permitted while one records
        return (cudaError_t.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[cudaError_t]:
        if not self.may_record:
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        self._recording, self._seen = [], self._queued()
        return (cudaError_t.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[cudaError_t, Any]:
        self._note_kernels()
        recording, self._recording = self._recording, None
        self._made("graph", 0)
        return cudaError_t.cudaSuccess, recording

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[cudaError_t, Any]:
        self._made("executable", 0)
        return cudaError_t.cudaSuccess, list(graph)

    def cudaGraphDestroy(self, graph: Any) -> tuple[cudaError_t]:
        return self._freed("graph")

    def cudaGraphExecDestroy(self, executable: Any) -> tuple[cudaError_t]:
        return self._freed("executable")

    def cudaGraphLaunch(self, executable: Any, stream: int) -> tuple[cudaError_t]:
        self.launched += 1
        for step in executable:
            step()
        return (cudaError_t.cudaSuccess,)

    def _queue(self, step: Callable[[], object]) -> None:
        if self._recording is None:
            step()
            return
        self._note_kernels()
        self._recording.append(lambda: (step(), None)[1])

    def _note_kernels(self) -> None:
        if self._recording is not None and self._queued() != self._seen:
            self._seen = self._queued()
            self._recording.append(self._kernels)

    def _array(self, size: int) -> int:
        array = np.full(size, 0xA5, np.uint8)
        self._arrays[array.ctypes.data] = array
        return array.ctypes.data

    def _made(self, kind: str, handle: int) -> int:
        self.counts[kind] = self.held(kind) + 1
        return handle

    def _freed(self, kind: str) -> tuple[cudaError_t]:
        self.counts[kind] -= 1
        assert self.counts[kind] >= 0
        return (cudaError_t.cudaSuccess,)
