"""Finished frames on disk while an analysis runs: append-only, safe against a crash at any byte.

The file is one JSON line that says of what it is the journal, then one record per frame: its head
(index, presentation time, number of animals, checksum) and its poses as float32. A record that is
not whole, and all after it, is cut off when the journal is opened again.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from rigpose.decoding.decoder import NAMES
from rigpose.errors import ResultError
from rigpose.files.pose_layout import PoseLayout
from rigpose.poses import Poses

_HEAD = struct.Struct("<qdiI")
_LONGEST_HEADER = 1 << 20
_MOST_ANIMALS = 1 << 16


@dataclass(frozen=True)
class JournalHeader:
    """Everything that must be the same for frames of two runs to belong together.

    Attributes:
        model: Checksum of the bundle.
        device: Where it runs; devices round differently.
        video: File name.
        video_bytes: Its size.
        video_modified: Its modification time [ns].
        crop: ``x1,x2,y1,y2``, or none.
        batch: Frames per batch; a graph may round differently in another batch size.
        layout: What a record holds.
        settings: What was chosen at run time, in types that JSON has.
        decoder: What decodes the video; decoders part ways at a damaged frame.
        version: Of this file format.
    """

    model: str
    device: str
    video: str
    video_bytes: int
    video_modified: int
    crop: str | None
    batch: int
    layout: PoseLayout
    settings: Mapping[str, Any] = field(default_factory=dict)
    decoder: str = "opencv"
    version: int = 3

    def to_line(self) -> bytes:
        """The first line of the file."""
        return json.dumps(asdict(self), sort_keys=True).encode() + b"\n"


def decoder_of(path: Path) -> str | None:
    """The decoder that the journal at ``path`` was begun with, if there is one that can be read."""
    try:
        with path.open("rb") as file:
            name = json.loads(file.readline(_LONGEST_HEADER))["decoder"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if name in NAMES else None


@dataclass(frozen=True)
class FrameRecord:
    """One frame: number, presentation time [ms], and its animals [frame px]."""

    index: int
    time: float
    poses: Poses


def batch_records(first: int, times: Iterable[float], poses: Iterable[Poses]) -> list[FrameRecord]:
    """The frames ``first``, ``first + 1``, ... of a batch, with their presentation times [ms] and their animals."""
    return [FrameRecord(first + i, at, found) for i, (at, found) in enumerate(zip(times, poses, strict=True))]


class Journal:
    """The journal of one analysis, open for more frames.

    Attributes:
        path: The file.
        frames: Whole frames it holds.
        resumed_at: Frames that it held when it was opened.
        discarded: Whether a file with another header was there, whose frames are gone.
    """

    def __init__(self, path: Path, header: JournalHeader, *, ended: bool = False) -> None:
        """Continue the journal at ``path`` if it has this header, else start it anew.

        It continues at a whole multiple of the batch size, so that batches are composed as in a
        run that was never interrupted, and with them the rounding of the graph.

        Args:
            path: The file.
            header: Of what it is the journal.
            ended: The video's last frame is in it, so that a last batch that is not full is kept, too, and a journal
                with another header is left alone.

        Raises:
            ResultError: It cannot be written, or it has ended and is another one.
        """
        self.path, self._layout = path, header.layout
        line = header.to_line()
        self._begin = len(line)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what append has written survives the process, whatever ends it.
            self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
            found = self._file.readline(_LONGEST_HEADER)
            self.discarded = bool(found) and found != line
            if ended and found != line:
                self._file.close()
                raise ResultError(f"{path}: another analysis has taken this journal's place; run the command again.")
            if found != line:
                self._restart(line)
            self.frames, end = self._whole_batches(1 if ended else header.batch)
            self._file.truncate(end)
            self._file.seek(end)
        except OSError as error:
            raise _unwritable(path, error) from error
        self.resumed_at = self.frames

    def append(self, records: Sequence[FrameRecord]) -> None:
        """Write the next frames; they are the operating system's when this returns."""
        self.append_packed(packed(self._layout, records), len(records))

    def append_packed(self, data: bytes, frames: int) -> None:
        """Write the next frames as ``packed`` made them, perhaps on another machine."""
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self.frames += frames

    def records(self) -> Iterator[FrameRecord]:
        """Every frame, in order, read from the file one by one."""
        with self.path.open("rb") as file:
            file.seek(self._begin)
            for _ in range(self.frames):
                index, time, count, _checksum = _HEAD.unpack(file.read(_HEAD.size))
                yield FrameRecord(index, time, self._layout.unpack(file.read(self._bytes_of(count)), count))

    def close(self) -> None:
        """Close the file and keep it."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the file: the result is whole."""
        self.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _restart(self, line: bytes) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(line)

    def _whole_batches(self, batch: int) -> tuple[int, int]:
        """Frames in the whole batches before the first torn record, and where they end."""
        frames, end = 0, self._begin
        for count, position in enumerate(self._record_ends(), start=1):
            if count % batch == 0:
                frames, end = count, position
        return frames, end

    def _record_ends(self) -> Iterator[int]:
        """File positions after each whole record, up to the first that is torn."""
        with self.path.open("rb") as file:
            file.seek(self._begin)
            expected, position = 0, self._begin
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                index, time, count, checksum = _HEAD.unpack(head)
                if index != expected or not 0 <= count < _MOST_ANIMALS:
                    return
                body = file.read(self._bytes_of(count))
                if len(body) != self._bytes_of(count) or _checksum(time, body) != checksum:
                    return
                expected += 1
                position += len(head) + len(body)
                yield position

    def _bytes_of(self, animals: int) -> int:
        return 4 * (self._layout.frame_values + animals * self._layout.animal_values)


def packed(layout: PoseLayout, records: Iterable[FrameRecord]) -> bytes:
    """Frames as a journal of this layout has them."""
    return b"".join(_pack(layout, record) for record in records)


def _pack(layout: PoseLayout, record: FrameRecord) -> bytes:
    body = layout.pack(record.poses)
    return _HEAD.pack(record.index, record.time, len(record.poses), _checksum(record.time, body)) + body


def _checksum(time: float, body: bytes) -> int:
    return zlib.crc32(struct.pack("<d", time) + body)


def _unwritable(path: Path, error: OSError) -> ResultError:
    return ResultError(
        f"{path}: cannot be written ({os.strerror(error.errno or 0)}); make room or choose another "
        "--destination, then run the same command again to continue."
    )
