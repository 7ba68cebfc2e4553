"""Reading a recording: what there was when, for back-tests and reports. It may be finished or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.live.faults import LiveError
from rigpose.live.recording.finish import has_several_animals, joined, placed
from rigpose.live.recording.recorded_poses import PoseRecord
from rigpose.live.recording.recording_files import RecordingFiles
from rigpose.live.recording.side_car import NO_ROW, FrameLine, SideCarHeader, read_header


@dataclass(frozen=True, eq=False)
class Recording:
    """One camera's recording, a row per recorded frame. Times are in seconds, by ``rigpose.live.clock``.

    Attributes:
        files: Where it lies.
        header: What was recorded: names of keypoints and animals, scorer, checksum of the bundle and the like.
        number: (F,) the camera's, of each frame; a gap is a frame that was dropped by somebody.
        exposed: (F,) when it was exposed.
        arrived: (F,) when it was handed over.
        device_time: (F,) by the camera's clock; NaN where it has none.
        wall_clock: (F,) ``exposed`` as Unix time.
        found: (F,) when its poses were there; NaN where it was not inferred.
        dropped: (D,) numbers of the frames that the recorder had no room for.
    """

    files: RecordingFiles
    header: SideCarHeader
    number: Array = field(repr=False)
    exposed: Floats = field(repr=False)
    arrived: Floats = field(repr=False)
    device_time: Floats = field(repr=False)
    wall_clock: Floats = field(repr=False)
    found: Floats = field(repr=False)
    dropped: Array = field(repr=False)

    def __len__(self) -> int:
        return len(self.number)

    @property
    def inferred(self) -> Array:
        """(F,) whether its poses are known."""
        return np.isfinite(self.found)

    @property
    def video(self) -> Path | None:
        """The pictures; its frame i is row i. None where none were kept."""
        return self.files.video if self.header.keep != "poses" and self.files.video.is_file() else None

    @cached_property
    def poses(self) -> Floats:
        """(F, N, K, 3) x, y [frame px], score of each animal, in the order of ``header.individuals``, as in the table.

        NaN where there is no animal or nothing was inferred. It is read when it is first asked for.
        """
        animals, keypoints = len(self.header.individuals), len(self.header.keypoints)
        poses = np.full((len(self), animals, keypoints, 3), np.nan, np.float32)
        frames = joined(self.files, self.header)
        for row, (values, _) in zip(poses, placed(frames, self.header, rows=0), strict=False):
            if values is not None and len(values):
                size = animals * keypoints * 3
                row[:] = (values[:size] if has_several_animals(self.header) else values[0]).reshape(row.shape)
        return poses

    def records(self) -> Iterator[tuple[FrameLine, PoseRecord | None]]:
        """Everything that is known of each frame, in order, the dropped ones as well; one at a time in memory."""
        return joined(self.files, self.header)


def read_recording(folder: str | Path, camera: str | None = None) -> Recording:
    """Read the recording of a camera.

    Args:
        folder: Of the run.
        camera: Its name; none where there is only one.

    Raises:
        LiveError: There is no such recording, there are several, or it is damaged.
    """
    files, header = _choose(Path(folder), camera)
    numbers: list[int] = []
    times: list[tuple[float | None, ...]] = []
    dropped: list[int] = []
    for line, record in joined(files, header):
        if line.row == NO_ROW:
            dropped.append(line.number)
            continue
        numbers.append(line.number)
        found = None if record is None else record.found
        times.append((line.exposed, line.arrived, line.device_time, line.wall_clock, found))
    exposed, arrived, device_time, wall_clock, found = np.array(times, float).reshape(-1, 5).T
    return Recording(
        files,
        header,
        number=np.array(numbers, np.int64),
        exposed=exposed,
        arrived=arrived,
        device_time=device_time,
        wall_clock=wall_clock,
        found=found,
        dropped=np.array(dropped, np.int64),
    )


def _choose(folder: Path, camera: str | None) -> tuple[RecordingFiles, SideCarHeader]:
    there = [(files, read_header(files.side_car)) for files in RecordingFiles.all_in(folder)]
    chosen = [pair for pair in there if camera is None or pair[1].camera == camera]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(header.camera for _, header in there) or "none"
    raise LiveError(f"{folder}: has recordings of these cameras: {names}; name a folder, and a camera of it.")
