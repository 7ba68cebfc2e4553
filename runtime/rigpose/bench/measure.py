"""How fast a loaded bundle is here, in three scopes that are never mixed.

1. The graphs alone: prepared inputs in memory, one batch after the other, nothing beside them.
2. One frame at a time: a frame in memory to its poses, as a live loop waits for it.
3. End to end: the engine of ``rigpose analyze`` over a video, from its decoder to its journal on the disk, for minutes.
"""

from __future__ import annotations

import os
import tempfile
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from rigpose.analyzers.analyzer import FrameRun, VideoAnalyzer
from rigpose.arrays import Frames
from rigpose.bench.memory import resident_bytes
from rigpose.bench.source import Source
from rigpose.bench.spread import Spread, rates_by_third
from rigpose.bench.watched import Watch, WatchedRun, watched_sessions
from rigpose.errors import MediaError
from rigpose.files.pose_layout import PoseLayout
from rigpose.poses import Poses
from rigpose.progress import Progress, silent
from rigpose.videos.journal import FrameRecord, Journal, JournalHeader
from rigpose.videos.pipeline import Timing, run_pipeline
from rigpose.videos.video import VideoFrame

WARM_UP = 2
"""Batches before anything is timed: the first ones allocate, and some backends compile for their size."""
SHORT_SHARE, SHORTEST, LONGEST = 0.15, 2.0, 20.0
"""Part of the end-to-end run's time that each of the other two scopes gets, and its limits [s]."""
LEAST_RUNS = 3
"""Of a scope, however slow the network is."""


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        batch: Frames at a time.
        size: (H, W) of the frames [px].
        graphs: Scope 1, per batch. Half of it was measured before scope 3 and half after.
        graphs_per_second: Scope 1, frames per second over all its batches.
        one_frame: Scope 2, per frame.
        intervals: Scope 3, from one finished batch to the next.
        frames: Of scope 3.
        seconds: Of scope 3, from the first frame asked for to the last batch on the disk.
        thirds: Frames per second in the first, second and last third of scope 3.
        stages: The times of every stage in scope 3.
        cpu_seconds: Of scope 3, of all threads of this process.
        resident: Bytes in memory after the first third of scope 3 and at its end; none where nobody knows.
    """

    batch: int
    size: tuple[int, int]
    graphs: Spread
    graphs_per_second: float
    one_frame: Spread
    intervals: Spread
    frames: int
    seconds: float
    thirds: tuple[float, float, float]
    stages: Watch
    cpu_seconds: float
    resident: tuple[int, int] | None

    @property
    def frames_per_second(self) -> float:
        """Of scope 3."""
        return self.frames / self.seconds

    @property
    def drift(self) -> float:
        """Rate of the last third over that of the first: below 1 the machine became slower."""
        return self.thirds[2] / self.thirds[0]


def measure(
    analyzer: VideoAnalyzer, source: Source, *, seconds: float, batch: int = 8, show: Progress = silent
) -> Measurement:
    """Measure all three scopes.

    Args:
        analyzer: The loaded model.
        source: The frames.
        seconds: How long scope 3 runs; the batch that is in work then is finished.
        batch: Frames at a time; rounded up to a multiple of the run's period.
        show: How progress is shown.

    Raises:
        MediaError: The source has no frame, or one cannot be read.
    """
    run = analyzer.run_of(*source.size)
    batch = -(-batch // run.period) * run.period
    slots, pictures = _filled(run, source, batch)
    short = min(max(SHORT_SHARE * seconds, SHORTEST), LONGEST)
    for _ in range(WARM_UP):
        run.poses(run.infer(slots))
    before = _graphs(analyzer, run, slots, short / 2)
    one_frame = _one_frame(analyzer, pictures, short)
    watch, finished = Watch(), _Finished()
    cpu = time.process_time()
    with watched_sessions(analyzer, watch):
        begun = time.perf_counter()
        _end_to_end(analyzer, WatchedRun(run, watch), source, batch, (begun, seconds, watch, finished, show))
    cpu = time.process_time() - cpu
    after = _graphs(analyzer, run, slots, short / 2)
    return Measurement(
        batch=batch,
        size=source.size,
        graphs=Spread.of(before + after),
        graphs_per_second=batch * len(before + after) / sum(before + after),
        one_frame=Spread.of(one_frame),
        intervals=Spread.of(np.diff(finished.times).tolist()),
        frames=finished.total,
        seconds=finished.times[-1] - begun,
        thirds=rates_by_third(finished.times, finished.frames, begun=begun),
        stages=watch,
        cpu_seconds=cpu,
        resident=finished.memory(begun),
    )


class _Finished:
    """When each batch was on the disk, and what was in memory then."""

    def __init__(self) -> None:
        # Arrays, because a long run has many batches and its memory is measured, too.
        self.times, self.frames, self._resident = array("d"), array("i"), array("q")
        self.total = 0

    def add(self, frames: int) -> None:
        self.times.append(time.perf_counter())
        self.frames.append(frames)
        self._resident.append(resident_bytes() or 0)
        self.total += frames

    def memory(self, begun: float) -> tuple[int, int] | None:
        if not self._resident[-1]:
            return None
        border = begun + (self.times[-1] - begun) / 3
        return self._resident[bisect_left(self.times, border)], self._resident[-1]


def _filled(run: FrameRun, source: Source, batch: int) -> tuple[Frames, list[Frames]]:
    """Slots (B, h, w, 3) of a batch, and the frames in them; fewer frames are taken again."""
    with closing(_again_and_again(source)) as frames:
        pictures = [frame.image for frame in islice(frames, batch)]
    slots = np.empty((batch, *run.slot_size, 3), np.uint8)
    for picture, slot in zip(pictures, slots, strict=True):
        run.write(picture, slot)
    return slots, pictures


def _graphs(analyzer: VideoAnalyzer, run: FrameRun, slots: Frames, seconds: float) -> list[float]:
    """Time in the graphs of each batch [s]; boxes and crops between two graphs are not in it."""
    watch, spent = Watch(), []
    with watched_sessions(analyzer, watch):
        begun, before = time.perf_counter(), 0.0
        while len(spent) < LEAST_RUNS or time.perf_counter() - begun < seconds:
            run.infer(slots)
            spent.append(watch["graphs"].seconds - before)
            before += spent[-1]
    return spent


def _one_frame(analyzer: VideoAnalyzer, pictures: Sequence[Frames], seconds: float) -> list[float]:
    """Time from a frame in memory to its poses [s], frame by frame."""
    analyzer.predict(pictures[0])
    spent: list[float] = []
    begun = time.perf_counter()
    while len(spent) < LEAST_RUNS or time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        analyzer.predict(pictures[len(spent) % len(pictures)])
        spent.append(time.perf_counter() - started)
    return spent


def _end_to_end(
    analyzer: VideoAnalyzer,
    run: WatchedRun,
    source: Source,
    batch: int,
    told: tuple[float, float, Watch, _Finished, Progress],
) -> None:
    """The engine, with a journal on the disk, over the source again and again until the time is over."""
    begun, seconds, watch, finished, show = told
    with tempfile.TemporaryDirectory() as folder, show(source.name, max(1, round(seconds)), "s") as advance:
        shown = 0

        def over() -> bool:
            return time.perf_counter() - begun >= seconds

        def sink(timing: Timing, poses: Sequence[Poses]) -> None:
            nonlocal shown
            with watch.during("write", len(poses)):
                journal.append(
                    [
                        FrameRecord(timing.first + i, at, found)
                        for i, (at, found) in enumerate(zip(timing.times, poses, strict=True))
                    ]
                )
            finished.add(len(poses))
            elapsed = time.perf_counter() - begun
            advance(min(int(elapsed), round(seconds)) - shown, f"{finished.total / elapsed:.1f} frames/s")
            shown = min(int(elapsed), round(seconds))

        with Journal(Path(folder) / "journal", _header(analyzer, source, batch)) as journal:
            run_pipeline(run, watch.frames(_until(over, source, batch)), batch=batch, sink=sink)


def _header(analyzer: VideoAnalyzer, source: Source, batch: int) -> JournalHeader:
    return JournalHeader(
        model="",
        device=analyzer.device,
        video=source.name,
        video_bytes=0,
        video_modified=os.getpid(),
        crop=None,
        batch=batch,
        layout=PoseLayout.of(analyzer.spec),
    )


def _until(over: Callable[[], bool], source: Source, batch: int) -> Iterator[VideoFrame]:
    """Whole batches of frames, numbered on over all passes through the source, until the time is over."""
    with closing(_again_and_again(source)) as frames:
        for number, frame in enumerate(frames):
            if number and number % batch == 0 and over():
                return
            yield replace(frame, index=number)


def _again_and_again(source: Source) -> Generator[VideoFrame, None, None]:
    while True:
        none = True
        with closing(source.frames()) as frames:
            for frame in frames:
                none = False
                yield frame
        if none:
            raise MediaError(f"{source.name}: has no frames; take another video.")
