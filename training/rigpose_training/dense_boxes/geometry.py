"""Arithmetic of boxes x, y, x, y, and the size that torchvision brings an image to."""

from __future__ import annotations

from typing import Any

import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.transform import GeneralizedRCNNTransform


def resized_sides(transform: GeneralizedRCNNTransform, height: int, width: int) -> tuple[int, int]:
    """Height and width that ``transform`` gives an image; the sides may be symbols of a trace.

    torchvision multiplies in float64 and rounds down, which takes an exact 800 for 799 at 3 of 100 pairs of sides
    (none of the usual ones: 480 x 640, 1080 x 1920, 1024 x 1024...). Portable graphs have whole numbers and float32
    for shapes, so here it is whole numbers, and at those pairs the image is one pixel larger than torchvision's.
    """
    if transform.fixed_size is not None:
        return transform.fixed_size[1], transform.fixed_size[0]
    short, long = torch.sym_min(height, width), torch.sym_max(height, width)
    choices: Any = transform.min_size
    least, most = choices[-1], transform.max_size
    high = torch.sym_min(height * least // short, height * most // long)
    wide = torch.sym_min(width * least // short, width * most // long)
    return high, wide


def grid_anchors(cell: torch.Tensor, grid: tuple[int, int], stride: tuple[int, int]) -> torch.Tensor:
    """The anchors of one map, in the order row, column, anchor.

    Args:
        cell: (A, 4) those of the first place.
        grid: Height and width of the map.
        stride: Down and to the right [px].

    Returns:
        (h * w * A, 4) [px].
    """
    down = (torch.arange(grid[0], device=cell.device) * stride[0]).reshape(-1, 1, 1, 1)
    right = (torch.arange(grid[1], device=cell.device) * stride[1]).reshape(1, -1, 1, 1)
    x, y = cell[:, 0::2] + right, cell[:, 1::2] + down  # (1, w, A, 2), (h, 1, A, 2)
    shape = (grid[0], grid[1], len(cell), 2)
    return torch.stack([x.expand(shape), y.expand(shape)], dim=-1).reshape(-1, 4)


def move_boxes(boxes: torch.Tensor, deltas: torch.Tensor, coder: BoxCoder) -> torch.Tensor:
    """Boxes (..., 4) moved and stretched by what a network says in ``coder``'s units, (..., 4)."""
    size = boxes[..., 2:] - boxes[..., :2]
    centre = boxes[..., :2] + 0.5 * size
    shift_x, shift_y, grow_x, grow_y = coder.weights
    if shift_x != shift_y or grow_x != grow_y:
        raise ValueError(f"box coder with different weights for x and y: {coder.weights}")
    centre = deltas[..., :2] / shift_x * size + centre
    half = 0.5 * (torch.exp((deltas[..., 2:] / grow_x).clamp(max=coder.bbox_xform_clip)) * size)
    return torch.cat([centre - half, centre + half], dim=-1)


def shortest_side(boxes: torch.Tensor) -> torch.Tensor:
    """Of boxes (..., 4), (...)."""
    return (boxes[..., 2:] - boxes[..., :2]).amin(dim=-1)


def take(rows: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows (B, n, 4) at the places (B, k) of each batch, (B, k, 4)."""
    return rows.gather(1, index.unsqueeze(-1).expand(-1, -1, rows.shape[-1]))
