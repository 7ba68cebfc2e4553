"""What industrial cameras send becomes the picture that was sent, by plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from rigpose.arrays import Array, Frames
from rigpose.live.faults import LiveError, SourceLostError
from rigpose.live.sources.pixel_formats import FORMATS, check_format, to_bgr

HEIGHT, WIDTH = 6, 8
MONO = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def grey(values: Array) -> Frames:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def bits_from_the_lowest_on(values: Array, bits: int) -> Array:
    """Rows of values as PFNC packs them: bit 0 of the first value is bit 0 of the first byte."""
    spread = (values[..., None] >> np.arange(bits)) & 1
    return np.packbits(spread.reshape(len(values), -1).astype(np.uint8), axis=1, bitorder="little")


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_pixels_lose_their_lowest_bits_whatever_else_is_in_the_picture(bits: int) -> None:
    low = np.random.default_rng(2).integers(0, 1 << (bits - 8), MONO.shape).astype(np.uint16)
    deep = (MONO << (bits - 8)) | low
    sent = deep.astype("<u2") if bits > 8 else deep.astype(np.uint8)
    assert np.array_equal(to_bgr(sent.view(np.uint8).ravel(), HEIGHT, WIDTH, f"Mono{bits}"), grey(MONO))
    # A reflection in a corner changes nothing elsewhere: no scale by the brightest pixel.
    bright = sent.copy()
    bright[0, 0] = (1 << bits) - 1
    seen = to_bgr(bright.view(np.uint8).ravel(), HEIGHT, WIDTH, f"Mono{bits}")
    assert np.array_equal(seen[1:], grey(MONO)[1:]) and (seen[0, 0] == 255).all()


@pytest.mark.parametrize("bits", [10, 12])
def test_values_that_share_bytes_are_told_apart(bits: int) -> None:
    low = np.random.default_rng(3).integers(0, 1 << (bits - 8), MONO.shape).astype(np.uint16)
    packed = bits_from_the_lowest_on((MONO << (bits - 8)) | low, bits)
    assert packed.shape[1] == WIDTH * bits // 8
    assert np.array_equal(to_bgr(packed.ravel(), HEIGHT, WIDTH, f"Mono{bits}p"), grey(MONO))


def test_the_older_packing_of_gige_vision_is_told_apart() -> None:
    sent = np.zeros((HEIGHT, WIDTH // 2, 3), np.uint8)
    sent[..., 0], sent[..., 1], sent[..., 2] = MONO[:, 0::2], 0xA5, MONO[:, 1::2]
    assert np.array_equal(to_bgr(sent.ravel(), HEIGHT, WIDTH, "Mono12Packed"), grey(MONO))


@pytest.mark.parametrize(("name", "order"), [("BGR8", (0, 1, 2)), ("RGB8", (2, 1, 0)), ("RGB8Packed", (2, 1, 0))])
def test_colours_keep_their_places(name: str, order: tuple[int, ...]) -> None:
    sent = np.ascontiguousarray(COLOUR[..., list(order)])
    image = to_bgr(sent.ravel(), HEIGHT, WIDTH, name)
    assert np.array_equal(image, COLOUR) and not np.shares_memory(image, sent)


@pytest.mark.parametrize(("name", "order"), [("BGRa8", (0, 1, 2)), ("RGBa8", (2, 1, 0))])
def test_transparency_is_left_out(name: str, order: tuple[int, ...]) -> None:
    sent = np.concatenate([COLOUR[..., list(order)], np.full((HEIGHT, WIDTH, 1), 7, np.uint8)], axis=2)
    assert np.array_equal(to_bgr(sent.ravel(), HEIGHT, WIDTH, name), COLOUR)


@pytest.mark.parametrize("bits", ["8", "12", "12p"])
@pytest.mark.parametrize(
    ("pattern", "corner"),
    # The letters are the colours of the first two pixels of the first row; the corner is that of the 2x2 cell.
    [("RG", "RGGB"), ("GR", "GRBG"), ("GB", "GBRG"), ("BG", "BGGR")],
)
def test_each_bayer_pattern_gives_the_colour_that_was_filtered(pattern: str, corner: str, bits: str) -> None:
    # A picture of one colour: through the filters, each pixel sees its own part of it.
    colour = {"B": 30, "G": 120, "R": 210}
    cell = np.array([colour[letter] for letter in corner], np.uint16).reshape(2, 2)
    sensor = np.tile(cell, (HEIGHT // 2, WIDTH // 2))
    if bits == "8":
        sent = sensor.astype(np.uint8)
    elif bits == "12":
        sent = (sensor << 4).astype("<u2").view(np.uint8)
    else:
        sent = bits_from_the_lowest_on(sensor << 4, 12)
    image = to_bgr(sent.ravel(), HEIGHT, WIDTH, f"Bayer{pattern}{bits}")
    assert (image == [30, 120, 210]).all()


@pytest.mark.parametrize(("name", "luma"), [("YUV422_8", 0), ("YUV422_8_UYVY", 1)])
def test_grey_in_luminance_and_colour_difference_stays_grey(name: str, luma: int) -> None:
    sent = np.full((HEIGHT, WIDTH, 2), 128, np.uint8)
    sent[..., luma] = 126
    # Luminance 16..235 becomes 0..255, and grey has no colour difference: (126 - 16) x 255 / 219 = 128.1.
    assert np.abs(to_bgr(sent.ravel(), HEIGHT, WIDTH, name).astype(int) - 128).max() <= 1


def test_bytes_behind_rows_and_behind_the_picture_are_left_alone() -> None:
    rows = np.concatenate([MONO.astype(np.uint8), np.full((HEIGHT, 4), 99, np.uint8)], axis=1).ravel()
    assert np.array_equal(to_bgr(rows, HEIGHT, WIDTH, "Mono8", padding=4), grey(MONO))
    assert np.array_equal(to_bgr(rows[:-4], HEIGHT, WIDTH, "Mono8", padding=4), grey(MONO))  # none behind the last
    whole = np.concatenate([MONO.astype(np.uint8).ravel(), np.full(100, 99, np.uint8)])
    assert np.array_equal(to_bgr(whole, HEIGHT, WIDTH, "Mono8"), grey(MONO))


def test_a_picture_that_is_cut_short_and_a_format_that_is_unknown_are_told() -> None:
    with pytest.raises(SourceLostError, match=r"47 bytes came for a picture of 8x6 Mono8 pixels"):
        to_bgr(np.zeros(47, np.uint8), HEIGHT, WIDTH, "Mono8")
    with pytest.raises(LiveError, match=r"cam: pixels of the format Coord3D_C16 cannot be read; set it to Mono8\."):
        check_format("Coord3D_C16", "cam", ("Coord3D_C16", "Mono8"))
    check_format("BayerRG12p", "cam")
    assert {"Mono8", "BayerRG8", "BGR8", "RGB8", "Mono12", "Mono16"} <= set(FORMATS)
