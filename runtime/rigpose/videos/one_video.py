"""One video from its opening to its result files: a journal of its frames first, the tables from that."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rigpose.analyzers.analyzer import VideoAnalyzer
from rigpose.files.pose_layout import PoseLayout
from rigpose.files.results import ResultFiles, count_rows
from rigpose.lock import only_process
from rigpose.poses import Poses
from rigpose.progress import Progress
from rigpose.schema import to_mapping
from rigpose.videos.camera_frames import CameraFrames, account_for_frames
from rigpose.videos.journal import FrameRecord, Journal, JournalHeader, decoder_of
from rigpose.videos.metadata import ResultIdentity, RunFacts, made_otherwise, video_meta, write_meta
from rigpose.videos.outcome import AnalysisInterrupted, AnalysisOptions, VideoResult
from rigpose.videos.pipeline import BatchFeed, Timing, run_batches
from rigpose.videos.video import Crop, Video
from rigpose.videos.video_tables import has_several_animals, write_files

_OTHER = "was made with other settings than are asked for now; --overwrite analyses again with these."
_BEGUN_ANEW = (
    "an interrupted analysis by another model, of another video or with other settings was there; this one began anew."
)


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
        self.path, self.files = path, ResultFiles.of(path, identity.scorer, options.destination)
        self._analyzer, self._identity, self._begun = analyzer, identity, time.time()
        with ExitStack() as opened:
            decoder = options.decoder if options.decoder != "auto" else decoder_of(self.files.partial) or "auto"
            self._source = opened.enter_context(Video(path, crop=options.cropping, decoder=decoder))
            opened.enter_context(only_process(self.files.lock))
            self._run = analyzer.run_of(self._source.height, self._source.width)
            period = self._run.period
            self._options = replace(options, batch=-(-options.batch // period) * period)
            self._journal = opened.enter_context(Journal(self.files.partial, self._header()))
            self._resumed_at = self._journal.frames
            frames = self._source.frames(start=self._resumed_at)
            self._feed = opened.enter_context(BatchFeed(self._run, frames, batch=self._options.batch))
            opened.callback(self._source.stop)
            self._opened = opened.pop_all()
        self._inferred = self._interrupted = False
        self._rate = 0.0

    def infer(self, show: Progress) -> None:
        """Put every frame that the journal lacks into it.

        Raises:
            MediaError: The video cannot be read on.
            ResultError: The journal cannot be written.
            AnalysisInterrupted: Ctrl-C.
        """
        journal, total = self._journal, self._source.frames_reported
        remaining = None if total is None else max(0, total - self._resumed_at)
        begun, self._inferred = time.perf_counter(), True
        with show(self.path.name, remaining, "frames") as advance:

            def sink(timing: Timing, poses: Sequence[Poses]) -> None:
                journal.append(
                    [
                        FrameRecord(timing.first + i, at, found)
                        for i, (at, found) in enumerate(zip(timing.times, poses, strict=True))
                    ]
                )
                advance(len(poses))

            try:
                run_batches(self._run, self._feed, sink=sink)
            except KeyboardInterrupt as error:
                raise AnalysisInterrupted(self.kept()) from error
        # The next video has buffers of its own.
        self._feed.close()
        self._rate = (journal.frames - self._resumed_at) / max(time.perf_counter() - begun, 1e-9)

    def write(self, show: Progress) -> VideoResult:
        """Make the result files from the journal, and delete that.

        Raises:
            ResultError: They cannot be written.
            AnalysisInterrupted: Ctrl-C, or ``interrupt``.
        """
        journal, options, spec = self._journal, self._options, self._analyzer.spec
        lost, warnings = account_for_frames(self._source, journal)
        if journal.discarded:
            warnings = (*warnings, f"{self.path}: {_BEGUN_ANEW}")
        settings = settings_of(self._analyzer, options)
        facts = RunFacts(self._begun, self._rate, options.batch, journal.frames, lost, settings)
        frames = CameraFrames(journal, lost, given_up=lambda: self._interrupted)
        try:
            write_meta(self.files.meta, video_meta(self._analyzer, self._source, self._identity, facts))
            write_files(self.files, frames, spec, self._identity.scorer, options, show)
        except KeyboardInterrupt as error:
            raise AnalysisInterrupted(
                f"{self.path}: stopped while its tracks and tables were made; its frames are kept, and the same "
                "command continues from there."
            ) from error
        journal.remove()
        return VideoResult(
            video=self.path,
            h5=self.files.h5,
            csv=self.files.csv if options.save_csv else None,
            frames=len(frames),
            frames_per_second=self._rate,
            resumed_at=self._resumed_at,
            warnings=warnings,
            decoder=self._source.decoder,
        )

    def kept(self) -> str:
        """After an interruption: how far it came."""
        total = self._source.frames_reported or "its"
        return (
            f"{self.path}: stopped after {self._journal.frames} of {total} frames, which are kept; the same command "
            "continues from there."
        )

    def interrupt(self) -> None:
        """Make ``write`` in another thread stop before its next frame, as Ctrl-C would stop it in the main thread."""
        self._interrupted = True

    def close(self) -> None:
        """Let go of everything; a journal that is not done with stays where it is, if anything is in it."""
        if not self._inferred and not self._resumed_at:
            self._journal.remove()
        self._opened.close()

    def __enter__(self) -> OneVideo:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _header(self) -> JournalHeader:
        stat, options = self.path.stat(), self._options
        return JournalHeader(
            model=self._identity.model_checksum,
            device=self._analyzer.device,
            video=self.path.name,
            video_bytes=stat.st_size,
            video_modified=stat.st_mtime_ns,
            crop=str(options.cropping) if options.cropping else None,
            batch=options.batch,
            layout=PoseLayout.of(self._analyzer.spec),
            settings=self._analyzer.settings,
            decoder=self._source.decoder,
        )


def settings_of(analyzer: VideoAnalyzer, options: AnalysisOptions) -> dict[str, Any]:
    """Everything that was chosen for a run, for the metadata."""
    if not has_several_animals(analyzer.spec):
        return analyzer.settings
    tracks = {"tracking": to_mapping(options.tracking), "animals": options.tracks(analyzer.spec)}
    return {**analyzer.settings, **tracks}


def result_there(path: Path, files: ResultFiles, settings: Mapping[str, Any], cropping: Crop | None) -> VideoResult:
    """The whole result that is there. A journal older than it was left by a crash while tidying up."""
    frames = count_rows(files.h5)
    other = made_otherwise(files.meta, settings, cropping)
    if files.partial.exists() and files.partial.stat().st_mtime <= files.h5.stat().st_mtime:
        files.partial.unlink(missing_ok=True)
    csv = files.csv if files.csv.exists() else None
    return VideoResult(path, files.h5, csv, frames, skipped=True, warnings=(f"{files.h5}: {_OTHER}",) if other else ())
