"""What every target generator gives, and what they share: cell centres and a bound on working memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

# Cells in one temporary array, whatever the animals, edges and stride: 16 MB of float32, which keep a GPU busy; on the
# CPU 1 MB, which stays in its cache (twice as fast there).
_WORKING_CELLS = 1 << 22
_WORKING_CELLS_CPU = 1 << 18


@dataclass(frozen=True)
class Target:
    """What one output map is compared with.

    Attributes:
        values: As the output: (B, C, h, w), or (B, K, bins) for coordinate classification.
        weights: As many axes as ``values`` and broadcast to it; 0 leaves a cell out of the loss.
    """

    values: torch.Tensor
    weights: torch.Tensor


def cell_centres(cells: int, stride: float, device: torch.device) -> torch.Tensor:
    """Centres of map cells along one axis, (cells,) [input px].

    DeepLabCut keeps the centres in an array of integers, so an odd stride loses its half; matched, because
    snapshots of either program then mean the same.
    """
    return torch.floor(torch.arange(cells, device=device, dtype=torch.float32) * stride + stride / 2)


def row_groups(rows: int, cells: int, device: torch.device) -> Iterator[slice]:
    """Groups of maps of ``cells`` cells that are drawn at once, so that temporaries stay small."""
    limit = _WORKING_CELLS_CPU if device.type == "cpu" else _WORKING_CELLS
    size = max(1, limit // max(1, cells))
    for start in range(0, rows, size):
        yield slice(start, start + size)


def placed(points: torch.Tensor) -> torch.Tensor:
    """(..., 2) x, y of (..., 3) labelled points; a point without a label is infinitely far away."""
    return torch.where(points[..., 2:] > 0, points[..., :2], torch.inf)
