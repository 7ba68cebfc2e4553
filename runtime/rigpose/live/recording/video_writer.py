"""A video that can be played up to its last half second, whatever ends its writing.

It is an MP4 file of fragments that are whole in themselves.

The writer belongs in a thread of the process that infers. All its work is FFmpeg's, without Python's lock, but for 30
microseconds a frame; a worker in Python beside it became no slower than beside an encoder in a process of its own (p99
of 0.5 ms of work, 100 frames per second of 640x480 px on the same core: 0.8 and 1.7 ms with a thread, 0.8 and 2.2 ms
with a process, in two rounds each), which would need every picture copied. What it does need is time on some core.

Its thread has the priority of every other. In Linux's class for left-over time (SCHED_IDLE) it disturbed inference no
longer where cores were free now and then (p99 with it over without it, on two cores: 1.0, and 1.3 to 1.5 as it is).
But a thread of Python cannot have that: where other processes kept both cores busy it was stopped while it held
Python's lock, and no frame was captured or inferred for 19 s.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from rigpose.arrays import Frames
from rigpose.errors import MissingExtraError
from rigpose.live.faults import LiveError
from rigpose.live.recording.codecs import Codec

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

TICKS = 90_000
"""Of the time stamps, per second; customary for video, and 11 microseconds are finer than any exposure is known."""
FRAGMENT = 0.5
"""Length of a fragment [s]; it is on its way to the disk when the next frame after its end comes."""
KEY_FRAMES = 1.0
"""At least this often a frame stands by itself, so that a player can begin there [s]."""
_FRAGMENTED = {
    # Without an index of the whole at the end, which would be in memory until then: 70 bytes a frame.
    "movflags": "empty_moov+default_base_moof",
    "frag_duration": str(round(FRAGMENT * 1e6)),
    "flush_packets": "1",
}
_NOMINAL_RATE = 30


class VideoWriter:
    """A new video, open for more frames.

    Args:
        path: A file that is not there yet, or is empty.
        codec: How to compress.
        size: (height, width) of every frame [px].
        grey: Whether the three channels are alike, so that one is enough.
        frames_per_second: What the file says of its speed; the frames' own times are exact, whatever it is.
        threads: How many encode.

    Raises:
        LiveError: The codec does not work here, or the file cannot be written.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(
        self,
        path: Path,
        codec: Codec,
        *,
        size: tuple[int, int],
        grey: bool = False,
        frames_per_second: float | None = None,
        threads: int = 1,
    ) -> None:
        check_encoder(codec)
        import av
        from av.video.reformatter import ColorRange, VideoReformatter

        self._path, self._size, self._grey = path, size, grey
        height, width = size
        is_odd = width % 2 or height % 2
        self._pixels = codec.odd if codec.odd is not None and is_odd else codec.pixels
        self._reformatter = VideoReformatter()
        self._first: float | None = None
        self._last_stamp, self._next_key = -1, 0
        with self._explained():
            self._container = av.open(str(path), "w", format="mp4", options=_FRAGMENTED)
            rate = Fraction(frames_per_second or _NOMINAL_RATE).limit_denominator(1000)
            stream = self._container.add_stream(codec.encoder, rate=rate, options=dict(codec.options))
            self._stream = cast("VideoStream", stream)
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, self._pixels
            context = self._stream.codec_context
            context.time_base, context.thread_count = Fraction(1, TICKS), threads
            context.gop_size = 10_000  # key frames come by time, below
            if self._pixels == "gray":
                context.color_range = ColorRange.JPEG  # black is 0 and white is 255
            self._container.start_encoding()
            self._for_sync = os.open(path, os.O_RDWR)

    def write(self, image: Frames, exposed: float) -> None:
        """Append a frame.

        Args:
            image: (H, W, 3) uint8 BGR.
            exposed: When it was exposed [s]. A frame that is not later than the one before is put right after it.

        Raises:
            LiveError: The disk is full, or the frame has another size; this video is at its end.
        """
        from av.video.frame import PictureType

        if image.shape[:2] != self._size:
            raise LiveError(
                f"{self._path}: a frame of {image.shape[1]}x{image.shape[0]} px came after frames of "
                f"{self._size[1]}x{self._size[0]} px; the video ends here. Leave the "
                "camera's size as it is during a run."
            )
        if self._first is None:
            self._first = exposed
        stamp = max(self._last_stamp + 1, round((exposed - self._first) * TICKS))
        with self._explained():
            frame = self._frame(image)
            frame.pts, frame.time_base = stamp, Fraction(1, TICKS)
            if stamp >= self._next_key:
                frame.pict_type = PictureType.I
                self._next_key = stamp + round(KEY_FRAMES * TICKS)
            self._container.mux(self._stream.encode(frame))
        self._last_stamp = stamp

    def sync(self) -> None:
        """Have the fragments that are whole on the disk.

        Raises:
            LiveError: The disk is full or gone.
        """
        with self._explained():
            os.fsync(self._for_sync)

    def close(self) -> None:
        """Write what is left, and let go of the file even then if it cannot be written.

        Raises:
            LiveError: The disk is full or gone.
        """
        try:
            with self._explained():
                self._container.mux(self._stream.encode(None))
                self._container.close()
                os.fsync(self._for_sync)
        finally:
            with suppress(Exception):
                self._container.close()
            os.close(self._for_sync)

    def _frame(self, image: Frames) -> VideoFrame:
        from av.video.frame import VideoFrame

        # The frame borrows the picture's memory; converting it makes a copy.
        if self._grey:
            frame = VideoFrame.from_numpy_buffer(np.asarray(cv2.extractChannel(image, 0), np.uint8), "gray")
        else:
            frame = VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), "bgr24")
        return self._reformatter.reformat(frame, format=self._pixels, threads=1)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from av.error import FFmpegError

        try:
            yield
        except (FFmpegError, OSError) as error:
            raise LiveError(
                f"{self._path}: the video cannot be written ({error.strerror}) and ends here; make room, or record "
                "into another folder."
            ) from error


def check_encoder(codec: Codec) -> None:
    """See that the encoder is there and works.

    Raises:
        LiveError: It is not or does not: NVIDIA's needs a GPU that has one.
        MissingExtraError: PyAV is not installed.
    """
    try:
        from av.codec.context import CodecContext
        from av.error import FFmpegError
    except ImportError as error:
        raise MissingExtraError(
            f'PyAV, which recording a video needs, is missing ({error}); pip install "rigpose[live]".'
        ) from error
    try:
        context = CodecContext.create(codec.encoder, "w")
        context.width, context.height, context.pix_fmt = 640, 480, codec.pixels  # type: ignore[attr-defined]
        context.time_base, context.options = Fraction(1, TICKS), dict(codec.options)
        context.open()
    except (FFmpegError, OSError) as error:
        raise LiveError(
            f"{codec.encoder}: this encoder does not work here ({error.strerror}); choose another codec."
        ) from error


def frames_in(path: Path) -> int:
    """How many whole frames a video has; it is read to its end for that, but not decoded. 0 where it is none.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    try:
        import av
        from av.error import FFmpegError
    except ImportError as error:
        raise MissingExtraError(
            f'PyAV, which counting the frames of a video needs, is missing ({error}); pip install "rigpose[live]".'
        ) from error
    count = 0
    try:
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                count += bool(packet.size) and not packet.is_corrupt
    except (FFmpegError, OSError, IndexError):
        pass  # a file that ends in the middle of a frame, or before its first one
    return count
