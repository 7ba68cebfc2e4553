"""The crop around an animal against DeepLabCut's recorded windows, and its pixels against padding by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigpose.arrays import Floats, Frames
from rigpose.errors import ConfigError
from rigpose.models.crops import Crop, CropSpec, plan_crop

FRAME = np.random.default_rng(0).integers(1, 256, (100, 120, 3), dtype=np.uint8)

# Box, output, margin, context; then DeepLabCut 3.0.2's offset and padded size in a frame of 120 x 100 px.
RECORDED = [
    ((30.3, 20.6, 40.0, 25.0), CropSpec(64, 64), (30, 13), (40, 40)),
    ((-7.5, 50.5, 30.0, 41.0), CropSpec(64, 64, 5), (-18, 46), (51, 50)),
    ((100.0, 70.0, 44.0, 30.0), CropSpec(48, 96), (100, 41), (44, 88)),
    ((10.0, 10.0, 0.0, 20.0), CropSpec(32, 32), (0, 10), (20, 20)),
    ((12.25, 8.75, 60.5, 20.0), CropSpec(64, 64, 25, with_context=False), (-13, -38), (111, 114)),
    ((90.0, -10.0, 20.0, 70.0), CropSpec(64, 64, 0, with_context=False), (70, -10), (60, 70)),
    ((110.5, 60.5, 3.0, 2.0), CropSpec(96, 48, 0, with_context=False), (110, 60), (4, 2)),
    # A wide box in an input that is not square: 20 px high content gets 44 px of black instead of 60.
    ((20.0, 30.0, 60.0, 20.0), CropSpec(72, 96, 0, with_context=False), (20, 8), (60, 64)),
]


def cut(crop: Crop, frame: Frames = FRAME) -> Frames:
    out = np.full((crop.size[1], crop.size[0], 3), 7, np.uint8)
    crop.write(frame, out)
    return out


def by_hand(crop: Crop) -> Frames:
    """The frame on a black table, and the window cut out of it."""
    x1, y1, x2, y2 = crop.window
    left, top, right, bottom = crop.content
    table = np.zeros((600, 600, 3), np.uint8)
    if top < bottom and left < right:
        table[200 + top : 200 + bottom, 200 + left : 200 + right] = FRAME[top:bottom, left:right]
    return cv2.resize(table[200 + y1 : 200 + y2, 200 + x1 : 200 + x2], crop.size)  # type: ignore[return-value]


@pytest.mark.parametrize(("box", "spec", "offset", "padded"), RECORDED)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_windows_are_deeplabcuts(box: tuple, spec: CropSpec, offset: tuple, padded: tuple, dtype: type) -> None:
    crop = plan_crop(np.array(box, dtype), FRAME.shape[:2], spec)
    way_back = crop.to_frame
    assert way_back.shift == offset
    assert way_back.scale == (padded[0] / spec.width, padded[1] / spec.height)
    np.testing.assert_array_equal(cut(crop), by_hand(crop))


def test_pixels_are_deeplabcuts() -> None:
    slope = np.add.outer(np.arange(20) * 5, np.arange(24) * 3).astype(np.uint8)[..., None].repeat(3, axis=2)
    crop = plan_crop((14.0, -3.0, 16.0, 9.0), (20, 24), CropSpec(4, 4, 1))
    recorded = [[0, 0, 0, 0], [0, 0, 0, 0], [58, 71, 21, 0], [80, 94, 26, 0]]
    # Versions of OpenCV may round a weighted mean of four pixels differently.
    np.testing.assert_allclose(cut(crop, slope)[..., 0].astype(int), recorded, atol=1)


def test_with_context_the_frame_shows_beside_the_box_and_without_it_is_black() -> None:
    box = (40.0, 40.0, 30.0, 10.0)
    around, alone = (plan_crop(box, (100, 120), CropSpec(30, 30, 0, with_context=c)) for c in (True, False))
    assert around.window == alone.window == (40, 30, 70, 60)
    assert cut(around).min() > 0
    dark = (cut(alone) == 0).all(axis=(1, 2))
    assert np.flatnonzero(~dark).tolist() == list(range(10, 20))


@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("box", [(50.0, 50.0, 0.0, 0.0), (-90.0, 10.0, 30.0, 30.0), (500.0, 300.0, 5.0, 5.0)])
def test_empty_and_outside_boxes_make_a_crop_with_a_way_back(box: tuple, context: bool) -> None:  # noqa: FBT001
    crop = plan_crop(box, (100, 120), CropSpec(16, 16, 0, with_context=context))
    assert min(crop.to_frame.scale) > 0
    seen = cut(crop)
    outside = crop.content[0] >= crop.content[2] or crop.content[1] >= crop.content[3]
    assert (seen == 0).all() if outside else (seen == FRAME[50, 50]).all()


sides, corner = st.floats(0.5, 70), st.floats(-60, 110)


@settings(max_examples=150, deadline=None)
@given(corner, corner, sides, sides, st.booleans(), st.sampled_from([(32, 32), (24, 48), (48, 24)]))
def test_the_crop_holds_the_box_and_points_go_there_and_back(
    x: float,
    y: float,
    w: float,
    h: float,
    context: bool,  # noqa: FBT001
    size: tuple[int, int],
) -> None:
    crop = plan_crop((x, y, w, h), (100, 120), CropSpec(*size, 0, with_context=context))
    corners = np.array([[x, y], [x + w, y + h]])
    inside = crop.to_frame.inverse().apply(corners)
    half = 0.5 / np.array(crop.to_frame.scale)  # corners are rounded to whole frame pixels
    if context:
        assert (inside >= -half - 1e-9).all() and (inside <= np.array(size) + half + 1e-9).all()
    np.testing.assert_allclose(place(crop.points, corners), inside, atol=1e-9)
    np.testing.assert_array_equal(cut(crop), by_hand(crop))


def test_a_drawn_disc_lies_where_the_pixel_matrix_says_and_its_label_beside_it() -> None:
    """DeepLabCut maps labels without half a pixel, so a label lies (1 / scale - 1) / 2 input px from its pixel."""
    centre = np.array([61.0, 44.0])
    columns, rows = np.meshgrid(np.arange(120), np.arange(100))
    grey = np.clip(8.5 - np.hypot(columns - centre[0], rows - centre[1]), 0, 1) * 255
    frame = grey[..., None].repeat(3, axis=2).astype(np.uint8)
    for width, height in ((20, 20), (128, 128), (96, 200)):
        crop = plan_crop((45.3, 31.2, 30.0, 26.0), (100, 120), CropSpec(width, height))
        seen = cut(crop, frame)[..., 0].astype(float)
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        found = np.array([(seen * x).sum(), (seen * y).sum()]) / seen.sum()
        finer = 1 / np.array(crop.to_frame.scale)
        # A disc's centre of mass is found to a few hundredths of a frame pixel.
        np.testing.assert_allclose(found, place(crop.pixels, centre), atol=0.05 * finer.max())
        np.testing.assert_allclose(
            found - crop.to_frame.inverse().apply(centre), (finer - 1) / 2, atol=0.05 * finer.max()
        )


def test_a_crop_needs_a_size() -> None:
    with pytest.raises(ConfigError, match="0 x 256 px is no size"):
        CropSpec(0, 256)


def place(matrix: Floats, xy: Floats) -> Floats:
    return xy @ matrix[:2, :2].T + matrix[:2, 2]
