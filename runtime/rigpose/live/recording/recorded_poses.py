"""What was found in a live run, as it came: append-only, safe against a crash at any byte.

The file is one JSON line that says what a record holds, then one record per inferred frame: its head (row, number of
the frame, times, number of animals, checksum) and its animals as float32. A record that is not whole, and all after it,
is passed over.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rigpose.arrays import Array
from rigpose.errors import ConfigError
from rigpose.files.pose_layout import PoseLayout
from rigpose.live.faults import LiveError
from rigpose.live.live_pose import LivePose
from rigpose.live.recording.append_only import AppendOnlyFile
from rigpose.poses import Poses
from rigpose.schema import parse

_FACTS = struct.Struct("<qqdddII")  # row, number, exposed, found, lead; animals, bytes of triggers
_CHECKSUM = struct.Struct("<I")
_HEAD = _FACTS.size + _CHECKSUM.size
_LONGEST_HEADER = 1 << 20
_MOST_ANIMALS = 1 << 16
_MOST_TRIGGER_BYTES = 1 << 16


@dataclass(frozen=True)
class PoseRecord:
    """One inferred frame. Times are in seconds, by ``rigpose.live.clock``.

    Attributes:
        row: Counted from 0.
        number: The camera's, of the frame.
        exposed: When it was exposed.
        found: When its poses were there.
        poses: Its animals [frame px].
        ids: (N,) what each animal keeps from frame to frame; -1 for nothing.
        predicted: The same animals ``lead`` after ``exposed``; none where nothing predicted.
        lead: [s].
        triggers: Those rules that held.
    """

    row: int
    number: int
    exposed: float
    found: float
    poses: Poses
    ids: Array
    predicted: Poses | None
    lead: float
    triggers: tuple[str, ...]


class PoseLog:
    """A new file of poses, open for more.

    Attributes:
        rows: Frames in it.

    Raises:
        LiveError: It exists already, or cannot be made.
    """

    def __init__(self, path: Path, layout: PoseLayout) -> None:
        self.rows, self._layout = 0, layout
        self._file = AppendOnlyFile(path)
        self._file.append(json.dumps({"version": 1, "layout": asdict(layout)}).encode() + b"\n")

    def append(self, pose: LivePose) -> None:
        """Write the poses of a frame; they are the operating system's when this returns.

        Raises:
            LiveError: The disk is full or gone; what was written before is whole.
        """
        self._file.append(_packed(pose, self.rows, self._layout))
        self.rows += 1

    def sync(self) -> None:
        """Have it all on the disk.

        Raises:
            LiveError: The disk is full or gone.
        """
        self._file.sync()

    def close(self) -> None:
        """Close it; a second call does nothing."""
        self._file.close()


def read_poses(path: Path) -> Iterator[PoseRecord]:
    """The poses, in order, up to the first record that is not whole.

    Raises:
        LiveError: The file is not there or is none of poses.
    """
    try:
        with path.open("rb") as file:
            layout = _layout_of(path, file)
            row = 0
            while (record := _read(file, layout, row)) is not None:
                yield record
                row += 1
    except OSError as error:
        raise LiveError(f"{path}: cannot be read ({error.strerror}); name the folder of a recording.") from error


def _layout_of(path: Path, file: BinaryIO) -> PoseLayout:
    try:
        return parse(PoseLayout, json.loads(file.readline(_LONGEST_HEADER))["layout"], where=f"{path}: layout")
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise LiveError(
            f"{path}: holds no poses of this version of rigpose; take the file as it was recorded."
        ) from error


def _packed(pose: LivePose, row: int, layout: PoseLayout) -> bytes:
    animals = len(pose.poses)
    body = np.asarray(pose.ids, "<i4").tobytes() + layout.pack(_fitted(pose.poses, layout))
    lead = math.nan
    if pose.predicted is not None:
        if len(pose.predicted) != animals:
            raise LiveError(
                f"{pose.frame.camera}: {len(pose.predicted)} animals are predicted and {animals} were found; a "
                "predictor has to keep their number."
            )
        lead = pose.lead
        body += pose.predicted.to_array().astype("<f4").tobytes()
    triggers = "\n".join(name for name, holds in pose.triggers.items() if holds).encode()
    body += triggers
    facts = _FACTS.pack(row, pose.frame.number, pose.stamps.exposed, pose.stamps.found, lead, animals, len(triggers))
    return facts + _CHECKSUM.pack(zlib.crc32(facts + body)) + body


def _read(file: BinaryIO, layout: PoseLayout, row: int) -> PoseRecord | None:
    head = file.read(_HEAD)
    if len(head) < _HEAD:
        return None
    facts, (checksum,) = head[: _FACTS.size], _CHECKSUM.unpack(head[_FACTS.size :])
    found_row, number, exposed, found, lead, animals, trigger_bytes = _FACTS.unpack(facts)
    if found_row != row or animals > _MOST_ANIMALS or trigger_bytes > _MOST_TRIGGER_BYTES:
        return None
    keypoints = len(layout.keypoints)
    sizes = (
        4 * animals,
        4 * (layout.frame_values + animals * layout.animal_values),
        0 if math.isnan(lead) else 12 * animals * keypoints,
        trigger_bytes,
    )
    body = file.read(sum(sizes))
    if len(body) < sum(sizes) or zlib.crc32(facts + body) != checksum:
        return None
    ends = np.cumsum((0, *sizes))
    ids, poses, predicted, triggers = (body[a:b] for a, b in pairwise(ends))
    return PoseRecord(
        row=row,
        number=number,
        exposed=exposed,
        found=found,
        poses=layout.unpack(poses, animals),
        ids=np.frombuffer(ids, "<i4"),
        predicted=None
        if math.isnan(lead)
        else Poses.from_array(np.frombuffer(predicted, "<f4").reshape(animals, keypoints, 3)),
        lead=0.0 if math.isnan(lead) else lead,
        triggers=tuple(triggers.decode().split("\n")) if triggers else (),
    )


def _fitted(poses: Poses, layout: PoseLayout) -> Poses:
    """The same animals with all that the layout has and nothing more.

    Which numbers there are beside x, y and score depends on where a frame was looked at: one that is looked at around
    the last poses has no boxes of a detector.
    """
    count, told = len(poses), len(layout.told_apart)
    nothing = np.full(count, np.nan, np.float32)
    score, identity, likeness, boxes = poses.animal_score, poses.identity, poses.identity_scores, poses.boxes
    return replace(
        poses,
        animal_score=(nothing if score is None else score) if layout.animal_score else None,
        identity=(np.full(count, -1) if identity is None else identity) if told else None,
        identity_scores=(np.zeros((count, poses.keypoints, told), np.float32) if likeness is None else likeness)
        if told
        else None,
        boxes=(np.full((count, 4), np.nan, np.float32) if boxes is None else boxes) if layout.boxes else None,
        unique=poses.unique if layout.unique else None,
    )
