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

    The ``count`` rows with the largest cells hold them all: before a cell of any other row come the largest cells of
    these. So whole maps are only looked at for the largest cell of each row; engines that sort 300,000 cells to find
    the best few took half of a network's time for it.
    """
    height, width = maps.shape[2:]
    row = _best(maps.amax(dim=3), count)
    inside = (row < height).unsqueeze(3)
    there = row.clamp(max=height - 1)
    rows = maps.gather(2, there.unsqueeze(3).expand(-1, -1, -1, width))
    flat = torch.where(inside, rows, 0.0).flatten(2)
    place = _best(flat, count)
    score = pad(flat, (0, count)).gather(2, place)
    place = place.clamp(max=count * width - 1)
    of_row = torch.div(place, width, rounding_mode="floor")
    row, column = there.gather(2, of_row), place - of_row * width
    return Peaks(score, row, column, row * width + column)


def _best(values: torch.Tensor, count: int) -> torch.Tensor:
    """Where the ``count`` largest of values (B, C, N) are, in the order of the values; of equal ones, the first.

    As many zeros follow the values, so that there are enough, too: what is N or more is one of them.
    """
    end = values.shape[2] + count
    flat = pad(values, (0, count))
    score, cell = torch.topk(flat, count, dim=2)
    least = score[..., -1:]
    backwards = -torch.arange(end, dtype=torch.int32, device=values.device)
    first, tied = torch.topk(torch.where(flat == least, backwards, NEVER), count, dim=2)
    # What is above the least comes before what equals it, and this in its order.
    above = torch.where(score > least, cell, 2 * end)
    equal = torch.where(first > NEVER, tied + end, 2 * end)
    chosen = _smallest(torch.cat([above, equal], dim=2), count)
    return _smallest(torch.where(chosen < end, chosen, chosen - end), count)


def read_cells(maps: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    """Values of maps (B, C, D, h, w) at the cells (B, C, P) of each of the C, as (B, C, P, D)."""
    index = cell.unsqueeze(2).expand(-1, -1, maps.shape[2], -1)
    return maps.flatten(3).gather(3, index).transpose(2, 3)


def _smallest(values: torch.Tensor, count: int) -> torch.Tensor:
    # Every engine sorts 32-bit integers, not every one 64-bit ones.
    return torch.topk(values.int(), count, dim=2, largest=False).values.long()
