"""A video and the journal of its frames: what an analysis has of it on disk until its tables are whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rigpose.analyzers.analyzer import ModelFacts
from rigpose.files.pose_layout import PoseLayout
from rigpose.files.results import ResultFiles, count_rows
from rigpose.lock import only_process
from rigpose.progress import Progress
from rigpose.schema import to_mapping
from rigpose.videos.camera_frames import CameraFrames, account_for_frames
from rigpose.videos.journal import Journal, JournalHeader, decoder_of
from rigpose.videos.metadata import ResultIdentity, RunFacts, made_otherwise, video_meta, write_meta
from rigpose.videos.outcome import AnalysisInterrupted, AnalysisOptions, VideoResult
from rigpose.videos.video import Crop, Video
from rigpose.videos.video_tables import has_several_animals, write_files

_OTHER = "was made with other settings than are asked for now; --overwrite analyses again with these."
_BEGUN_ANEW = (
    "an interrupted analysis by another model, of another video or with other settings was there; this one began anew."
)


class JournalledVideo:
    """A video that is open, and its journal; until it is closed, nobody else can analyse it into the same files.

    Attributes:
        path: The video.
        files: Its results.
        source: The open video.
        journal: Its frames so far.
        batch: Frames that go through the graphs at once, a multiple of the run's period.
        resumed_at: Frames that an interrupted run had left.
    """

    def __init__(
        self,
        model: ModelFacts,
        path: Path,
        *,
        identity: ResultIdentity,
        options: AnalysisOptions,
        period_of: Callable[[int, int], int],
        ended: bool = False,
    ) -> None:
        """Open both.

        Args:
            model: What the poses are of, and what finds them.
            path: The video.
            identity: Whose results these are.
            options: How to analyse.
            period_of: (height, width) of the frames -> a batch begins at a multiple of so many of them.
            ended: The video's last frame is in the journal.

        Raises:
            MediaError: The video cannot be read.
            ResultError: The results cannot be written, or another process is writing them.
        """
        self.path, self.files = path, ResultFiles.of(path, identity.scorer, options.destination)
        self._model, self._identity, self._begun = model, identity, time.time()
        with ExitStack() as opened:
            decoder = options.decoder if options.decoder != "auto" else decoder_of(self.files.partial) or "auto"
            self.source = opened.enter_context(Video(path, crop=options.cropping, decoder=decoder))
            opened.enter_context(only_process(self.files.lock))
            period = period_of(self.source.height, self.source.width)
            self.batch = -(-options.batch // period) * period
            self._options = replace(options, batch=self.batch)
            self.journal = opened.enter_context(Journal(self.files.partial, self._header(), ended=ended))
            self.resumed_at = self.journal.frames
            self._opened = opened.pop_all()
        self._interrupted = False

    def write(self, show: Progress, *, frames_per_second: float) -> VideoResult:
        """Make the result files from the journal, and delete that.

        Args:
            show: Progress of the tracks.
            frames_per_second: Of the analysis that is now at its end, for the metadata.

        Raises:
            ResultError: They cannot be written.
            AnalysisInterrupted: Ctrl-C, or ``interrupt``.
        """
        journal, options, spec = self.journal, self._options, self._model.spec
        lost, warnings = account_for_frames(self.source, journal)
        warnings = (*warnings, *self.begun_anew())
        settings = settings_of(self._model, options)
        facts = RunFacts(self._begun, frames_per_second, options.batch, journal.frames, lost, settings)
        frames = CameraFrames(journal, lost, given_up=lambda: self._interrupted)
        try:
            write_meta(self.files.meta, video_meta(self._model, self.source, self._identity, facts))
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
            frames_per_second=frames_per_second,
            resumed_at=self.resumed_at,
            warnings=warnings,
            decoder=self.source.decoder,
        )

    def begun_anew(self) -> tuple[str, ...]:
        """A sentence if frames of another analysis were there, and are gone."""
        return (f"{self.path}: {_BEGUN_ANEW}",) if self.journal.discarded else ()

    def kept(self) -> str:
        """After an interruption: how far it came."""
        total = self.source.frames_reported or "its"
        return (
            f"{self.path}: stopped after {self.journal.frames} of {total} frames, which are kept; the same command "
            "continues from there."
        )

    def interrupt(self) -> None:
        """Make ``write`` in another thread stop before its next frame, as Ctrl-C would stop it in the main thread."""
        self._interrupted = True

    def close(self) -> None:
        """Let go of both; the journal stays where it is."""
        self._opened.close()

    def __enter__(self) -> JournalledVideo:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _header(self) -> JournalHeader:
        stat, options = self.path.stat(), self._options
        return JournalHeader(
            model=self._identity.model_checksum,
            device=self._model.device,
            video=self.path.name,
            video_bytes=stat.st_size,
            video_modified=stat.st_mtime_ns,
            crop=str(options.cropping) if options.cropping else None,
            batch=options.batch,
            layout=PoseLayout.of(self._model.spec),
            settings=self._model.settings,
            decoder=self.source.decoder,
        )


def finished_result(
    model: ModelFacts, path: Path, identity: ResultIdentity, options: AnalysisOptions
) -> VideoResult | None:
    """The whole result of an earlier analysis, if that is to be left alone."""
    files = ResultFiles.of(path, identity.scorer, options.destination)
    if options.overwrite or not files.h5.exists():
        return None
    return _result_there(path, files, settings_of(model, options), options.cropping)


def settings_of(model: ModelFacts, options: AnalysisOptions) -> dict[str, Any]:
    """Everything that was chosen for a run, for the metadata."""
    if not has_several_animals(model.spec):
        return model.settings
    tracks = {"tracking": to_mapping(options.tracking), "animals": options.tracks(model.spec)}
    return {**model.settings, **tracks}


def _result_there(path: Path, files: ResultFiles, settings: Mapping[str, Any], cropping: Crop | None) -> VideoResult:
    """A journal older than the result was left by a crash while tidying up."""
    frames = count_rows(files.h5)
    other = made_otherwise(files.meta, settings, cropping)
    if files.partial.exists() and files.partial.stat().st_mtime <= files.h5.stat().st_mtime:
        files.partial.unlink(missing_ok=True)
    csv = files.csv if files.csv.exists() else None
    return VideoResult(path, files.h5, csv, frames, skipped=True, warnings=(f"{files.h5}: {_OTHER}",) if other else ())
