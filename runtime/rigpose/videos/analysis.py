"""Videos -> result files, one or many, interrupted or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from rigpose.analyzers.analyzer import VideoAnalyzer
from rigpose.errors import MediaError
from rigpose.files.results import ResultFiles
from rigpose.progress import Progress, silent
from rigpose.videos.in_turn import InTurn
from rigpose.videos.journalled_video import finished_result
from rigpose.videos.metadata import ResultIdentity
from rigpose.videos.one_video import OneVideo
from rigpose.videos.outcome import AnalysisInterrupted, AnalysisOptions, AnalysisReport, VideoFailure, VideoResult
from rigpose.videos.video import SUFFIXES

__all__ = [
    "AnalysisInterrupted",
    "AnalysisOptions",
    "AnalysisReport",
    "ResultIdentity",
    "VideoFailure",
    "VideoResult",
    "analyze_video",
    "analyze_videos",
    "find_videos",
]


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
    there = finished_result(analyzer, path, identity, options)
    if there is not None:
        return there
    with OneVideo(analyzer, path, identity=identity, options=options) as one:
        one.infer(show)
        return one.write(show)


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

    The graphs do not wait between two videos: the next one is opened and decoded, and the last one's tables are
    written, while one is in them.

    Args:
        analyzer: The model.
        sources: Videos and folders.
        identity: Whose results these are.
        options: As for one video.
        show: Progress per video.
        each: Called with each outcome, in order, as soon as the next video has been through the graphs or Ctrl-C
            stops it, so that none is lost.

    Raises:
        AnalysisInterrupted: Ctrl-C.
    """
    options = options or AnalysisOptions()
    results: list[VideoResult] = []
    failures: list[VideoFailure] = []
    in_turn = InTurn(
        h5_of=lambda path: ResultFiles.of(path, identity.scorer, options.destination).h5,
        overwrite=options.overwrite,
        finished=lambda path: finished_result(analyzer, path, identity, options),
        open_video=lambda path: OneVideo(analyzer, path, identity=identity, options=options),
        show=show,
    )
    with in_turn, closing(in_turn.outcomes(each_video(sources))) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, VideoFailure):
                failures.append(outcome)
            else:
                results.append(outcome)
            each(outcome)
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


def each_video(sources: Iterable[str | Path]) -> Iterator[Path | VideoFailure]:
    """The videos, and those of the folders, in order; a folder that holds none is a failure."""
    for source in map(Path, sources):
        try:
            yield from find_videos(source)
        except MediaError as error:  # noqa: PERF203
            yield VideoFailure(source, str(error))
