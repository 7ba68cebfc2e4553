from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigpose.geometry import ScaleShift
from rigpose.models.preprocess import InputSpec, Resize, plan


def test_a_frame_that_fits_is_copied_as_it_is() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    preparation = plan(InputSpec(), 20, 30)
    out = np.empty((20, 30, 3), np.uint8)
    preparation.write(frame, out=out)
    np.testing.assert_array_equal(out, frame)
    assert preparation.to_frame == ScaleShift()


def test_padding_goes_right_and_bottom_and_mirrors_without_the_edge() -> None:
    frame = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    preparation = plan(InputSpec(multiple_of=4), 3, 5)
    assert preparation.input_size == (4, 8)
    out = np.empty((4, 8, 3), np.uint8)
    preparation.write(frame, out=out)
    np.testing.assert_array_equal(out[:3, :5], frame)
    np.testing.assert_array_equal(out[3, :5], frame[1])
    np.testing.assert_array_equal(out[:3, 5:8], frame[:, [3, 2, 1]])
    assert preparation.to_frame.apply(np.array([[1.5, 2.0]])).tolist() == [[1.5, 2.0]]


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (InputSpec(resize=Resize(100, 80)), (80, 100)),
        (InputSpec(resize=Resize(100, 80, keep_ratio=False)), (80, 100)),
        (InputSpec(longest_side=64, multiple_of=32), (64, 64)),
    ],
)
def test_a_drawn_square_is_found_again_in_frame_pixels(spec: InputSpec, size: tuple[int, int]) -> None:
    """Anchor: scaling moves a square's centre of mass exactly as ``to_frame`` says."""
    frame = np.zeros((120, 200, 3), np.uint8)
    frame[40:60, 100:140] = 255  # centre of mass (120, 50) with the first pixel covering 0..1
    preparation = plan(spec, 120, 200)
    assert preparation.input_size == size
    out = np.empty((*size, 3), np.uint8)
    preparation.write(frame, out=out)
    h, w = preparation.content_size
    weight = out[:h, :w, 0].astype(float)
    y, x = np.mgrid[:h, :w] + 0.5
    centre = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    # Bilinear weights on a grid of another pitch move a centre of mass by a small part of an input pixel.
    assert np.abs(preparation.to_frame.apply(centre) - [120, 50]).max() < 0.2 * max(preparation.to_frame.scale)


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="expected uint8 frames"):
        plan(InputSpec(), 4, 4).write(np.zeros((5, 4, 3), np.uint8), out=np.zeros((4, 4, 3), np.uint8))


@given(
    st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
    st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
)
def test_a_change_of_frame_and_its_inverse_undo_each_other(
    scale: tuple[float, float], shift: tuple[float, float]
) -> None:
    change = ScaleShift(scale, shift)
    xy = np.array([[0.0, 0.0], [3.5, -7.25]])
    np.testing.assert_allclose(change.inverse().apply(change.apply(xy)), xy, atol=1e-9)
