"""Videos of every kind that labs have, full of colours and edges, and a stand-in for the GPU's decoder."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from rigpose.arrays import Frames

FRAMES = 12


@dataclass(frozen=True)
class Kind:
    """A codec in a container, with what may change a decoder's frames."""

    suffix: str
    codec: str
    pixels: str = "yuv420p"
    height: int = 96
    width: int = 160
    options: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, int] = field(default_factory=dict)
    times: Sequence[int] = ()  # [ms]
    rotation: int = 0


KINDS = {
    "h264": Kind("mp4", "libx264"),
    "h264 b-frames": Kind("mp4", "libx264", options={"bf": "3", "b-adapt": "0"}),
    "h264 4:2:2": Kind("mp4", "libx264", "yuv422p"),
    "h264 4:4:4": Kind("mp4", "libx264", "yuv444p"),
    "h264 4:4:4 odd": Kind("mp4", "libx264", "yuv444p", 97, 161),
    "h264 not whole blocks": Kind("mp4", "libx264", "yuv420p", 70, 66),
    "h264 full range": Kind("mp4", "libx264", "yuvj420p"),
    "h264 bt709": Kind("mp4", "libx264", tags={"colorspace": 1, "color_range": 1}),
    "h264 10 bit": Kind("mkv", "libx264", "yuv420p10le", 70, 66),
    "h264 variable rate": Kind("mp4", "libx264", times=(0, 33, 50, 130, 131, 200, 290, 300, 350, 400, 420, 500)),
    "h264 variable rate mkv": Kind("mkv", "libx264", times=(0, 33, 50, 130, 131, 200, 290, 300, 350, 400, 420, 500)),
    "h264 turned left": Kind("mp4", "libx264", rotation=90),
    "h264 upside down": Kind("mp4", "libx264", rotation=180),
    "h264 turned right": Kind("mp4", "libx264", rotation=270),
    "hevc": Kind("mp4", "libx265", "yuv420p", 98, 162, options={"x265-params": "log-level=none"}),
    "mpeg4": Kind("mp4", "mpeg4"),
    "mpeg4 avi odd": Kind("avi", "mpeg4", "yuv420p", 97, 161),
    "mjpeg": Kind("avi", "mjpeg", "yuvj420p"),
    "mjpeg 4:2:2 odd": Kind("avi", "mjpeg", "yuvj422p", 97, 161),
    "vp9 odd": Kind("webm", "libvpx-vp9", "yuv420p", 97, 161),
    "ffv1 rgb odd": Kind("mkv", "ffv1", "bgr0", 97, 161),
    "ffv1 gray": Kind("mkv", "ffv1", "gray", 97, 161),
    "raw": Kind("avi", "rawvideo", "bgr24", 97, 161),
}


def picture(number: int, height: int, width: int) -> Frames:
    """(H, W, 3) slopes of all colours that move, under fine noise."""
    y, x = np.mgrid[0:height, 0:width]
    slopes = np.stack([2 * x + 3 * number, 2 * y + 5 * number, x + y + 7 * number], axis=-1) % 256
    noise = np.random.default_rng(number).integers(0, 40, (height, width, 3))
    return (slopes // 2 + noise).astype(np.uint8)


def write_kind(folder: Path, kind: Kind, frames: int = FRAMES) -> Path:
    """A video of this kind."""
    import av

    path = folder / f"video.{kind.suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(kind.codec, rate=25, options=dict(kind.options))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = kind.width, kind.height, kind.pixels
        if kind.times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, kind.height, kind.width), format="bgr24")
            for name, value in kind.tags.items():
                setattr(stream.codec_context, name, value)
                setattr(frame, name, value)
            if kind.times:
                frame.pts, frame.time_base = kind.times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if kind.rotation:
        _turn(path, kind.rotation)
    return path


def _turn(mp4: Path, degrees: int) -> None:
    """Say in the header of the track how the camera was held."""
    data = bytearray(mp4.read_bytes())
    start = data.index(b"tkhd") + 44
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    data[start : start + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    mp4.write_bytes(data)


class _Surface:
    """A decoded frame in host memory, as PyNvVideoCodec hands it out: NV12 behind a pointer."""

    def __init__(self, luma: np.ndarray, colours: np.ndarray, stamp: int) -> None:
        self._bytes = np.ascontiguousarray(np.concatenate([luma.ravel(), colours.ravel()]))
        self.timestamp = stamp

    def framesize(self) -> int:
        return self._bytes.nbytes

    def GetPtrToPlane(self, plane: int) -> int:  # noqa: N802  # the library's name
        assert plane == 0
        return self._bytes.ctypes.data_as(ctypes.c_void_p).value or 0


def stand_in_for_nvdec(*, fails: str = "") -> SimpleNamespace:
    """PyNvVideoCodec's names for what ``NvdecDecoder`` calls, over PyAV's decoder.

    Args:
        fails: Name of the call that raises, if any.
    """
    import av

    class Demuxer:
        def __init__(self, filename: str) -> None:
            self.container = av.open(filename)

        def GetNvCodecId(self) -> int:  # noqa: N802
            return 4

        def __iter__(self) -> Iterator[av.Packet]:
            return self.container.demux(self.container.streams.video[0])

    class Decoder:
        def Decode(self, packet: av.Packet) -> list[_Surface]:  # noqa: N802
            if fails == "Decode":
                raise RuntimeError("HandlePictureDecode failed")
            found = []
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame) and frame.pts is not None
                planar = frame.to_ndarray()
                colours = planar[frame.height :].reshape(2, -1).T
                found.append(_Surface(planar[: frame.height], colours, frame.pts))
            return found

    def create_decoder(*, gpuid: int, codec: int, usedevicememory: bool) -> Decoder:
        assert gpuid == 0 and codec == 4 and not usedevicememory
        if fails == "CreateDecoder":
            raise RuntimeError("no CUDA-capable device is detected\nmore lines")
        return Decoder()

    return SimpleNamespace(CreateDemuxer=Demuxer, CreateDecoder=create_decoder)
