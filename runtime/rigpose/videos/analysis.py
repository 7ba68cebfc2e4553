"""Video -> result files: joins decoding, inference, the journal and the tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from rigpose.analyzers.analyzer import FrameRun, VideoAnalyzer
from rigpose.errors import MediaError, ResultError, RigposeError
from rigpose.files.animal_rows import animal_row
from rigpose.files.pose_layout import PoseLayout
from rigpose.files.results import (
    ResultFiles,
    animal_columns,
    count_rows,
    video_columns,
    write_table,
    write_video_tables,
)
from rigpose.lock import only_process
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.progress import Advance, Progress, silent
from rigpose.schema import to_mapping
from rigpose.tracking.settings import SUFFIXES as TRACK_SUFFIXES
from rigpose.tracking.settings import TrackingSettings
from rigpose.videos.camera_frames import CameraFrames, account_for_frames
from rigpose.videos.journal import FrameRecord, Journal, JournalHeader
from rigpose.videos.metadata import ResultIdentity, RunFacts, made_otherwise, video_meta, write_meta
from rigpose.videos.pipeline import Timing, run_pipeline
from rigpose.videos.video import SUFFIXES, Crop, Video

_OTHER = "was made with other settings than are asked for now; --overwrite analyses again with these."
_BEGUN_ANEW = (
    "an interrupted analysis by another model, of another video or with other settings was there; this one began anew."
)


@dataclass(frozen=True)
class AnalysisOptions:
    """How to analyse.

    Attributes:
        batch: Frames that go through the graphs at once; with ``detect_every`` the next multiple of that.
        overwrite: Analyse again what has a whole result; tracks that other trackers made of that are deleted.
        destination: Folder of the results; none for the video's own.
        cropping: The part of the frames to analyse. Coordinates stay in the cropped frame, as in
            DeepLabCut.
        save_csv: Write the table as text, too.
        tracking: How several animals are followed from frame to frame; none to leave them as each frame has them,
            where those that the model tells apart are in their places all the same.
        animals: Tracks in the table of several animals; none for the number of the model's individuals.
    """

    batch: int = 8
    overwrite: bool = False
    destination: Path | None = None
    cropping: Crop | None = None
    save_csv: bool = True
    tracking: TrackingSettings | None = field(default_factory=TrackingSettings)
    animals: int | None = None


@dataclass(frozen=True)
class VideoResult:
    """What came of one video.

    Attributes:
        video: The video.
        h5: Its table.
        csv: The table as text; none if it was not wanted.
        frames: Rows of the table, which are camera frames.
        frames_per_second: Of this run, from the first frame to the last; 0 if skipped.
        skipped: A whole result was there already.
        resumed_at: Frames that an interrupted run had left.
        warnings: Sentences about what is not as it should be.
    """

    video: Path
    h5: Path
    csv: Path | None
    frames: int
    frames_per_second: float = 0.0
    skipped: bool = False
    resumed_at: int = 0
    warnings: tuple[str, ...] = ()


class AnalysisInterrupted(KeyboardInterrupt):
    """Ctrl-C; the message says how far the analysis came. Its frames are kept."""


def analyze_video(
    analyzer: VideoAnalyzer,
    video: str | Path,
    *,
    identity: ResultIdentity,
    options: AnalysisOptions | None = None,
    show: Progress = silent,
) -> VideoResult:
    """Write the result files of one video; an interrupted analysis continues where it stopped.

    Raises:
        MediaError: The video cannot be read.
        ResultError: The results cannot be written, or another process is writing them.
        AnalysisInterrupted: Ctrl-C.
    """
    options, path = options or AnalysisOptions(), Path(video)
    files = ResultFiles.of(path, identity.scorer, options.destination)
    if files.h5.exists() and not options.overwrite:
        return _skipped(path, files, _settings(analyzer, options), options.cropping)
    begun = time.time()
    with Video(path, crop=options.cropping) as source, only_process(files.lock):
        run = analyzer.run_of(source.height, source.width)
        options = replace(options, batch=-(-options.batch // run.period) * run.period)
        header = _journal_header(analyzer, path, identity, options)
        with Journal(files.partial, header) as journal:
            rate = _analyze_frames(run, source, journal, options.batch, show)
            lost, warnings = account_for_frames(source, journal)
            if journal.discarded:
                warnings = (*warnings, f"{path}: {_BEGUN_ANEW}")
            frames = CameraFrames(journal, lost)
            facts = RunFacts(begun, rate, options.batch, journal.frames, lost, _settings(analyzer, options))
            write_meta(files.meta, video_meta(analyzer, source, identity, facts))
            try:
                _write_files(files, frames, analyzer.spec, identity.scorer, options, show)
            except KeyboardInterrupt as error:
                raise AnalysisInterrupted(
                    f"{path}: stopped while its tracks and tables were made; its frames are kept, and the same command "
                    "continues from there."
                ) from error
            journal.remove()
    csv = files.csv if options.save_csv else None
    return VideoResult(
        video=path,
        h5=files.h5,
        csv=csv,
        frames=len(frames),
        frames_per_second=rate,
        resumed_at=journal.resumed_at,
        warnings=warnings,
    )


def has_several_animals(spec: ModelSpec) -> bool:
    """Whether a video's files are those of several animals."""
    return len(spec.individuals) > 1 or bool(spec.unique_keypoints)


