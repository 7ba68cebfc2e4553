"""Pixels as industrial cameras send them -> BGR of 8 bits, by GenICam's names of the formats (PFNC).

Deeper pixels lose their lowest bits, always the same: a scale by each frame's own maximum would darken the animal
whenever something bright comes into view.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rigpose.arrays import Array, Frames
from rigpose.live.faults import LiveError, SourceLostError


@dataclass(frozen=True)
class _Format:
    """How a format is laid out and which of OpenCV's conversions makes BGR of it.

    Attributes:
        conversion: None where it is BGR.
        channels: Values per pixel in memory.
        bits: Of a value. Above 8, each has two bytes of its own, the lower one first, unless it is packed.
        packed: Values of 10 or 12 bits that share bytes: ``pfnc`` from the lowest bit on, ``gige`` as GigE Vision's
            older format of two pixels in three bytes.
    """

    conversion: int | None
    channels: int = 1
    bits: int = 8
    packed: str = ""


# OpenCV's short names of Bayer patterns are those of another corner of the sensor than GenICam's; the long ones agree.
_BAYER = {
    "BayerRG": cv2.COLOR_BayerRGGB2BGR,
    "BayerGR": cv2.COLOR_BayerGRBG2BGR,
    "BayerGB": cv2.COLOR_BayerGBRG2BGR,
    "BayerBG": cv2.COLOR_BayerBGGR2BGR,
}
_ONE_VALUE = {"Mono": cv2.COLOR_GRAY2BGR} | _BAYER
FORMATS: dict[str, _Format] = {
    **{f"{name}{bits}": _Format(code, 1, bits) for name, code in _ONE_VALUE.items() for bits in (8, 10, 12, 14, 16)},
    **{f"{name}{bits}p": _Format(code, 1, bits, "pfnc") for name, code in _ONE_VALUE.items() for bits in (10, 12)},
    **{f"{name}12Packed": _Format(code, 1, 12, "gige") for name, code in _ONE_VALUE.items()},
    "BGR8": _Format(None, 3),
    "BGR8Packed": _Format(None, 3),
    "RGB8": _Format(cv2.COLOR_RGB2BGR, 3),
    "RGB8Packed": _Format(cv2.COLOR_RGB2BGR, 3),
    "BGRa8": _Format(cv2.COLOR_BGRA2BGR, 4),
    "BGRA8Packed": _Format(cv2.COLOR_BGRA2BGR, 4),
    "RGBa8": _Format(cv2.COLOR_RGBA2BGR, 4),
    "RGBA8Packed": _Format(cv2.COLOR_RGBA2BGR, 4),
    "YCbCr422_8": _Format(cv2.COLOR_YUV2BGR_YUYV, 2),
    "YUV422_8": _Format(cv2.COLOR_YUV2BGR_YUYV, 2),
    "YUV422_YUYV_Packed": _Format(cv2.COLOR_YUV2BGR_YUYV, 2),
    "YUV422_8_UYVY": _Format(cv2.COLOR_YUV2BGR_UYVY, 2),
    "YUV422Packed": _Format(cv2.COLOR_YUV2BGR_UYVY, 2),
}


def check_format(name: str, camera: str, can: tuple[str, ...] = ()) -> None:
    """Refuse a format that cannot become BGR.

    Args:
        name: Of the format.
        camera: Whose it is, for the message.
        can: What the camera offers instead.

    Raises:
        LiveError: It is none of ``FORMATS``.
    """
    if name not in FORMATS:
        known = [format_ for format_ in can if format_ in FORMATS] or ["Mono8", "BayerRG8", "BGR8"]
        raise LiveError(f"{camera}: pixels of the format {name} cannot be read; set it to {' or '.join(known)}.")


def to_bgr(data: Array, height: int, width: int, name: str, *, padding: int = 0) -> Frames:
    """(H, W, 3) uint8 BGR, in memory of its own.

    Args:
        data: (bytes,) uint8, the rows from the top; what comes after them is left alone.
        height: [px].
        width: [px].
        name: One of ``FORMATS``.
        padding: Bytes behind each row that are none of its pixels.

    Raises:
        SourceLostError: There are fewer bytes than the picture has.
    """
    layout = FORMATS[name]
    values = width * layout.channels
    row = values * (1 if layout.bits == 8 else 2) if not layout.packed else -(-values * layout.bits // 8)
    if len(data) < height * (row + padding) - padding:
        raise SourceLostError(
            f"{len(data)} bytes came for a picture of {width}x{height} {name} pixels, which is cut short; raise the "
            "camera's packet size or lower its rate."
        )
    if padding:
        data = np.concatenate([data, np.zeros(padding, np.uint8)])
    rows = np.ascontiguousarray(data[: height * (row + padding)].reshape(height, row + padding)[:, :row])
    if layout.packed:
        rows = _unpacked(rows, values, layout)
    elif layout.bits > 8:
        rows = (rows.view("<u2") >> (layout.bits - 8)).astype(np.uint8)
    pixels = rows.reshape(height, width, layout.channels) if layout.channels > 1 else rows
    return pixels.copy() if layout.conversion is None else cv2.cvtColor(pixels, layout.conversion)  # type: ignore[return-value]


def _unpacked(rows: Array, values: int, layout: _Format) -> Array:
    """(H, W) uint8, the highest eight bits of each value of rows of bytes."""
    if layout.packed == "gige":
        # Bytes 0 and 2 of three are the high bits of two pixels; byte 1 has the low bits of both.
        high = np.arange(values)
        return rows[:, high // 2 * 3 + high % 2 * 2]
    # Eight bits that end with the value lie in two neighbouring bytes, or end with one.
    last = np.arange(1, values + 1) * layout.bits
    byte, shift = (last - 8) // 8, (last - 8) % 8
    low = rows[:, byte] >> shift.astype(np.uint8)
    following = rows[:, np.minimum(byte + 1, rows.shape[1] - 1)].astype(np.uint16) << (8 - shift).astype(np.uint16)
    return low | following.astype(np.uint8)
