"""PyAV: FFmpeg with all its codecs, and exact time stamps.

Its colours are OpenCV's to the bit, because both ask the same part of FFmpeg for the same conversion, as far as both
packages carry the same FFmpeg.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rigpose.arrays import Frames
from rigpose.errors import MediaError, MissingExtraError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_BEFORE = 16
"""Frames by which a seek begins early: key frames are found by the order of decoding, which is not that of showing."""
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class PyavStream:
    """The video stream of a file, and what its container says of it.

    Attributes:
        stream: PyAV's.
        frames_reported: See ``Decoder``.
        frames_per_second: See ``Decoder``.
    """

    def __init__(self, path: Path, threads: int) -> None:
        try:
            import av
            from av.error import FFmpegError
        except ImportError as error:
            raise MissingExtraError(
                f'PyAV, which --decoder pyav and nvdec need, is missing ({error}); pip install "rigpose[video]".'
            ) from error
        try:
            self._container = av.open(str(path))
        except (FFmpegError, OSError) as error:
            raise MediaError(
                f"{path}: PyAV cannot open this as a video ({error.strerror}); try to play it, or convert it with "
                "ffmpeg."
            ) from error
        # A stream of a codec that FFmpeg does not know has no context.
        streams = [stream for stream in self._container.streams.video if stream.codec_context is not None]
        if not streams:
            self.close()
            raise MediaError(f"{path}: PyAV finds no video stream that it can decode; check the name.")
        self.stream = streams[0]
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = threads
        self.frames_per_second = float(self.stream.guessed_rate or 0)
        self.frames_reported = self.stream.frames or self._frames_by_duration() or None
        self._broken = FFmpegError

    def frames(self) -> Iterator[VideoFrame]:
        """Every decodable frame; what FFmpeg finds damaged is passed over."""
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except self._broken:
                # The file is cut in the middle of a packet; frames that wait for their turn are whole.
                packet = None
            with suppress(self._broken):
                yield from self.stream.codec_context.decode() if packet is None else packet.decode()
            if packet is None:
                return

    def seek(self, seconds: float) -> None:
        """Let ``frames``, called anew, begin with a key frame that is shown at this time or before."""
        base = self.stream.time_base
        if base is not None:
            stamp = int(max(0.0, seconds) / base) + (self.stream.start_time or 0)
            self._container.seek(stamp, stream=self.stream)

    def milliseconds(self, stamp: int | None) -> float | None:
        """A presentation time stamp of the stream, from the beginning of the video on [ms]."""
        if stamp is None or self.stream.time_base is None:
            return None
        return float((stamp - (self.stream.start_time or 0)) * self.stream.time_base) * 1000

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def _frames_by_duration(self) -> int:
        """As OpenCV works it out for containers that do not count their frames."""
        seconds = (self._container.duration or 0) / 1_000_000
        if seconds <= 0 and self.stream.duration and self.stream.time_base:
            seconds = float(self.stream.duration * self.stream.time_base)
        return math.floor(seconds * self.frames_per_second + 0.5)


class ToBgr:
    """Frames of a video to upright colours, with one converter for all of them."""

    def __init__(self) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._reformatter, self._interpolation = VideoReformatter(), Interpolation.BICUBIC

    def __call__(self, frame: VideoFrame, rotation: int) -> Frames:
        """(H, W, 3) uint8 BGR, turned to the left by ``rotation`` [degrees]; in memory of this frame alone."""
        # Interpolation of the colours between pixels, where the video has fewer of them than pixels, as in OpenCV.
        converted = self._reformatter.reformat(frame, format="bgr24", interpolation=self._interpolation, threads=1)
        plane = converted.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[arg-type]
        image = rows[: converted.height, : converted.width * 3].reshape(converted.height, converted.width, 3)
        turn = _TURNS.get(rotation % 360)
        return image if turn is None else cv2.rotate(image, turn)  # type: ignore[return-value]


class PyavDecoder:
    """A video that PyAV decodes.

    Attributes:
        name: ``pyav``.
        frames_reported: See ``Decoder``.
        frames_per_second: See ``Decoder``.
    """

    name = "pyav"

    def __init__(self, path: Path, threads: int) -> None:
        """Open a file.

        Args:
            path: The video.
            threads: How many decode.

        Raises:
            MediaError: It is no video, or not one frame can be decoded.
            MissingExtraError: PyAV is not installed.
        """
        self._path, self._stream = path, PyavStream(path, threads)
        self.frames_reported = self._stream.frames_reported
        self.frames_per_second = self._stream.frames_per_second
        self._frames, self._to_bgr = self._stream.frames(), ToBgr()
        self._decoded = 0
        if not self.advance():
            self.close()
            raise MediaError(f"{path}: PyAV cannot decode one frame; try to play it or convert it with ffmpeg.")

    @property
    def time(self) -> float:
        """See ``Decoder``."""
        stamp = self._frame.pts if self._frame.pts is not None else self._frame.dts
        shown = self._stream.milliseconds(stamp)
        if shown is not None:
            return shown
        return 1000 * (self._decoded - 1) / self.frames_per_second if self.frames_per_second else 0.0

    def retrieve(self) -> Frames:
        """See ``Decoder``."""
        try:
            return self._to_bgr(self._frame, self._frame.rotation)
        except (ValueError, OSError) as error:
            raise MediaError(
                f"{self._path}: frame {self._decoded - 1} was decoded but not converted to colour ({error}); convert "
                "the video with ffmpeg."
            ) from error

    def advance(self) -> bool:
        """See ``Decoder``."""
        frame = next(self._frames, None)
        if frame is None:
            return False
        self._frame = frame
        self._decoded += 1
        return True

    def seek(self, index: int) -> bool:
        """See ``Decoder``."""
        if not self.frames_per_second:
            return False
        self._stream.seek((index - _BEFORE) / self.frames_per_second)
        self._frames = self._stream.frames()
        # Half a frame early is nearer to this frame than to the one before.
        begins = 1000 * (index - 0.5) / self.frames_per_second
        found = self.advance()
        while found and self.time < begins:
            found = self.advance()
        self._decoded = index + found
        return found

    def close(self) -> None:
        """See ``Decoder``."""
        self._stream.close()