class VideoFailure(NamedTuple):
    """A video, or a folder, that could not be analysed, and the sentence that says why."""

    video: Path
    sentence: str


@dataclass(frozen=True)
class AnalysisReport:
    """What came of many videos, in order."""

    results: tuple[VideoResult, ...]
    failures: tuple[VideoFailure, ...]


def analyze_videos(
    analyzer: VideoAnalyzer,
    sources: Iterable[str | Path],
    *,
    identity: ResultIdentity,
    options: AnalysisOptions | None = None,
    show: Progress = silent,
    each: Callable[[VideoResult | VideoFailure], None] = lambda _outcome: None,
) -> AnalysisReport:
    """Analyse videos and folders of videos one after the other; a bad one does not stop the others.

    Args:
        analyzer: The model.
        sources: Videos and folders.
        identity: Whose results these are.
        options: As for one video.
        show: Progress per video.
        each: Called with each outcome at once, so that Ctrl-C later on loses none.
    """
    results: list[VideoResult] = []
    failures: list[VideoFailure] = []

    def fail(video: Path, error: RigposeError) -> None:
        failures.append(VideoFailure(video, str(error)))
        each(failures[-1])

    for video in _each_video(sources, fail):
        try:
            result = analyze_video(analyzer, video, identity=identity, options=options, show=show)
        except (MediaError, ResultError) as error:  # noqa: PERF203
            fail(video, error)
        else:
            results.append(result)
            each(result)
    return AnalysisReport(tuple(results), tuple(failures))


def find_videos(source: Path) -> list[Path]:
    """The video itself, or those of a folder, without the ones that DeepLabCut or rigpose drew."""
    if not source.is_dir():
        return [source]
    videos = [
        path
        for path in sorted(source.iterdir())
        if path.suffix.lower() in SUFFIXES and "_labeled." not in path.name and "_full." not in path.name
    ]
    if not videos:
        raise MediaError(
            f"{source}: no video in this folder (looked for {' '.join(sorted(SUFFIXES))}); name the files."
        )
    return videos


def _each_video(sources: Iterable[str | Path], fail: Callable[[Path, RigposeError], None]) -> Iterator[Path]:
    for source in map(Path, sources):
        try:
            yield from find_videos(source)
        except MediaError as error:  # noqa: PERF203
            fail(source, error)


def _skipped(path: Path, files: ResultFiles, settings: Mapping[str, Any], cropping: Crop | None) -> VideoResult:
    """The result that is there. A journal older than it was left by a crash while tidying up."""
    frames = count_rows(files.h5)
    other = made_otherwise(files.meta, settings, cropping)
    if files.partial.exists() and files.partial.stat().st_mtime <= files.h5.stat().st_mtime:
        files.partial.unlink(missing_ok=True)
    csv = files.csv if files.csv.exists() else None
    return VideoResult(path, files.h5, csv, frames, skipped=True, warnings=(f"{files.h5}: {_OTHER}",) if other else ())


def _settings(analyzer: VideoAnalyzer, options: AnalysisOptions) -> dict[str, Any]:
    """Everything that was chosen for this run, for the metadata."""
    if not has_several_animals(analyzer.spec):
        return analyzer.settings
    return {**analyzer.settings, "tracking": to_mapping(options.tracking), "animals": _tracks(analyzer.spec, options)}


