"""Video files -> frames in order, cropped, with their numbers and times.

A decoder may pass over a damaged frame without a word; it shows only as a gap in the time stamps. ``lost_frames`` finds
such gaps, so that row i of a result stays frame i of the camera.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rigpose.arrays import Frames
from rigpose.decoding.decoder import open_decoder
from rigpose.errors import ConfigError, MediaError

SUFFIXES = frozenset({".avi", ".mp4", ".mov", ".mpeg", ".mpg", ".mpv", ".mkv", ".flv", ".qt", ".yuv"})
MOST_LOST_IN_A_ROW = 250
"""A longer gap is a camera that was stopped, and no damage."""


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
        decoder: The name of what decodes it.
        frames_reported: What the container says, or none if it says nothing; the decoder has the
            last word.
        frames_per_second: What the container says; 0 if it says nothing.
        height: Of the frames, after cropping [frame px].
        width: As ``height``.
        full_size: (height, width) before cropping [frame px].
    """

    def __init__(
        self, path: Path, *, crop: Crop | None = None, decoder: str = "auto", threads: int | None = None
    ) -> None:
        """Open a video.

        Args:
            path: The file.
            crop: The part of its frames that is wanted.
            decoder: One of ``rigpose.decoding.decoder.NAMES``.
            threads: How many decode; none for the default.

        Raises:
            BackendError: The GPU that was asked for cannot decode.
            ConfigError: The crop leaves the frame, or there is no such decoder.
            MediaError: It is no video, or not one frame can be decoded.
            MissingExtraError: The decoder is not installed.
        """
        if not path.is_file():
            raise MediaError(f"{path}: there is no such video file; check the name.")
        self.path, self.crop = path, crop
        self._decoder = open_decoder(path, decoder, threads)
        self.decoder = self._decoder.name
        self.frames_reported = self._decoder.frames_reported
        self.frames_per_second = self._decoder.frames_per_second
        self.full_size = self._decoder.retrieve().shape[:2]
        self.height, self.width = self.full_size
        if crop is not None:
            crop.check_inside(path, height=self.height, width=self.width)
            self.height, self.width = crop.y2 - crop.y1, crop.x2 - crop.x1
        self._stopped = False

    def frames(self, *, start: int = 0, stop: int | None = None, sought: bool = False) -> Iterator[VideoFrame]:
        """Every decodable frame from number ``start`` to before ``stop``, in order; usable once.

        Args:
            start: Frames before it are decoded and passed over.
            stop: None for all.
            sought: Frames before ``start`` are not decoded; what comes first may then be another frame, as ``Decoder``
                says, and must be checked.
        """
        index, more = 0, True
        if sought and start > 0:
            index, more = start, self._decoder.seek(start)
        while more and not self._stopped and (stop is None or index < stop):
            if index >= start:
                image = self._decoder.retrieve()
                if image.shape[:2] != self.full_size:
                    raise MediaError(
                        f"{self.path}: frame {index} is {_size(image.shape)} where the first is "
                        f"{_size(self.full_size)} px; convert the video to one size."
                    )
                yield VideoFrame(index, self._decoder.time, self._cropped(image))
            index += 1
            more = self._decoder.advance()

    def stop(self) -> None:
        """End ``frames`` before its next frame, even where it passes over many; from any thread."""
        self._stopped = True

    def close(self) -> None:
        """Let go of the file."""
        self._decoder.close()

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

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
        if abs(periods - steps) > 0.25 or not 1 <= steps <= MOST_LOST_IN_A_ROW + 1:
            return None
        lost.extend(range(camera, camera + steps - 1))
        camera, before = camera + steps, time
    return tuple(lost)
