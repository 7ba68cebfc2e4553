"""The written form of one camera's frames: a line of the side-car and a picture of the video for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rigpose.arrays import Frames
from rigpose.live.clock import Clock
from rigpose.live.faults import LiveError
from rigpose.live.recording.codecs import Codec
from rigpose.live.recording.recording_files import RecordingFiles
from rigpose.live.recording.side_car import NO_ROW, FrameLine, SideCar, SideCarHeader
from rigpose.live.recording.video_writer import VideoWriter
from rigpose.live.recording.waiting_frames import DroppedFrames, WaitingFrame


@dataclass(frozen=True)
class VideoSettings:
    """How the pictures are written.

    Attributes:
        codec: How to compress.
        grey: Whether one channel is enough.
        threads: How many encode.
    """

    codec: Codec
    grey: bool = False
    threads: int = 1


class FrameLog:
    """A new log, open for more frames. An error of a part ends or delays that part alone.

    Attributes:
        recorded: Frames that were given to the encoder.
        no_picture: Frames of which there is only a line.
        pictures_wanted: Whether the video is, or can be, written on.
        faults: A sentence for each thing that went wrong, the oldest first.
        trouble: The one of them that still is: the video has ended, or the side-car cannot be written; none where all
            is well.

    Args:
        files: Where.
        header: What is recorded.
        video: How the pictures are written; none for none.
        clock: The run's.

    Raises:
        LiveError: The side-car cannot be made.
    """

    def __init__(self, files: RecordingFiles, header: SideCarHeader, video: VideoSettings | None, clock: Clock) -> None:
        self._path: Path = files.video
        self._frames_per_second, self._settings, self._clock = header.frames_per_second, video, clock
        self._side_car = SideCar(files.side_car, header)
        self._video: VideoWriter | None = None
        self._video_trouble: str | None = None
        self._side_car_trouble: str | None = None
        self.recorded = self.no_picture = 0
        self.pictures_wanted = video is not None
        self.faults: list[str] = []
        self.trouble: str | None = None
        self._wall = self._wall_clock()

    def write(self, frame: WaitingFrame) -> None:
        """Append a frame."""
        row = self.recorded + self.no_picture
        image = frame.image if self.pictures_wanted else None
        # Before its picture, so that every frame of the video has a line, whenever the process ends.
        self._add(
            FrameLine(
                row=row,
                video_index=NO_ROW if image is None else row,
                number=frame.number,
                device_time=frame.device_time,
                exposed=frame.exposed,
                arrived=frame.arrived,
                wall_clock=frame.exposed + self._wall,
                pose_row=None,
                state="no picture" if image is None else "recorded",
            )
        )
        if image is not None and self._encode(image, frame.exposed):
            self.recorded += 1
        else:
            self.no_picture += 1
        self.trouble = self._video_trouble or self._side_car_trouble

    def list_dropped(self, frames: DroppedFrames) -> None:
        """Append the numbers of frames that are not recorded."""
        for number in range(frames.first, frames.last + 1):
            self._add(FrameLine.dropped(number))

    def sync(self) -> None:
        """Have all of it on the disk."""
        self._wall = self._wall_clock()
        if self._video is not None:
            self._guard(self._video.sync)
        self._guard(self._side_car.sync)

    def close(self) -> None:
        """Write what is left, and close the files."""
        self._end_video()
        for fault in tuple(self.faults):
            self._guard(lambda fault=fault: self._side_car.note("fault", fault))
        self._guard(lambda: self._side_car.note("end", {"whole": not self.faults}))
        self._guard(self._side_car.sync)
        self._side_car.close()

    def _encode(self, image: Frames, exposed: float) -> bool:
        """Write a frame of the video, or end it; whether it was written."""
        try:
            if self._video is None:
                self._video = self._begin_video(image)
            self._video.write(image, exposed)
        except LiveError as error:
            self._fault(error)
        except Exception as error:  # noqa: BLE001  # whatever an encoder does, times and poses go on
            self._fault(f"{self._path}: the video ends here ({type(error).__name__}: {error}); try another codec.")
        else:
            return True
        self._video_trouble = self.faults[-1]
        self._end_video()
        return False

    def _begin_video(self, image: Frames) -> VideoWriter:
        assert self._settings is not None
        height, width = image.shape[:2]
        return VideoWriter(
            self._path,
            self._settings.codec,
            size=(height, width),
            grey=self._settings.grey,
            frames_per_second=self._frames_per_second,
            threads=self._settings.threads,
        )

    def _end_video(self) -> None:
        video, self._video, self.pictures_wanted = self._video, None, False
        if video is not None:
            self._guard(video.close)

    def _add(self, line: FrameLine) -> None:
        self._side_car_trouble = self._guard(lambda: self._side_car.add(line))

    def _guard(self, step: Callable[[], None]) -> str | None:
        """Do it; what went wrong, if something did."""
        try:
            step()
        except LiveError as error:
            self._fault(error)
            return str(error)
        return None

    def _fault(self, error: LiveError | str) -> None:
        """Keep what went wrong; the same again is nothing new."""
        if str(error) not in self.faults:
            self.faults.append(str(error))

    def _wall_clock(self) -> float:
        """What to add to the run's clock for Unix time [s]; of some tries, the one that was interrupted least."""
        tries = []
        for _ in range(3):
            before, wall, after = self._clock(), time.time(), self._clock()
            tries.append((after - before, wall - (before + after) / 2))
        return min(tries)[1]