def _journal_header(
    analyzer: VideoAnalyzer, path: Path, identity: ResultIdentity, options: AnalysisOptions
) -> JournalHeader:
    stat = path.stat()
    return JournalHeader(
        model=identity.model_checksum,
        device=analyzer.device,
        video=path.name,
        video_bytes=stat.st_size,
        video_modified=stat.st_mtime_ns,
        crop=str(options.cropping) if options.cropping else None,
        batch=options.batch,
        layout=PoseLayout.of(analyzer.spec),
        settings=analyzer.settings,
    )


def _analyze_frames(run: FrameRun, source: Video, journal: Journal, batch: int, show: Progress) -> float:
    """Put every frame that the journal lacks into it; return frames per second."""
    resumed_at, total = journal.frames, source.frames_reported
    remaining = None if total is None else max(0, total - resumed_at)
    begun = time.perf_counter()
    with show(source.path.name, remaining, "frames") as advance:

        def sink(timing: Timing, poses: Sequence[Poses]) -> None:
            journal.append(
                [
                    FrameRecord(timing.first + i, at, found)
                    for i, (at, found) in enumerate(zip(timing.times, poses, strict=True))
                ]
            )
            advance(len(poses))

        try:
            run_pipeline(run, source.frames(start=resumed_at), batch=batch, sink=sink)
        except KeyboardInterrupt as error:
            raise AnalysisInterrupted(
                f"{source.path}: stopped after {journal.frames} of {total or 'its'} frames, which are "
                "kept; the same command continues from there."
            ) from error
    return (journal.frames - resumed_at) / max(time.perf_counter() - begun, 1e-9)


def _write_files(
    files: ResultFiles,
    frames: CameraFrames,
    spec: ModelSpec,
    scorer: str,
    options: AnalysisOptions,
    show: Progress,
) -> None:
    """All files but the metadata; the table last."""
    if not has_several_animals(spec):
        write_video_tables(
            files,
            (None if poses is None else poses.to_array() for poses in frames),
            columns=video_columns(scorer, spec.keypoints),
            frame_count=len(frames),
            save_csv=options.save_csv,
        )
        return
    from rigpose.files.animal_files import write_detections, write_tracks
    from rigpose.tracking import track

    write_detections(files, frames, spec, box_scores=spec.task == "top_down")
    suffix = None if options.tracking is None else TRACK_SUFFIXES[options.tracking.method]
    _delete_other_tracks(files, suffix)
    if options.tracking is None:
        _write_untracked(files, frames, spec, scorer, options)
        return
    with show(f"{files.stem}: tracks", len(frames), "frames") as advance:
        tracks = track(_counted(frames, advance), options.tracking, animals=_tracks(spec, options))
    assert suffix is not None
    write_tracks(files, frames, tracks, spec=spec, scorer=scorer, suffix=suffix, save_csv=options.save_csv)


def _delete_other_tracks(files: ResultFiles, kept: str | None) -> None:
    """Delete what other trackers made of an earlier analysis: its poses are no longer those of the table."""
    for suffix in TRACK_SUFFIXES.values():
        if suffix != kept:
            for path in files.tracked_by(suffix):
                path.unlink(missing_ok=True)


def _write_untracked(
    files: ResultFiles, frames: CameraFrames, spec: ModelSpec, scorer: str, options: AnalysisOptions
) -> None:
    from rigpose.files.animal_files import named_tracks

    individuals = named_tracks(spec.individuals, _tracks(spec, options))
    counts = {"animals": len(individuals), "keypoints": len(spec.keypoints), "unique": len(spec.unique_keypoints)}
    write_table(
        files.h5,
        (animal_row(poses, **counts) for poses in frames),
        columns=animal_columns(scorer, individuals, spec.keypoints, spec.unique_keypoints),
        row_count=len(frames),
        save_csv=options.save_csv,
    )


def _tracks(spec: ModelSpec, options: AnalysisOptions) -> int:
    return len(spec.individuals) if options.animals is None else options.animals


def _counted(frames: Iterable[Poses | None], advance: Advance) -> Iterator[Poses | None]:
    for poses in frames:
        yield poses
        advance(1)
