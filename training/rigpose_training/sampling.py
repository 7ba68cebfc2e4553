"""Reading maps between their cells, in two forms: torchvision's operators, and GridSample where engines lack those.

Both forms give the same numbers, to the rounding of float32 coordinates. What runs or is traced inside
``with grid_sampling():`` gets the second one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch.nn.functional import avg_pool2d, grid_sample
from torchvision.ops import deform_conv2d, roi_align

# Of the running context only, and put back by the manager: nothing outside of it sees another form.
_GRID = ContextVar("grid_sampling", default=False)


@contextmanager
def grid_sampling() -> Iterator[None]:
    """Inside, maps are read with GridSample alone, which every inference engine has."""
    before = _GRID.set(True)
    try:
        yield
    finally:
        _GRID.reset(before)


def deformable_conv(
    features: torch.Tensor, offsets: torch.Tensor, weight: torch.Tensor, *, groups: int, dilation: int
) -> torch.Tensor:
    """A 3 x 3 convolution whose taps are moved, with zeros beyond the border (Dai et al. 2017).

    Args:
        features: (B, G c, h, w).
        offsets: (B, 18 G, h, w) dy, dx of each of the nine taps of each group [cells].
        weight: (G n, c, 3, 3).
        groups: G.
        dilation: Cells between unmoved taps.

    Returns:
        (B, G n, h, w).
    """
    if not _GRID.get():
        spread = (dilation, dilation)
        return deform_conv2d(features, offsets, weight, padding=spread, dilation=spread)
    batch, channels, height, width = features.shape
    # The groups are images of one batch, and the nine taps of a cell lie side by side, so that everything is read once.
    taps = offsets.float().reshape(batch * groups, 3, 3, 2, height, width)  # autocast would round places to whole cells
    steps = dilation * torch.arange(-1, 2, device=features.device)
    rows = torch.arange(height, device=features.device).reshape(1, 1, height, 1) + steps.reshape(3, 1, 1, 1)
    columns = torch.arange(width, device=features.device).reshape(1, 1, 1, width) + steps.reshape(1, 3, 1, 1)
    # Interleaved last, by a transposition: OpenVINO joins maps fast, and their single numbers slowly.
    places = torch.stack(
        [_normalised(taps[:, :, :, 1] + columns, width), _normalised(taps[:, :, :, 0] + rows, height)], 3
    )
    read = grid_sample(
        features.reshape(batch * groups, channels // groups, height, width),
        places.permute(0, 1, 2, 4, 5, 3).reshape(batch * groups, 9 * height, width, 2),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    # As a product of matrices: before a convolution in groups, OpenVINO would turn over the samples of all channels.
    samples = read.reshape(batch, groups, -1, height * width)
    return (weight.reshape(groups, len(weight) // groups, -1) @ samples).reshape(batch, len(weight), height, width)


def align_regions(
    values: torch.Tensor, regions: torch.Tensor, *, size: tuple[int, int], stride: int, samples: int
) -> torch.Tensor:
    """Regions of maps, each brought to one size by means of interpolated values (RoIAlign; He et al. 2017).

    Args:
        values: (B, C, h, w).
        regions: (B, P, 4) x, y, x, y [image px]. Those of less than a cell are read as a cell from their corner on.
        size: Height and width of what comes out.
        stride: Image pixels of a cell.
        samples: Along each side of an output cell.

    Returns:
        (B P, C, *size).
    """
    batch, count = regions.shape[:2]
    if not _GRID.get():
        number = torch.arange(batch, device=regions.device).to(regions).reshape(-1, 1, 1)
        numbered = torch.cat([number.expand(-1, count, 1), regions], dim=-1).flatten(0, 1)
        return roi_align(values, numbered, size, 1 / stride, samples)
    channels, height, width = values.shape[1:]
    down, right = size[0] * samples, size[1] * samples
    corner = regions[..., :2] / stride
    sides = (regions[..., 2:] / stride - corner).clamp(min=1)
    x, inside_x = _along(corner[..., :1], sides[..., :1] / size[1], (size[1], samples), width)  # (B, P, right)
    y, inside_y = _along(corner[..., 1:], sides[..., 1:] / size[0], (size[0], samples), height)
    shape = (batch, count, down, right)
    grid = torch.stack([x.unsqueeze(2).expand(shape), y.unsqueeze(3).expand(shape)], dim=-1)
    # The regions of an image lie one below the other.
    read = grid_sample(
        values, grid.flatten(1, 2), mode="bilinear", padding_mode="border", align_corners=False
    )  # (B, C, P down, right)
    inside = (inside_y.unsqueeze(3) * inside_x.unsqueeze(2)).flatten(1, 2).unsqueeze(1)
    pooled = avg_pool2d(read * inside, samples)
    return pooled.unflatten(2, (count, size[0])).transpose(1, 2).reshape(batch * count, channels, *size)


def _along(
    start: torch.Tensor, step: torch.Tensor, counts: tuple[int, int], cells: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a side of regions is read, (B, P, parts samples): GridSample's coordinates, and 1, or 0 outside.

    Up to one cell beyond the first and the last the border's value counts, and outside of that zero.

    Args:
        start: (B, P, 1) of the regions [cells].
        step: (B, P, 1) from part to part [cells].
        counts: Parts, and samples of each part.
        cells: Of the map.
    """
    parts, samples = counts
    part = torch.arange(parts, device=start.device).repeat_interleave(samples)
    sample = (torch.arange(samples, device=start.device) + 0.5).repeat(parts)
    # In torchvision's order, so that samples on the outermost line lie on it here, too.
    place = start + part * step + sample * step / samples
    inside = (place >= -1) & (place <= cells)
    return _normalised(place, cells), inside.to(start.dtype)


def _normalised(place: torch.Tensor, cells: int) -> torch.Tensor:
    """GridSample's coordinate, -1 to 1 from border to border, of a place in a row of cells, the first centred at 0."""
    return (2 * place + 1) / cells - 1
