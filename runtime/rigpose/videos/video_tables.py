"""The frames of an analysed video -> its result files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rigpose.files.animal_rows import animal_row
from rigpose.files.results import ResultFiles, animal_columns, video_columns, write_table, write_video_tables
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.progress import Advance, Progress
from rigpose.tracking.settings import SUFFIXES as TRACK_SUFFIXES
from rigpose.videos.camera_frames import CameraFrames
from rigpose.videos.outcome import AnalysisOptions


def has_several_animals(spec: ModelSpec) -> bool:
    """Whether a video's files are those of several animals."""
    return len(spec.individuals) > 1 or bool(spec.unique_keypoints)


def write_files(
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
        tracks = track(_counted(frames, advance), options.tracking, animals=options.tracks(spec))
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

    individuals = named_tracks(spec.individuals, options.tracks(spec))
    counts = {"animals": len(individuals), "keypoints": len(spec.keypoints), "unique": len(spec.unique_keypoints)}
    write_table(
        files.h5,
        (animal_row(poses, **counts) for poses in frames),
        columns=animal_columns(scorer, individuals, spec.keypoints, spec.unique_keypoints),
        save_csv=options.save_csv,
    )


def _counted(frames: Iterable[Poses | None], advance: Advance) -> Iterator[Poses | None]:
    for poses in frames:
        yield poses
        advance(1)
