"""PyNvVideoCodec: the decoder of an NVIDIA GPU.

The GPU undoes the compression, which standards prescribe to the bit, and the processor turns its brightness and colour
planes into BGR with the same conversion as for the other decoders: so the frames are the same. Frames come back over
the bus in the video's own 12 bits per pixel, half of what BGR takes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.arrays import Frames
from rigpose.decoding.pyav import PyavStream, ToBgr
from rigpose.errors import BackendError, MediaError, MissingExtraError

_PLANES = {"yuv420p": "yuv420p", "nv12": "yuv420p", "yuvj420p": "yuvj420p"}
"""Pixel format of a video -> what its planes are called once they are apart."""


class NvdecDecoder:
    """A video that an NVIDIA GPU decodes.

    Attributes:
        name: ``nvdec``.
        frames_reported: See ``Decoder``.
        frames_per_second: See ``Decoder``.
    """

    name = "nvdec"

    def __init__(self, path: Path, threads: int) -> None:
        """Open a file on the first GPU.

        Args:
            path: The video.
            threads: Not needed: the GPU's decoder is a circuit of its own.

        Raises:
            BackendError: The GPU or its driver cannot decode.
            MediaError: It is no video, or none that such a decoder takes.
            MissingExtraError: PyNvVideoCodec or PyAV is not installed.
        """
        del threads
        codec = _codec()
        # PyAV knows what the container says: colours, rotation, number of frames.
        self._path, self._stream = path, PyavStream(path, threads=1)
        self.frames_reported = self._stream.frames_reported
        self.frames_per_second = self._stream.frames_per_second
        with ExitStack() as opened:
            opened.callback(self._stream.close)
            self._format = self._plane_format()
            self._to_bgr, self._rotation = ToBgr(), self._rotation_of_first()
            self._pictures = self._decoded(codec)
            if not self.advance():
                raise MediaError(f"{path}: NVDEC cannot decode one frame; use --decoder opencv.")
            self._opened = opened.pop_all()

    @property
    def time(self) -> float:
        """See ``Decoder``."""
        return self._stream.milliseconds(self._stamp) or 0.0

    def retrieve(self) -> Frames:
        """See ``Decoder``."""
        from av.video.frame import VideoFrame

        frame = VideoFrame.from_ndarray(self._picture, format=self._format)
        context = self._stream.stream.codec_context
        frame.colorspace, frame.color_range = context.colorspace, context.color_range
        return self._to_bgr(frame, self._rotation)

    def advance(self) -> bool:
        """See ``Decoder``."""
        found = next(self._pictures, None)
        if found is None:
            return False
        self._stamp, self._picture = found
        return True

    def seek(self, index: int) -> bool:
        """See ``Decoder``; by decoding everything before it."""
        return all(self.advance() for _ in range(index))

    def close(self) -> None:
        """See ``Decoder``."""
        self._opened.close()

    def _plane_format(self) -> str:
        context = self._stream.stream.codec_context
        if context.pix_fmt not in _PLANES or context.width % 2 or context.height % 2:
            raise MediaError(
                f"{self._path}: NVDEC is used for 8-bit 4:2:0 video with even sides, and this is "
                f"{context.width}x{context.height} px of {context.name} {context.pix_fmt} (it decodes no H.264 4:4:4 "
                "at all); use --decoder opencv."
            )
        return _PLANES[context.pix_fmt]

    def _rotation_of_first(self) -> int:
        """What the container says; the GPU's decoder does not pass it on."""
        first = next(self._stream.frames(), None)
        return 0 if first is None else first.rotation

    def _decoded(self, codec: Any) -> Iterator[tuple[int, Frames]]:
        """Presentation time stamp and brightness and colour planes (H * 3 / 2, W) uint8 of every frame."""
        try:
            demuxer = codec.CreateDemuxer(filename=str(self._path))
            decoder = codec.CreateDecoder(gpuid=0, codec=demuxer.GetNvCodecId(), usedevicememory=False)
        except Exception as error:
            raise BackendError(
                f"{self._path}: NVDEC cannot be used ({_first_line(error)}); look for a GPU with rigpose doctor, or "
                "use --decoder opencv."
            ) from error
        context = self._stream.stream.codec_context
        surfaces = self._surfaces(demuxer, decoder)
        return ((surface.timestamp, self._planar(surface, context.height, context.width)) for surface in surfaces)

    def _surfaces(self, demuxer: Any, decoder: Any) -> Iterator[Any]:
        try:
            for packet in demuxer:
                yield from decoder.Decode(packet)
        except Exception as error:
            raise MediaError(f"{self._path}: NVDEC stopped ({_first_line(error)}); use --decoder opencv.") from error

    def _planar(self, surface: Any, height: int, width: int) -> Frames:
        """A copy of a decoded surface, its two interleaved colour planes apart: (H * 3 / 2, W)."""
        if surface.framesize() != height * width * 3 // 2:
            raise MediaError(
                f"{self._path}: NVDEC gives {surface.framesize()} bytes for a frame of {width}x{height} px; use "
                "--decoder opencv."
            )
        address = ctypes.cast(surface.GetPtrToPlane(0), ctypes.POINTER(ctypes.c_uint8))
        interleaved = np.ctypeslib.as_array(address, shape=(height * 3 // 2, width))
        planar = np.empty_like(interleaved)
        planar[:height] = interleaved[:height]
        colours = interleaved[height:].reshape(-1, 2)
        planar[height:].reshape(2, -1)[:] = colours.T
        return planar


def _codec() -> Any:
    try:
        return import_module("PyNvVideoCodec")
    except ImportError as error:
        raise MissingExtraError(
            f"PyNvVideoCodec, which --decoder nvdec needs, is missing ({_first_line(error)}); pip install "
            "PyNvVideoCodec, or use --decoder opencv."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
