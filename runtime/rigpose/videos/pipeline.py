"""Decode, inference and output at the same time: the slowest of the three alone sets the speed.

One thread decodes into a small ring of batch buffers, the calling thread runs the graphs, and one
thread groups and hands poses on. Memory is the ring, whatever the length of the video. Order is
kept because each stage is one thread and each hand-over a queue.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np

from rigpose.analyzers.analyzer import FrameRun
from rigpose.arrays import Frames
from rigpose.poses import Poses
from rigpose.videos.video import VideoFrame

T = TypeVar("T")
SLOTS = 3
"""Batch buffers: one being filled, one waiting, one in the graph."""


@dataclass(frozen=True)
class Timing:
    """A batch's frames: ``first``, ``first + 1``, ... and their presentation times [ms]."""

    first: int
    times: tuple[float, ...]


@dataclass(frozen=True)
class _Filled:
    slot: Frames
    timing: Timing


@dataclass(frozen=True)
class _Inferred:
    result: Any
    timing: Timing


Sink = Callable[[Timing, Sequence[Poses]], None]


class BatchFeed:
    """A video's frames on their way into batch buffers, in a thread of its own that begins at once.

    It works until the ring is full, so the first batches of a video can wait while another one is analysed.

    Attributes:
        filling: Done when the last frame is in its buffer, or with the error that ended it.
    """

    def __init__(self, run: FrameRun, frames: Iterable[VideoFrame], *, batch: int) -> None:
        """Begin.

        Args:
            run: The model, for frames of this size.
            frames: The video's, in order.
            batch: Frames at a time, a multiple of the run's period.
        """
        if batch % run.period:
            raise ValueError(f"a batch of {batch} frames is no multiple of the run's period of {run.period}")
        self._free: _Line[Frames] = _Line(SLOTS)
        self._filled: _Line[_Filled | None] = _Line(SLOTS)
        for slot in np.empty((SLOTS, batch, *run.slot_size, 3), np.uint8):
            self._free.put(slot)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="rigpose-decode")
        self.filling = self._pool.submit(_fill, frames, run, self._free, self._filled)
        self.filling.add_done_callback(lambda ended: self.stop() if ended.exception() else None)

    def get(self) -> _Filled | None:
        """The next batch, none after the last one."""
        return self._filled.get()

    def give_back(self, batch: _Filled) -> None:
        """Let the batch's buffer be filled again."""
        self._free.put(batch.slot)

    def stop(self) -> None:
        """Fill no more buffers."""
        _stop((self._free, self._filled))

    def close(self) -> None:
        """Stop, wait until the thread has let go of its frames, and let go of the buffers."""
        self.stop()
        self._pool.shutdown()

    def __enter__(self) -> BatchFeed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def run_pipeline(run: FrameRun, frames: Iterable[VideoFrame], *, batch: int, sink: Sink) -> None:
    """Analyse all frames; ``sink`` gets each batch's poses [frame px] in order, from one thread.

    An error or Ctrl-C in any stage stops all of them and is raised here once.

    Args:
        run: The model, for frames of this size.
        frames: The video's, in order.
        batch: Frames at a time, a multiple of the run's period.
        sink: What happens to the poses.
    """
    with BatchFeed(run, frames, batch=batch) as feed:
        run_batches(run, feed, sink=sink)


def run_batches(run: FrameRun, feed: BatchFeed, *, sink: Sink) -> None:
    """As ``run_pipeline``, for frames that are on their way already."""
    inferred: _Line[_Inferred | None] = _Line(SLOTS)

    def stop_all() -> None:
        feed.stop()
        inferred.stop()

    with ThreadPoolExecutor(1, thread_name_prefix="rigpose-poses") as pool:
        stages = [feed.filling, pool.submit(_hand_on, run, inferred, sink)]
        for stage in stages:
            stage.add_done_callback(lambda ended: stop_all() if ended.exception() else None)
        try:
            _infer(run, feed, inferred)
        except _StoppedError:
            pass
        except BaseException:
            stop_all()
            raise
    _raise_first(stages)


def _fill(
    frames: Iterable[VideoFrame],
    run: FrameRun,
    free: _Line[Frames],
    filled: _Line[_Filled | None],
) -> None:
    """First stage: frames into batch buffers."""
    slot: Frames | None = None
    first, times = 0, []
    for frame in frames:
        if slot is None:
            slot, first, times = free.get(), frame.index, []
        run.write(frame.image, out=slot[len(times)])
        times.append(frame.time)
        if len(times) == len(slot):
            filled.put(_Filled(slot, Timing(first, tuple(times))))
            slot = None
    if slot is not None:
        filled.put(_Filled(slot, Timing(first, tuple(times))))
    filled.put(None)


def _infer(run: FrameRun, feed: BatchFeed, inferred: _Line[_Inferred | None]) -> None:
    """Second stage, in the calling thread: batches through the graphs."""
    while (ready := feed.get()) is not None:
        result = run.infer(ready.slot[: len(ready.timing.times)])
        feed.give_back(ready)
        inferred.put(_Inferred(result, ready.timing))
    inferred.put(None)


def _hand_on(run: FrameRun, inferred: _Line[_Inferred | None], sink: Sink) -> None:
    """Third stage: what the graphs gave to poses, poses to the sink."""
    while (ready := inferred.get()) is not None:
        sink(ready.timing, run.poses(ready.result))


class _StoppedError(Exception):
    """Another stage has failed; this one has nothing to say."""


class _Line(Generic[T]):
    """A bounded queue; once stopped, whoever waits at it or comes later gets ``_StoppedError``."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._changed = threading.Condition()
        self._stopped = False

    def put(self, item: T) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < self._capacity)
            self._leave_if_stopped()
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) > 0)
            self._leave_if_stopped()
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()

    def _leave_if_stopped(self) -> None:
        if self._stopped:
            raise _StoppedError


def _stop(lines: Iterable[_Line]) -> None:
    for line in lines:
        line.stop()


def _raise_first(stages: Iterable[Future[None]]) -> None:
    for stage in stages:
        error = stage.exception()
        if error is not None and not isinstance(error, _StoppedError):
            raise error
