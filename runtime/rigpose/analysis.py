"""Video -> result files: joins decoding, inference, the journal and the tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rigpose.analyzer import Analyzer
from rigpose.arrays import Floats
from rigpose.errors import MediaError, ResultError, RigposeError
from rigpose.journal import FrameRecord, Journal, JournalHeader
from rigpose.lock import only_process
from rigpose.metadata import ResultIdentity, RunFacts, video_meta, write_meta
from rigpose.pipeline import Timing, run_pipeline
from rigpose.poses import Poses
from rigpose.progress import Progress, silent
from rigpose.results import ResultFiles, count_rows, video_columns, write_video_tables
from rigpose.video import SUFFIXES, Crop, Video, lost_frames


@dataclass(frozen=True)
class AnalysisOptions:
    """How to analyse.

    Attributes:
        batch: Frames that go through the graph at once.
        overwrite: Analyse again what has a whole result.
        destination: Folder of the results; none for the video's own.
        cropping: The part of the frames to analyse. Coordinates stay in the cropped frame, as in
            DeepLabCut.
        save_csv: Write the table as text, too.
    """

    batch: int = 8
    overwrite: bool = False
    destination: Path | None = None
    cropping: Crop | None = None
    save_csv: bool = True


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
    analyzer: Analyzer,
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
        return _skipped(path, files)
    begun = time.time()
    with Video(path, crop=options.cropping) as source, only_process(files.lock):
        header = _journal_header(analyzer, path, identity, options)
        with Journal(files.partial, header) as journal:
            rate = _analyze_frames(analyzer, source, journal, options.batch, show)
            lost, warnings = _account_for_frames(source, journal)
            frames = journal.frames + len(lost)
            facts = RunFacts(begun, rate, options.batch, journal.frames, lost)
            write_meta(files.meta, video_meta(analyzer, source, identity, facts))
            write_video_tables(
                files,
                _camera_frames(journal, lost),
                columns=video_columns(identity.scorer, analyzer.spec.keypoints),
                frame_count=frames,
                save_csv=options.save_csv,
            )
            journal.remove()
    csv = files.csv if options.save_csv else None
    return VideoResult(
        video=path,
        h5=files.h5,
        csv=csv,
        frames=frames,
        frames_per_second=rate,
        resumed_at=journal.resumed_at,
        warnings=warnings,
    )


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
    analyzer: Analyzer,
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


def _skipped(path: Path, files: ResultFiles) -> VideoResult:
    """The result that is there. A journal older than it was left by a crash while tidying up."""
    frames = count_rows(files.h5)
    if files.partial.exists() and files.partial.stat().st_mtime <= files.h5.stat().st_mtime:
        files.partial.unlink(missing_ok=True)
    csv = files.csv if files.csv.exists() else None
    return VideoResult(path, files.h5, csv, frames, skipped=True)


def _journal_header(
    analyzer: Analyzer, path: Path, identity: ResultIdentity, options: AnalysisOptions
) -> JournalHeader:
    stat = path.stat()
    return JournalHeader(
        model=identity.model_checksum,
        device=analyzer.session.device,
        video=path.name,
        video_bytes=stat.st_size,
        video_modified=stat.st_mtime_ns,
        crop=str(options.cropping) if options.cropping else None,
        batch=options.batch,
        keypoints=analyzer.spec.keypoints,
    )


def _analyze_frames(analyzer: Analyzer, source: Video, journal: Journal, batch: int, show: Progress) -> float:
    """Put every frame that the journal lacks into it; return frames per second."""
    resumed_at, total = journal.frames, source.frames_reported
    remaining = None if total is None else max(0, total - resumed_at)
    begun = time.perf_counter()
    with show(source.path.name, remaining, "frames") as advance:

        def sink(timing: Timing, poses: Sequence[Poses]) -> None:
            journal.append(
                [
                    FrameRecord(timing.first + i, at, found.to_array())
                    for i, (at, found) in enumerate(zip(timing.times, poses, strict=True))
                ]
            )
            advance(len(poses))

        try:
            run_pipeline(
                analyzer,
                source.frames(start=resumed_at),
                analyzer.preparation(source.height, source.width),
                batch=batch,
                sink=sink,
            )
        except KeyboardInterrupt as error:
            raise AnalysisInterrupted(
                f"{source.path}: stopped after {journal.frames} of {total or 'its'} frames, which are "
                "kept; the same command continues from there."
            ) from error
    return (journal.frames - resumed_at) / max(time.perf_counter() - begun, 1e-9)


def _account_for_frames(source: Video, journal: Journal) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Camera frames that are lost for certain, and a sentence if decoder and container disagree."""
    decoded, reported, name = journal.frames, source.frames_reported, source.path.name
    if reported is None or reported == decoded:
        return (), ()
    if reported < decoded:
        return (), (
            (
                f"{name}: the container promises {reported} frames and {decoded} could be decoded; "
                "all of them are in the result."
            ),
        )
    times = (record.time for record in journal.records())
    lost = lost_frames(times, frames_per_second=source.frames_per_second)
    if lost and decoded + len(lost) == reported:
        return lost, (
            (
                f"{name}: {len(lost)} of {reported} frames are damaged and have empty rows, so that "
                f"row i stays camera frame i: {_some(lost)}."
            ),
        )
    where = (
        "the time stamps have no gap, so the missing ones are at the end"
        if lost == ()
        else "the time stamps do not say which are missing, so rows may be early"
    )
    return (), (
        (f"{name}: only {decoded} of the {reported} frames that the container promises could be decoded; {where}."),
    )


def _some(numbers: tuple[int, ...], most: int = 20) -> str:
    listed = ", ".join(map(str, numbers[:most]))
    return listed if len(numbers) <= most else f"{listed} and {len(numbers) - most} more"


def _camera_frames(journal: Journal, lost: tuple[int, ...]) -> Iterator[Floats | None]:
    """Per camera frame its animals; none for a lost one."""
    row, waiting = 0, iter((*lost, -1))
    next_lost = next(waiting)
    for record in journal.records():
        while row == next_lost:
            yield None
            row, next_lost = row + 1, next(waiting)
        yield record.animals
        row += 1
