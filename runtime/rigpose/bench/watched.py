"""Stop watches around the stages of an analysis. What is timed is the product's own code, and nothing of it changes.

A stage's time is the time inside it: waiting for another stage is in none.
"""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

from rigpose.analyzers.analyzer import FrameRun, VideoAnalyzer
from rigpose.arrays import Array, Frames
from rigpose.poses import Poses
from rigpose.sessions import Session
from rigpose.videos.video import VideoFrame

Stage: TypeAlias = Literal["decode", "prepare", "inference", "graphs", "group", "write"]
"""``graphs`` are the calls of sessions inside ``inference``; the rest of that is boxes and crops."""


class StageTimes:
    """All passes through a stage. A long run has millions, so that each is four bytes and the rest are sums.

    Attributes:
        per_frame: Of each pass that was for frames, its time divided by them [s].
        seconds: Of all passes, by the clock.
        cpu: The same on a core, of the calling thread alone; a session's other threads are not in it [s].
        frames: Of all passes.
        passes: How many.
    """

    def __init__(self) -> None:
        self.per_frame = array("f")
        self.seconds = self.cpu = 0.0
        self.frames = self.passes = 0

    def add(self, seconds: float, cpu: float, frames: int) -> None:
        """One more pass."""
        if frames:
            self.per_frame.append(seconds / frames)
        self.seconds += seconds
        self.cpu += cpu
        self.frames += frames
        self.passes += 1


class Watch:
    """The times of all stages of one run; each stage belongs to one thread."""

    def __init__(self) -> None:
        self.stages: defaultdict[Stage, StageTimes] = defaultdict(StageTimes)

    def __getitem__(self, stage: Stage) -> StageTimes:
        """Of one stage, which may never have been passed."""
        return self.stages[stage]

    @contextmanager
    def during(self, stage: Stage, frames: int) -> Iterator[None]:
        """Time the block; one that fails does not count."""
        begun, cpu = time.perf_counter(), time.thread_time()
        yield
        self[stage].add(time.perf_counter() - begun, time.thread_time() - cpu, frames)

    def frames(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """The same frames, with the time that each takes to come."""
        source = iter(frames)
        while True:
            begun, cpu = time.perf_counter(), time.thread_time()
            frame = next(source, None)
            if frame is None:
                return
            self["decode"].add(time.perf_counter() - begun, time.thread_time() - cpu, 1)
            yield frame


class WatchedRun:
    """A ``FrameRun`` with a watch around each of its steps."""

    def __init__(self, run: FrameRun, watch: Watch) -> None:
        self._run, self._watch = run, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    @property
    def slot_size(self) -> tuple[int, int]:
        """See ``FrameRun``."""
        return self._run.slot_size

    @property
    def period(self) -> int:
        """See ``FrameRun``."""
        return self._run.period

    def write(self, frame: Frames, out: Frames) -> None:
        """See ``FrameRun``."""
        with self._watch.during("prepare", 1):
            self._run.write(frame, out)

    def infer(self, batch: Frames) -> Any:
        """See ``FrameRun``."""
        with self._watch.during("inference", len(batch)):
            return self._run.infer(batch)

    def poses(self, inferred: Any) -> list[Poses]:
        """See ``FrameRun``."""
        begun, cpu = time.perf_counter(), time.thread_time()
        found = self._run.poses(inferred)
        self._watch["group"].add(time.perf_counter() - begun, time.thread_time() - cpu, len(found))
        return found


class _WatchedSession:
    """A session with a watch around its runs."""

    def __init__(self, session: Session, watch: Watch) -> None:
        self._session, self._watch = session, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    @property
    def device(self) -> str:
        return self._session.device

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        # How many frames a batch of crops is for, only its caller knows.
        with self._watch.during("graphs", 0):
            return self._session.run(inputs)


@contextmanager
def watched_sessions(analyzer: VideoAnalyzer, watch: Watch) -> Iterator[None]:
    """Put a watch around every session of an analyzer while the block runs."""
    owners = list(_owners(analyzer))
    sessions = [owner.session for owner in owners]
    for owner, session in zip(owners, sessions, strict=True):
        owner.session = _WatchedSession(session, watch)
    try:
        yield
    finally:
        for owner, session in zip(owners, sessions, strict=True):
            owner.session = session


def _owners(analyzer: Any) -> Iterator[Any]:
    """An analyzer and those inside it that have a session of their own."""
    if hasattr(analyzer, "session"):
        yield analyzer
    for name in ("model", "analyzer", "detector", "crops", "conditions"):
        if hasattr(analyzer, name):
            yield from _owners(getattr(analyzer, name))
