"""The two forms of reading maps between cells give the same numbers, at borders, beyond them and in tiny maps, too."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import deform_conv2d, roi_align

from rigpose_training.sampling import align_regions, deformable_conv, grid_sampling

# Coordinates of up to 40 cells are rounded to some 1e-6 of a cell, twice; values change by 8 from cell to cell, and
# a convolution adds up nine times the channels.
ROUNDING = 2e-4


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(23, 40), (3, 1), (1, 2)])
def test_deformable_convolutions_have_two_equal_forms(height: int, width: int, dilation: int) -> None:
    draw = torch.Generator().manual_seed(height)
    groups, channels = 3, 5
    features = torch.randn(2, groups * channels, height, width, generator=draw)
    offsets = 4 * torch.randn(2, groups * 18, height, width, generator=draw)
    # Whole and half cells: taps that lie exactly on the border, half and a whole cell outside of it.
    offsets[1] = (2 * offsets[1]).round() / 2
    weight = torch.randn(groups * channels, channels, 3, 3, generator=draw)
    spread = (dilation, dilation)
    expected = deform_conv2d(features, offsets, weight, padding=spread, dilation=spread)
    found = deformable_conv(features, offsets, weight, groups=groups, dilation=dilation)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    with grid_sampling():
        found = deformable_conv(features, offsets, weight, groups=groups, dilation=dilation)
    torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)
    assert expected.abs().max() > 1


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(12, 20), (1, 3), (1, 1)])
def test_regions_are_aligned_in_two_equal_forms(height: int, width: int, samples: int) -> None:
    stride, draw = 8, torch.Generator().manual_seed(samples)
    values = torch.randn(2, 4, height, width, generator=draw)
    limits = torch.tensor([width, height, width, height]) * float(stride)
    corner = torch.rand(2, 40, 2, generator=draw) * 1.2 - 0.1
    far = corner + torch.rand(2, 40, 2, generator=draw) ** 3
    inside = torch.cat([corner, far], dim=-1).clamp(0, 1)
    special = [
        [0, 0, 1, 1],  # the whole image
        [0, 0, 0, 0],  # nothing, at each corner
        [1, 1, 1, 1],
        [1, 0, 1, 0],
        [0.5, 0.5, 0.5, 0.5],
        [0.9, 0.2, 1, 0.2],  # without height, at the border
        [-0.5, -0.5, 1.5, 1.5],  # beyond the image, as proposals never are
    ]
    regions = torch.cat([inside, torch.tensor(special).expand(2, -1, -1)], dim=1) * limits
    numbers = torch.arange(2.0).reshape(2, 1, 1).expand(2, regions.shape[1], 1)
    expected = roi_align(values, torch.cat([numbers, regions], -1).flatten(0, 1), (7, 5), 1 / stride, samples)
    found = align_regions(values, regions, size=(7, 5), stride=stride, samples=samples)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    with grid_sampling():
        found = align_regions(values, regions, size=(7, 5), stride=stride, samples=samples)
    torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)
    assert expected.abs().max() > 0.1


def test_the_form_is_torchvisions_again_after_the_context_and_after_an_error_in_it() -> None:
    features, offsets = torch.randn(1, 2, 6, 6), torch.randn(1, 36, 6, 6)
    weight = torch.randn(2, 1, 3, 3)

    def operators() -> set[str]:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            deformable_conv(features, offsets, weight, groups=2, dilation=1)
        return {event.name for event in profile.events() or ()}

    def fail() -> None:
        with grid_sampling():
            assert "aten::grid_sampler_2d" in operators()
            raise RuntimeError

    assert "torchvision::deform_conv2d" in operators()
    with pytest.raises(RuntimeError):
        fail()
    assert "torchvision::deform_conv2d" in operators() and "aten::grid_sampler_2d" not in operators()


def test_the_two_forms_of_deformable_convolution_have_the_same_gradients() -> None:
    draw = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=draw) for shape in ((2, 6, 9, 11), (2, 54, 9, 11), (6, 2, 3, 3))]

    def gradients() -> list[torch.Tensor]:
        features, offsets, weight = (one.clone().requires_grad_() for one in inputs)
        deformable_conv(features, offsets, weight, groups=3, dilation=1).square().sum().backward()
        return [one.grad for one in (features, offsets, weight) if one.grad is not None]

    expected = gradients()
    with grid_sampling():
        found = gradients()
    assert len(found) == 3
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().mean()))


def test_places_keep_float32_under_autocast() -> None:
    draw = torch.Generator().manual_seed(0)
    # A slope, so that a place that is rounded shows; bfloat16 holds whole numbers up to 256 only.
    features = torch.arange(600.0).expand(1, 1, 3, 600).contiguous()
    # A convolution before it would have given them so.
    offsets = (2 * torch.rand(1, 18, 3, 600, generator=draw) - 1).bfloat16()
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    with grid_sampling():
        expected = deformable_conv(features, offsets.float(), weight, groups=1, dilation=1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = deformable_conv(features, offsets, weight, groups=1, dilation=1)
    # The convolution rounds the value to 8 bits, half a part in 256; a place rounded to 2 or 4 cells would add as much.
    inner = slice(2, 598)
    torch.testing.assert_close(found.float()[..., inner], expected[..., inner], rtol=2**-8, atol=0.01)
