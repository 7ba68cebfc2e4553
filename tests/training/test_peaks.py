"""The best cells of maps, also where maps are small, flat or below zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rigpose_training.dense.peaks import best_cells, keep_peaks

LEVELS = {"all different": 10**6, "many equal": 3, "saturated": 1}


def sorted_cells(maps: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and numbers (B, C, P) of the first largest cells, by a stable sort of all of them."""
    flat = maps.reshape(*maps.shape[:2], -1)
    cells = np.sort(np.argsort(-flat, axis=2, kind="stable")[..., :count], axis=2)
    return np.take_along_axis(flat, cells, axis=2), cells


@pytest.mark.parametrize("size", [(9, 14), (2, 31), (31, 2), (1, 6), (40, 40)])
@pytest.mark.parametrize("levels", LEVELS)
def test_they_are_those_of_a_stable_sort(size: tuple[int, int], levels: str) -> None:
    random = np.random.default_rng(0)
    for count in (1, 3, 6):
        most = LEVELS[levels]
        maps = (random.integers(0, most + 1, (2, 3, *size)) / most).astype(np.float32)
        found = best_cells(torch.from_numpy(maps), count)
        scores, cells = sorted_cells(maps, count)
        np.testing.assert_array_equal(found.score, scores)
        np.testing.assert_array_equal(found.cell, cells)
        np.testing.assert_array_equal(found.row * size[1] + found.column, cells)
        assert int(found.column.max()) < size[1]


def test_of_too_few_cells_and_below_zero_the_rest_score_nothing() -> None:
    maps = torch.tensor([[[[-1.0, 0.5], [-2.0, -3.0]]]])
    found = best_cells(maps, 5)
    assert sorted(found.score.flatten().tolist()) == [0.0, 0.0, 0.0, 0.0, 0.5]
    at = int(found.score.argmax())
    assert (int(found.row[0, 0, at]), int(found.column[0, 0, at])) == (0, 1)
    assert ((found.cell >= 0) & (found.cell < 4)).all()


def test_peaks_are_no_lower_than_their_window() -> None:
    maps = torch.zeros(1, 1, 5, 7)
    maps[0, 0, 1, 2], maps[0, 0, 1, 3], maps[0, 0, 4, 6] = 1.0, 0.9, 0.4
    assert keep_peaks(maps, 3).nonzero().tolist() == [[0, 0, 1, 2], [0, 0, 4, 6]]
