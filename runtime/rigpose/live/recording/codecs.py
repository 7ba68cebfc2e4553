"""How pictures are compressed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rigpose.errors import ConfigError


@dataclass(frozen=True)
class Codec:
    """One way to compress, into an MP4 file.

    Frames come out in the order in which they went in, with none held back.

    Attributes:
        encoder: FFmpeg's name.
        pixels: Layout of its pixels.
        options: For the encoder.
        odd: Layout for a width or height that is odd, which ``pixels`` cannot have; none where it can.
    """

    encoder: str
    pixels: str
    options: Mapping[str, str]
    odd: str | None = None


_QUICK = {"preset": "ultrafast", "tune": "zerolatency"}
_NVIDIA = {"preset": "p1", "tune": "ull", "rc": "constqp", "qp": "18", "delay": "0", "zerolatency": "1"}

CODECS: Mapping[str, Codec] = {
    # What a frame of 640x480 px costs was measured on one core of a server, with little else to do: here 1.0 ms, up to
    # twice that where the core is busy.
    "h264": Codec("libx264", "yuv420p", _QUICK | {"crf": "20"}, odd="yuv444p"),
    # By NVIDIA's encoder, which not every GPU has, beside its computing cores.
    "h264_nvenc": Codec("h264_nvenc", "yuv420p", _NVIDIA | {"forced-idr": "1"}, odd="yuv444p"),
    # Each frame by itself: 1.9 ms, and many times as large.
    "mjpeg": Codec("mjpeg", "yuvj420p", {"qmin": "2", "qmax": "4"}),
    # Every bit as it was: 6.5 ms, half as much as FFV1 takes.
    "lossless": Codec("libx264rgb", "bgr24", _QUICK | {"qp": "0"}),
}
_GREY: Mapping[str, Codec] = {
    "h264": Codec("libx264", "gray", _QUICK | {"crf": "20"}),  # 0.8 ms
    "lossless": Codec("libx264", "gray", _QUICK | {"qp": "0"}),  # 3.2 ms
}


def codec_named(name: str, *, grey: bool = False) -> Codec:
    """The codec of this name.

    Args:
        name: One of ``CODECS``.
        grey: Whether it is for pictures without colour.

    Raises:
        ConfigError: There is none.
    """
    if name not in CODECS:
        raise ConfigError(f"codec {name!r}: there is no such codec; choose one of {', '.join(CODECS)}.")
    return _GREY.get(name, CODECS[name]) if grey else CODECS[name]
