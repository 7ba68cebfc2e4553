"""Peaks of maps in fixed shapes, for graphs that cannot say how many there are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import max_pool2d, pad

NEVER = -(2**31) + 1
"""Below every cell's number."""


class Peaks(NamedTuple):
    """The best cells of every map, all (B, C, P), in the order of the map's rows.

    Where a map has fewer peaks, the score is 0 and the cell is any cell of the map.
    """

    score: torch.Tensor
    row: torch.Tensor
    column: torch.Tensor
    cell: torch.Tensor


def keep_peaks(maps: torch.Tensor, window: int) -> torch.Tensor:
    """(B, C, h, w) with 0 everywhere but where a cell equals the maximum of the window around it."""
    largest = max_pool2d(maps, window, stride=1, padding=window // 2)
    return torch.where(maps == largest, maps, 0.0)


def best_cells(maps: torch.Tensor, count: int) -> Peaks:
    """The ``count`` largest cells of every map (B, C, h, w); of equal ones, those that come first in the map.

    Saturated heatmaps have many equal cells, and engines disagree on which of them the largest are.
    """
    width, cells = maps.shape[3], maps.shape[2] * maps.shape[3]
    # Zeros are appended so that maps of fewer cells than ``count`` have that many, too.
    flat = pad(maps.flatten(2), (0, count))
    score, cell = torch.topk(flat, count, dim=2)
    least = score[..., -1:]
    backwards = -torch.arange(cells + count, dtype=torch.int32, device=maps.device)
    first, tied = torch.topk(torch.where(flat == least, backwards, NEVER), count, dim=2)
    # Cells above the least come before those that equal it, and these in their order.
    end = cells + count
    above = torch.where(score > least, cell, 2 * end)
    equal = torch.where(first > NEVER, tied + end, 2 * end)
    chosen = _smallest(torch.cat([above, equal], dim=2), count)
    cell = _smallest(torch.where(chosen < end, chosen, chosen - end), count)
    score = flat.gather(2, cell)
    cell = cell.clamp(max=cells - 1)
    row = torch.div(cell, width, rounding_mode="floor")
    return Peaks(score, row, cell - row * width, cell)


def read_cells(maps: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    """Values of maps (B, C, D, h, w) at the cells (B, C, P) of each of the C, as (B, C, P, D)."""
    index = cell.unsqueeze(2).expand(-1, -1, maps.shape[2], -1)
    return maps.flatten(3).gather(3, index).transpose(2, 3)


def _smallest(values: torch.Tensor, count: int) -> torch.Tensor:
    # Every engine sorts 32-bit integers, not every one 64-bit ones.
    return torch.topk(values.int(), count, dim=2, largest=False).values.long()
