"""A recording that has ended, however it ended -> DeepLabCut's table, and its side-car in its last form.

The table has a row per recorded frame, in the order of the video: row i is its frame i. Frames that were not inferred
have empty rows. Rows after the video's last frame have times and poses, but no picture: of a process that was killed
the last half second, of a video that could not be written on all that came later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ResultError
from rigpose.files.animal_rows import animal_row
from rigpose.files.results import animal_columns, video_columns, whole_file, write_table, write_video_tables
from rigpose.live.faults import LiveError
from rigpose.live.recording.animal_places import AnimalPlaces
from rigpose.live.recording.fragments import cut_torn_fragment
from rigpose.live.recording.recorded_poses import PoseRecord, read_poses
from rigpose.live.recording.recording_files import RecordingFiles
from rigpose.live.recording.side_car import (
    NO_ROW,
    FrameLine,
    SideCarHeader,
    header_text,
    note_text,
    read_header,
    read_lines,
    read_notes,
)
from rigpose.live.recording.video_writer import frames_in


@dataclass(frozen=True)
class Finished:
    """What a recording holds. ``rows + dropped`` are the frames that the recorder was offered.

    Attributes:
        camera: Its name.
        video: The pictures; none where none were kept.
        table: DeepLabCut's table; none where no poses were kept, or no frame was.
        side_car: Numbers and times.
        rows: Recorded frames.
        video_frames: Those of them that are in the video.
        poses: Inferred frames whose poses are kept.
        dropped: Frames that are listed and not recorded, because disk or processor could not follow.
        without_place: Animals that the table has no columns for; they are in the file of poses.
        whole: Whether the recording was closed in order and nothing went wrong.
        faults: Sentences of what did, where it was closed in order.
    """

    camera: str
    video: Path | None
    table: Path | None
    side_car: Path
    rows: int
    video_frames: int
    poses: int
    dropped: int
    without_place: int
    whole: bool
    faults: tuple[str, ...] = ()


def finish(folder: str | Path, *, save_csv: bool = False) -> tuple[Finished, ...]:
    """Finish the recordings of all cameras in a folder; those that are finished stay as they are.

    Args:
        folder: Of the run.
        save_csv: Whether the table is wanted as text, too.

    Raises:
        LiveError: There is none, it is being recorded right now, or it cannot be written.
    """
    folder = Path(folder)
    found = RecordingFiles.all_in(folder)
    if not found:
        raise LiveError(f"{folder}: there is no recording in it; name the folder of a recorded run.")
    return tuple(finish_camera(files, save_csv=save_csv) for files in found)


def finish_camera(files: RecordingFiles, *, save_csv: bool = False) -> Finished:
    """The same of one camera."""
    with files.held():
        header, notes = read_header(files.side_car), list(read_notes(files.side_car))
        try:
            if (done := next((value for kind, value in notes if kind == "finished"), None)) is not None:
                finished = _finished(files, header, done)
                if save_csv and finished.table is not None and not finished.table.with_suffix(".csv").is_file():
                    _write_table(files, header, rows=max(finished.rows, finished.video_frames), save_csv=True)
                return finished
            return _finish(files, header, notes, save_csv=save_csv)
        except (ResultError, OSError) as error:
            raise LiveError(
                f"{files.folder}: the recording of {header.camera} is there but could not be finished ({error}); make "
                "room, then finish it again."
            ) from error


def joined(files: RecordingFiles, header: SideCarHeader) -> Iterator[tuple[FrameLine, PoseRecord | None]]:
    """Each frame that was offered, in order, with what was found in it; none where it was not inferred."""
    poses = iter(()) if header.keep == "frames" else read_poses(files.poses)
    record = next(poses, None)
    for line in read_lines(files.side_car):
        while record is not None and record.number < line.number:
            record = next(poses, None)
        yield line, record if record is not None and record.number == line.number else None


def _finish(
    files: RecordingFiles, header: SideCarHeader, notes: Iterable[tuple[str, Any]], *, save_csv: bool
) -> Finished:
    faults = [value for kind, value in notes if kind == "fault"]
    whole = any(kind == "end" and value["whole"] for kind, value in notes)
    has_video = header.keep != "poses" and files.video.is_file()
    if has_video and not whole:
        cut_torn_fragment(files.video)
    video_frames = frames_in(files.video) if has_video else 0
    counts = {"rows": 0, "poses": 0, "dropped": 0}
    for line, record in joined(files, header):
        counts["rows"] += line.row != NO_ROW
        counts["poses"] += record is not None
        counts["dropped"] += line.state == "dropped"
    without_place, rows = 0, max(counts["rows"], video_frames)
    if header.keep != "frames" and rows:
        without_place = _write_table(files, header, rows=rows, save_csv=save_csv)
    facts = counts | {
        "video_frames": video_frames,
        "without_place": without_place,
        "whole": whole and video_frames == (counts["rows"] if has_video else 0),
        "faults": faults,
    }
    _rewrite_side_car(files, header, video_frames, facts)
    return _finished(files, header, facts)


def _write_table(files: RecordingFiles, header: SideCarHeader, *, rows: int, save_csv: bool) -> int:
    """Write the table; how many animals had no place in it."""
    tables = files.tables(header.scorer)
    left_over = 0

    def counted() -> Iterator[Floats | None]:
        nonlocal left_over
        for animals, without in placed(joined(files, header), header, rows=rows):
            left_over += without
            yield animals

    if not has_several_animals(header):
        write_video_tables(
            tables,
            counted(),
            columns=video_columns(header.scorer, header.keypoints),
            save_csv=save_csv,
        )
        return left_over
    columns = animal_columns(header.scorer, header.individuals, header.keypoints, header.unique_keypoints)
    empty = np.full(len(columns), np.nan, np.float32)
    write_table(
        tables.h5,
        (empty if row is None else row for row in counted()),
        columns=columns,
        save_csv=save_csv,
    )
    return left_over


def has_several_animals(header: SideCarHeader) -> bool:
    """Whether the table is one of several animals."""
    return len(header.individuals) > 1 or bool(header.unique_keypoints)


def placed(
    frames: Iterable[tuple[FrameLine, PoseRecord | None]], header: SideCarHeader, *, rows: int
) -> Iterator[tuple[Floats | None, int]]:
    """Per row of the table what it says, and how many animals it has no place for.

    A table of one animal gets its (N, K, 3); a table of several the values of a whole row. None where nothing was
    inferred.
    """
    several, written = has_several_animals(header), 0
    row_of = _row_of_several(header)
    for line, record in frames:
        if line.row == NO_ROW:
            continue
        written += 1
        if record is None:
            yield None, 0
        elif several:
            yield row_of(record)
        else:
            yield record.poses.to_array(), max(0, len(record.poses) - 1)
    for _ in range(written, rows):
        yield None, 0


def _row_of_several(header: SideCarHeader) -> Callable[[PoseRecord], tuple[Floats, int]]:
    places = AnimalPlaces(len(header.individuals))

    def row_of(record: PoseRecord) -> tuple[Floats, int]:
        place = places.of(record.poses, record.ids)
        kept = np.flatnonzero(place >= 0)
        row = animal_row(
            replace(record.poses.take(kept), identity=place[kept]),
            animals=len(header.individuals),
            keypoints=len(header.keypoints),
            unique=len(header.unique_keypoints),
        )
        return row, len(record.poses) - len(kept)

    return row_of


def _rewrite_side_car(files: RecordingFiles, header: SideCarHeader, video_frames: int, facts: dict[str, Any]) -> None:
    """The same lines with what is known now: whose poses there are, and which frames the video really has."""
    with whole_file(files.side_car) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as text:
        text.write(header_text(header))
        for line, record in joined(files, header):
            in_video = NO_ROW < line.row < video_frames
            state = line.state if line.row == NO_ROW else ("recorded" if in_video else "no picture")
            known = replace(
                line,
                video_index=line.row if in_video else NO_ROW,
                pose_row=NO_ROW if record is None else record.row,
                state=state,
            )
            text.write(known.to_text())
        text.write(note_text("finished", facts))


def _finished(files: RecordingFiles, header: SideCarHeader, facts: dict[str, Any]) -> Finished:
    has_video, table = header.keep != "poses" and files.video.is_file(), files.tables(header.scorer).h5
    return Finished(
        camera=header.camera,
        video=files.video if has_video else None,
        table=table if table.is_file() else None,
        side_car=files.side_car,
        rows=facts["rows"],
        video_frames=facts["video_frames"],
        poses=facts["poses"],
        dropped=facts["dropped"],
        without_place=facts["without_place"],
        whole=facts["whole"],
        faults=tuple(facts["faults"]),
    )
