"""The side-car: numbers and times of every frame that a recorder was offered, beside the video.

It is text in comma-separated values, because that is what laboratories open in everything they have, with one line of
JSON after a ``#`` at its beginning (what was recorded) and one wherever something happened: a fault, the end. The lines
of frames are in the order in which they were taken; each is written when its frame is, so that a line that is not whole
can only be the last one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rigpose.errors import ConfigError
from rigpose.live.faults import LiveError
from rigpose.live.recording.append_only import AppendOnlyFile
from rigpose.schema import convert, parse

FrameState: TypeAlias = Literal["recorded", "no picture", "dropped"]
"""In the video; only its times and poses, because no video is wanted or it could not be written on; gave way when
disk or processor could not follow."""
Keep: TypeAlias = Literal["frames", "poses", "both"]
NO_ROW = -1
COLUMNS = (
    "row", "video_index", "number", "device_time", "exposed", "arrived", "wall_clock", "pose_row", "state"
)  # fmt: skip
_WAITING = 1 << 22
"""Bytes of lines that wait for a disk that cannot be written; with more, the side-car is given up."""


@dataclass(frozen=True)
class SideCarHeader:
    """What was recorded.

    Attributes:
        camera: Its name.
        scorer: DeepLabCut's name for the model, which is in the names of its result files.
        model: Checksum of the bundle.
        keypoints: K names.
        individuals: Names of the animals.
        unique_keypoints: U names.
        keep: What was wanted.
        codec: Of the video.
        rigpose: Version that recorded.
        begun: Unix time [s].
        frames_per_second: As the camera says; none where it says nothing.
        facts: For people.
        version: Of this file format.
    """

    camera: str
    scorer: str
    model: str
    keypoints: tuple[str, ...]
    individuals: tuple[str, ...]
    unique_keypoints: tuple[str, ...]
    keep: Keep
    codec: str
    rigpose: str
    begun: float
    frames_per_second: float | None = None
    facts: dict[str, str] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True)
class FrameLine:
    """One frame. Times are in seconds; all but ``device_time`` and ``wall_clock`` by ``rigpose.live.clock``.

    Attributes:
        row: Its row in the table of poses, and as long as there are pictures its place in the video; -1 for a frame
            that was dropped.
        video_index: Its place in the video; -1 for a frame that is not in it. While the recording goes on, or after it
            was killed, up to a second of frames have one that are not there yet.
        number: The camera's.
        device_time: By the camera's clock; none where it has none.
        exposed: When it was exposed; none for a frame that was dropped.
        arrived: When it was handed over; none for a frame that was dropped.
        wall_clock: ``exposed`` as Unix time; none for a frame that was dropped.
        pose_row: Which of the recorded poses are its own; -1 where it was not inferred. None until the recording is
            finished.
        state: What became of it.
    """

    row: int
    video_index: int
    number: int
    device_time: float | None
    exposed: float | None
    arrived: float | None
    wall_clock: float | None
    pose_row: int | None
    state: FrameState

    @classmethod
    def dropped(cls, number: int) -> FrameLine:
        """A frame of which only the number is kept."""
        return cls(NO_ROW, NO_ROW, number, None, None, None, None, None, "dropped")

    def to_text(self) -> str:
        """A line of the file. Numbers are written so that they are read again as the very same."""
        values = (getattr(self, name) for name in COLUMNS)
        return ",".join("" if value is None else str(value) for value in values) + "\n"

    @classmethod
    def from_text(cls, line: str) -> FrameLine:
        """The inverse.

        Raises:
            ValueError: It is no such line.
        """
        row, video_index, number, *times, pose_row, state = line.rstrip("\n").split(",")
        device_time, exposed, arrived, wall_clock = (float(time) if time else None for time in times)
        return cls(
            int(row),
            int(video_index),
            int(number),
            device_time,
            exposed,
            arrived,
            wall_clock,
            int(pose_row) if pose_row else None,
            state,  # type: ignore[arg-type]
        )


class SideCar:
    """A new side-car, open for more lines.

    What cannot be written waits, and is tried again with every ``sync``.

    Raises:
        LiveError: It exists already, or cannot be made.
    """

    def __init__(self, path: Path, header: SideCarHeader) -> None:
        self._file = AppendOnlyFile(path)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._refused: LiveError | None = None
        self._ended = False
        self._append(header_text(header))

    def add(self, line: FrameLine) -> None:
        """Append a frame; the operating system has it when this returns.

        Raises:
            LiveError: The disk is full or gone.
        """
        self._append(line.to_text())

    def note(self, kind: str, value: object) -> None:
        """Append what happened.

        Raises:
            LiveError: The disk is full or gone.
        """
        self._append(note_text(kind, value))

    def sync(self) -> None:
        """Have it all on the disk.

        Raises:
            LiveError: The disk is full or gone.
        """
        if not self._ended:
            self._write()
        self._file.sync()

    def close(self) -> None:
        """Close it; a second call does nothing."""
        self._file.close()

    def _append(self, text: str) -> None:
        if not self._ended:
            self._waiting.append(text.encode())
            self._waiting_bytes += len(self._waiting[-1])
            if self._refused is None:
                self._write()
            elif self._waiting_bytes > _WAITING:
                self._end()
        if self._refused is not None:
            raise self._refused

    def _write(self) -> None:
        try:
            self._file.append(b"".join(self._waiting))
        except LiveError as error:
            self._refused = error
            raise
        self._waiting, self._waiting_bytes, self._refused = [], 0, None

    def _end(self) -> None:
        """Write no line any more: a later one would look as if it followed the last one that was written."""
        self._waiting, self._waiting_bytes, self._ended = [], 0, True
        self._refused = LiveError(
            f"{self._file.path}: could not be written for too long and ends here; what is recorded from now on has no "
            "times. Stop, make room, and record into another folder."
        )


def header_text(header: SideCarHeader) -> str:
    """The first lines of a side-car."""
    return note_text("recording", asdict(header)) + ",".join(COLUMNS) + "\n"


def note_text(kind: str, value: object) -> str:
    """A line of a side-car that is no frame's."""
    return f"# {json.dumps({kind: value})}\n"


def read_header(path: Path) -> SideCarHeader:
    """What was recorded.

    Raises:
        LiveError: The file is not there or is no side-car.
    """
    try:
        with path.open(encoding="utf-8") as file:
            note = json.loads(file.readline().removeprefix("#"))["recording"]
        return parse(SideCarHeader, note, where=f"{path}: recording")
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise LiveError(
            f"{path}: is no recording of this version of rigpose ({error}); name a folder that it recorded into."
        ) from error


def read_notes(path: Path) -> Iterator[tuple[str, Any]]:
    """What happened, in order: kind and value."""
    for line in _whole_lines(path):
        if line.startswith("#"):
            yield from convert(dict[str, Any], json.loads(line[1:]), where=str(path)).items()


def read_lines(path: Path) -> Iterator[FrameLine]:
    """The frames, in order; a last line that is not whole is left out.

    Raises:
        LiveError: Another line is not whole: something else has changed the file.
    """
    for place, line in enumerate(_whole_lines(path), start=1):
        if line.startswith(("#", COLUMNS[0])):
            continue
        try:
            yield FrameLine.from_text(line)
        except ValueError as error:
            raise LiveError(
                f"{path}: line {place} is not that of a frame; take the file as it was recorded."
            ) from error


def _whole_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            yield line
