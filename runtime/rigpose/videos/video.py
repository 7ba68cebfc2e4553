"""Video files -> frames in order: the only place that decodes video.

Frames are decoded one after the other and never sought: a seek in a video with B-frames lands on
the wrong one. OpenCV passes over a damaged frame without a word; it shows only as a gap in the
time stamps. ``lost_frames`` finds such gaps, so that row i of a result stays frame i of the
camera.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cv2

from rigpose.arrays import Frames
from rigpose.errors import ConfigError, MediaError

SUFFIXES = frozenset({".avi", ".mp4", ".mov", ".mpeg", ".mpg", ".mpv", ".mkv", ".flv", ".qt", ".yuv"})
MOST_DAMAGED_IN_A_ROW = 250
"""So many failures in a row end a video whose container promises more."""


@dataclass(frozen=True)
class Crop:
    """The part of every frame that is analysed, ``x1 <= x < x2``, ``y1 <= y < y2`` [frame px]."""

    x1: int
    x2: int
    y1: int
    y2: int

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Read ``x1,x2,y1,y2``, the order of DeepLabCut's cropping parameters."""
        parts = text.split(",")
        if len(parts) != 4 or not all(part.strip().isdigit() for part in parts):
            raise ConfigError(f"crop {text!r}: expected four whole numbers x1,x2,y1,y2, such as 0,320,0,240.")
        return cls(*map(int, parts))

    def check_inside(self, path: Path, *, height: int, width: int) -> None:
        """Raise ``ConfigError`` unless the crop is a part of frames of this size."""
        if not (0 <= self.x1 < self.x2 <= width and 0 <= self.y1 < self.y2 <= height):
            raise ConfigError(
                f"{path}: the crop {self} leaves the frame of {width}x{height} px or is empty; "
                "give x1,x2,y1,y2 inside it."
            )

    def __str__(self) -> str:
        return f"{self.x1},{self.x2},{self.y1},{self.y2}"


@dataclass(frozen=True)
class VideoFrame:
    """One decoded frame.

    Attributes:
        index: Its number among the decoded frames, from 0.
        time: Its presentation time [ms].
        image: (H, W, 3) uint8 BGR, cropped; a new array for every frame.
    """

    index: int
    time: float
    image: Frames


class Video:
    """An open video, read once from the front.

    Attributes:
        path: The file.
        frames_reported: What the container says, or none if it says nothing; the decoder has the
            last word.
        frames_per_second: What the container says; 0 if it says nothing.
        height: Of the frames, after cropping [frame px].
        width: As ``height``.
        full_size: (height, width) before cropping [frame px].
    """

    def __init__(self, path: Path, *, crop: Crop | None = None) -> None:
        if not path.is_file():
            raise MediaError(f"{path}: there is no such video file; check the name.")
        self.path, self.crop = path, crop
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise MediaError(
                f"{path}: OpenCV cannot open this as a video (cut short, or no video at all); "
                "try to play it, or convert it with ffmpeg."
            )
        reported = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.frames_reported = reported if reported > 0 else None
        self.frames_per_second = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not self._grab_next(decoded=0):
            raise MediaError(f"{path}: not one frame can be decoded; try to play it or convert it with ffmpeg.")
        self.full_size = self._retrieve(0).shape[:2]
        self.height, self.width = self.full_size
        if crop is not None:
            crop.check_inside(path, height=self.height, width=self.width)
            self.height, self.width = crop.y2 - crop.y1, crop.x2 - crop.x1

    def frames(self, *, start: int = 0) -> Iterator[VideoFrame]:
        """Every decodable frame from number ``start`` on, in order; usable once.

        Frames before ``start`` are decoded and passed over.
        """
        index, grabbed = 0, True
        while grabbed:
            if index >= start:
                # FFmpeg's time stamp of the frame that was grabbed last; the first one has 0.
                time = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
                image = self._retrieve(index)
                if image.shape[:2] != self.full_size:
                    raise MediaError(
                        f"{self.path}: frame {index} is {_size(image.shape)} where the first is "
                        f"{_size(self.full_size)} px; convert the video to one size."
                    )
                yield VideoFrame(index, time, self._cropped(image))
            index += 1
            grabbed = self._grab_next(decoded=index)

    def close(self) -> None:
        """Let go of the file."""
        self._capture.release()

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _grab_next(self, *, decoded: int) -> bool:
        """Decode on, past damaged frames while the container promises more."""
        promised = (self.frames_reported or 0) - decoded
        attempts = 1 + max(0, min(promised, MOST_DAMAGED_IN_A_ROW))
        return any(self._capture.grab() for _ in range(attempts))

    def _retrieve(self, index: int) -> Frames:
        whole, image = self._capture.retrieve()
        if not whole:
            raise MediaError(
                f"{self.path}: frame {index} was decoded but not converted to colour; convert the video with ffmpeg."
            )
        return image  # type: ignore[return-value]

    def _cropped(self, image: Frames) -> Frames:
        if self.crop is None:
            return image
        return image[self.crop.y1 : self.crop.y2, self.crop.x1 : self.crop.x2]


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def lost_frames(times: Iterable[float], *, frames_per_second: float) -> tuple[int, ...] | None:
    """Camera frames that gaps between the time stamps prove lost; none if the rate is not constant.

    Args:
        times: Presentation times of the decoded frames [ms].
        frames_per_second: The constant rate that is supposed.
    """
    if frames_per_second <= 0:
        return None
    period = 1000 / frames_per_second
    lost: list[int] = []
    camera, before = 0, -period
    for time in times:
        periods = (time - before) / period
        steps = round(periods)
        # A quarter of a period forgives containers that round to milliseconds up to 250 frames
        # per second.
        if abs(periods - steps) > 0.25 or not 1 <= steps <= MOST_DAMAGED_IN_A_ROW + 1:
            return None
        lost.extend(range(camera, camera + steps - 1))
        camera, before = camera + steps, time
    return tuple(lost)
