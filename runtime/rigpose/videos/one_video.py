"""One video through the graphs of this process, from its opening to its result files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rigpose.analyzers.analyzer import VideoAnalyzer
from rigpose.poses import Poses
from rigpose.progress import Progress
from rigpose.videos.journal import batch_records
from rigpose.videos.journalled_video import JournalledVideo
from rigpose.videos.metadata import ResultIdentity
from rigpose.videos.outcome import AnalysisInterrupted, AnalysisOptions, VideoResult
from rigpose.videos.pipeline import BatchFeed, Timing, run_batches


class OneVideo:
    """A video that is open and being decoded; ``infer`` and ``write``, each once, make its results.

    Opening, ``infer`` and ``write`` may happen in different threads, one after the other. Nobody else can analyse the
    video into the same files until it is closed.
    """

    def __init__(
        self,
        analyzer: VideoAnalyzer,
        path: Path,
        *,
        identity: ResultIdentity,
        options: AnalysisOptions,
    ) -> None:
        """Open the video and its journal, and begin to decode what the journal lacks.

        Raises:
            MediaError: The video cannot be read.
            ResultError: The results cannot be written, or another process is writing them.
        """
        self.path = path
        with ExitStack() as opened:
            self._video = opened.enter_context(
                JournalledVideo(
                    analyzer,
                    path,
                    identity=identity,
                    options=options,
                    period_of=lambda height, width: analyzer.run_of(height, width).period,
                )
            )
            source = self._video.source
            self._run = analyzer.run_of(source.height, source.width)
            frames = source.frames(start=self._video.resumed_at)
            self._feed = opened.enter_context(BatchFeed(self._run, frames, batch=self._video.batch))
            opened.callback(source.stop)
            self._opened = opened.pop_all()
        self._inferred = False
        self._rate = 0.0

    def infer(self, show: Progress) -> None:
        """Put every frame that the journal lacks into it.

        Raises:
            MediaError: The video cannot be read on.
            ResultError: The journal cannot be written.
            AnalysisInterrupted: Ctrl-C.
        """
        journal, resumed_at = self._video.journal, self._video.resumed_at
        total = self._video.source.frames_reported
        remaining = None if total is None else max(0, total - resumed_at)
        begun, self._inferred = time.perf_counter(), True
        with show(self.path.name, remaining, "frames") as advance:

            def sink(timing: Timing, poses: Sequence[Poses]) -> None:
                journal.append(batch_records(timing.first, timing.times, poses))
                advance(len(poses))

            try:
                run_batches(self._run, self._feed, sink=sink)
            except KeyboardInterrupt as error:
                raise AnalysisInterrupted(self.kept()) from error
        # The next video has buffers of its own.
        self._feed.close()
        self._rate = (journal.frames - resumed_at) / max(time.perf_counter() - begun, 1e-9)

    def write(self, show: Progress) -> VideoResult:
        """See ``JournalledVideo``."""
        return self._video.write(show, frames_per_second=self._rate)

    def kept(self) -> str:
        """See ``JournalledVideo``."""
        return self._video.kept()

    def interrupt(self) -> None:
        """See ``JournalledVideo``."""
        self._video.interrupt()

    def close(self) -> None:
        """Let go of everything; a journal that is not done with stays where it is, if anything is in it."""
        if not self._inferred and not self._video.resumed_at:
            self._video.journal.remove()
        self._opened.close()

    def __enter__(self) -> OneVideo:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
