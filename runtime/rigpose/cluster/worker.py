"""What runs on every device of a cluster: one model, segments through it, and tables from whole journals."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rigpose.analyzers.run_options import RunOptions
from rigpose.cluster.segments import FrameMark, Segment, SegmentPoses
from rigpose.cluster.software import software
from rigpose.decoding.decoder import MOST_THREADS
from rigpose.errors import RigposeError
from rigpose.files.pose_layout import PoseLayout
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.progress import silent
from rigpose.sessions.devices import describe_gpu
from rigpose.sessions.processor import Processor
from rigpose.videos.journal import FrameRecord, batch_records, packed
from rigpose.videos.journalled_video import JournalledVideo
from rigpose.videos.outcome import AnalysisOptions, VideoResult
from rigpose.videos.pipeline import BatchFeed, Timing, run_batches
from rigpose.videos.video import Video, VideoFrame


@dataclass(frozen=True)
class ModelToLoad:
    """What a worker loads; the words of ``rigpose.load``, and paths that every machine sees alike.

    Attributes:
        checksum: Of the bundle as the machine that gives out the work sees it.
        must_see: Files and folders of the job.
    """

    bundle: str
    device: str
    threads: int
    backend: str
    precision: str | None
    conditions: str | None
    options: RunOptions
    checksum: str
    must_see: tuple[str, ...]


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker says of itself when its model is loaded; see ``ModelFacts`` for the first three.

    Attributes:
        hardware: Name of its processor or GPU; another one may round differently.
        software: See ``software``.
    """

    spec: ModelSpec
    device: str
    settings: dict[str, Any]
    hardware: str
    software: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """Why something could not be done, in a sentence."""

    sentence: str


class Worker:
    """The actor of one device. Segments may come two at a time: while one is inferred, the next is decoded.

    Attributes:
        identity: Whose results it writes; known when its model is loaded.
    """

    def __init__(self, model: ModelToLoad) -> None:
        # FFmpeg's complaints would go to a log that nobody reads.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        self._model = model
        self._graphs = threading.Lock()

    def open(self) -> WorkerFacts | Refusal:
        """Load the model; to be called before anything else."""
        from rigpose.load import load

        model = self._model
        for path in map(Path, model.must_see):
            if not path.exists():
                return Refusal(f"{path}: is not to be seen there; every machine of a cluster must see it by this name.")
        try:
            analyzer = load(
                model.bundle,
                device=model.device,
                threads=model.threads,
                backend=model.backend,
                precision=model.precision,
                conditions=model.conditions,
                options=model.options,
            )
            analyzer.check_complete()
        except RigposeError as error:
            return Refusal(str(error))
        if analyzer.bundle.checksum != model.checksum:
            return Refusal(f"{model.bundle}: is another bundle there; give it a path that means the same everywhere.")
        self._analyzer, self.identity = analyzer, analyzer.identity()
        hardware = Processor.here().name if model.device == "cpu" else describe_gpu(0)
        return WorkerFacts(analyzer.spec, analyzer.device, analyzer.settings, hardware, software())

    def period(self, height: int, width: int) -> int | Refusal:
        """A batch of frames of this size begins at a multiple of so many."""
        try:
            return self._analyzer.run_of(height, width).period
        except RigposeError as error:
            return Refusal(str(error))

    def analyze(self, path: Path, segment: Segment, options: AnalysisOptions) -> SegmentPoses | Refusal:
        """Poses of a segment.

        Args:
            path: The video.
            segment: Which of its frames.
            options: With the video's own batch and decoder.
        """
        begun, records = time.perf_counter(), list[FrameRecord]()
        decoding = min(MOST_THREADS, self._model.threads)

        def sink(timing: Timing, poses: Sequence[Poses]) -> None:
            records.extend(batch_records(timing.first, timing.times, poses))

        try:
            with ExitStack() as opened:
                source = opened.enter_context(
                    Video(path, crop=options.cropping, decoder=options.decoder, threads=decoding)
                )
                run, frames = self._analyzer.run_of(source.height, source.width), _MarkedFrames(source, segment)
                feed = opened.enter_context(BatchFeed(run, frames, batch=options.batch))
                opened.callback(source.stop)
                with self._graphs:
                    run_batches(run, feed, sink=sink)
        except RigposeError as error:
            return Refusal(str(error))
        data = packed(PoseLayout.of(self._analyzer.spec), records)
        return SegmentPoses(segment, data, len(records), frames.first, frames.after, time.perf_counter() - begun)

    def write(
        self, path: Path, options: AnalysisOptions, frames: int, frames_per_second: float
    ) -> VideoResult | Refusal:
        """Tracks and tables of a video whose journal is whole; the journal is deleted.

        Args:
            path: The video.
            options: As typed.
            frames: How many the journal has.
            frames_per_second: Of the analysis.
        """
        try:
            with JournalledVideo(
                self._analyzer,
                path,
                identity=self.identity,
                options=options,
                period_of=lambda height, width: self._analyzer.run_of(height, width).period,
                ended=True,
            ) as video:
                if video.journal.frames != frames:
                    return Refusal(
                        f"{path}: its journal shows {video.journal.frames} of {frames} frames on another machine, so "
                        "the shared file system is not in step; run the command again to continue."
                    )
                return video.write(silent, frames_per_second=frames_per_second)
        except RigposeError as error:
            return Refusal(str(error))


class _MarkedFrames:
    """The frames of a segment, with the marks of its first one and of the one that follows.

    Attributes:
        first: See ``SegmentPoses``; known when the last frame is through, and so is the next.
        after: See there.
    """

    def __init__(self, source: Video, segment: Segment) -> None:
        self._source, self._segment = source, segment
        self.first: FrameMark | None = None
        self.after: FrameMark | None = None

    def __iter__(self) -> Iterator[VideoFrame]:
        begin, end = self._segment.start, self._segment.stop
        beyond = None if end is None else end + 1
        for frame in self._source.frames(start=begin, stop=beyond, sought=self._segment.sought):
            if frame.index == end:
                self.after = FrameMark.of(frame)
                return
            if frame.index == begin:
                self.first = FrameMark.of(frame)
            yield frame
