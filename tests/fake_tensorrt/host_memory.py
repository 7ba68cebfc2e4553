"""Memory of the host in the place of a GPU's, with copies that are seen to happen, and not before they are due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rigpose.arrays import Array
from rigpose.sessions.cuda_memory import Buffer


@dataclass
class HostMemory:
    """Copies are queued and done by ``synchronize``, in order, as on a stream.

    The fake's kernels run when they are queued, so what was uploaded before must be there by then: queued uploads are
    done first.
    """

    device: str = "cuda:0"
    stream: int = 77
    entered: int = 0
    recorded: int = 0
    replayed: int = 0
    recordable: bool = True
    sizes: list[int] = field(default_factory=list)
    _arrays: dict[int, Array] = field(default_factory=dict)
    _queue: list[Callable[[], None]] = field(default_factory=list)

    def enter(self) -> None:
        self.entered += 1

    def allocate(self, size: int) -> Buffer:
        device = np.full(size, 0xA5, np.uint8)
        self._arrays[device.ctypes.data] = device
        self.sizes.append(size)
        return Buffer(np.full(size, 0x5A, np.uint8), device.ctypes.data)

    def upload(self, buffer: Buffer, size: int) -> None:
        self._arrays[buffer.device][:size] = buffer.host[:size]

    def download(self, buffer: Buffer, size: int) -> None:
        def copy() -> None:
            buffer.host[:size] = self._arrays[buffer.device][:size]

        self._queue.append(copy)

    def synchronize(self) -> None:
        while self._queue:
            self._queue.pop(0)()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        if not self.recordable:
            from rigpose.errors import BackendError

            raise BackendError("cuda:0: cudaStreamEndCapture failed (operation not permitted); close it.")
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            work()

        return replay
