from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from rigpose_training.targets import PartAffinityFieldTarget, paf_targets
from rigpose_training.targets import target as target_module

GRAPH = ((0, 1), (0, 2), (1, 2))
# Two animals; the second lacks a keypoint, and so two edges.
KEYPOINTS = torch.tensor(
    [[[[12.3, 8.6, 2], [40.7, 21.2, 2], [55.1, 39.4, 2]], [[30.9, 12.4, 2], [22.2, 37.8, 2], [0, 0, 0]]]]
)


def fields(
    keypoints: torch.Tensor, *, stride: float = 8.0, size: tuple[int, int] = (6, 8), width: float = 20.0
) -> np.ndarray:
    config = PartAffinityFieldTarget("PartAffinityFieldGenerator", GRAPH, width)
    maps = {"paf": torch.zeros(len(keypoints), 2 * len(GRAPH), *size)}
    return paf_targets(config, maps, {"keypoints": keypoints}, stride)["paf"].values.numpy()


def by_definition(keypoints: np.ndarray, stride: float, size: tuple[int, int], width: float) -> np.ndarray:
    """Cell by cell: the unit vector, weaker with the distance from the segment's line, nothing beyond its ends."""
    out = np.zeros((len(keypoints), 2 * len(GRAPH), *size))
    for b, e in itertools.product(range(len(keypoints)), range(len(GRAPH))):
        for animal, i, j in itertools.product(keypoints[b], range(size[0]), range(size[1])):
            start, end = animal[GRAPH[e][0]], animal[GRAPH[e][1]]
            if start[2] <= 0 or end[2] <= 0:
                continue
            cell = np.floor([(j + 0.5) * stride, (i + 0.5) * stride])
            unit = (end - start)[:2] / np.linalg.norm((end - start)[:2])
            to_start, to_end = cell - start[:2], cell - end[:2]
            distance = np.linalg.norm(to_start - (to_start @ unit) * unit)
            if to_start @ unit >= 0 >= to_end @ unit and distance <= width:
                out[b, 2 * e : 2 * e + 2, i, j] = unit * (1 - distance / width)
    return out


def test_fields_equal_the_recorded_ones_of_deeplabcut() -> None:
    found = fields(KEYPOINTS)
    expected = [-0.32646146, 9.40310192, 12.83143520, 9.23383713, 4.27406359, 5.40194225]
    np.testing.assert_allclose(found.sum((2, 3))[0], expected, atol=1e-5)  # float32 sums of up to 30 cells
    np.testing.assert_array_equal((found != 0).sum((2, 3))[0], [22, 22, 30, 30, 13, 13])
    np.testing.assert_allclose(found[0, :, 2, 2], [-0.19686669, 0.57476032, 0.61868048, 0.44521865, 0, 0], atol=1e-6)


@pytest.mark.parametrize(("stride", "size"), [(1.0, (20, 24)), (4.0, (12, 14)), (8.0, (6, 7))])
def test_fields_follow_their_definition_in_every_cell(stride: float, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    extent = np.array([size[1], size[0]]) * stride
    xy = rng.uniform(-0.1, 1.1, (2, 3, 3, 2)) * extent  # some outside the image
    visible = rng.choice([2.0, 2.0, 2.0, 0.0, -1.0], (2, 3, 3, 1))
    keypoints = np.concatenate([xy, visible], axis=-1).astype(np.float32)
    width = 3 * stride
    found = fields(torch.from_numpy(keypoints), stride=stride, size=size, width=width)
    expected = by_definition(keypoints.astype(float), stride, size, width)
    assert (expected != 0).mean() > 0.01
    # Coordinates of up to 100 px in float32, divided by the width.
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_later_animal_covers_the_earlier_one() -> None:
    right = torch.tensor([[4.0, 20.0, 2], [44.0, 20.0, 2], [0, 0, 0]])
    down = torch.tensor([[20.0, 4.0, 2], [20.0, 44.0, 2], [0, 0, 0]])
    crossing = fields(torch.stack([right, down])[None])[0, :2, 2, 2]  # the cell whose centre is 20, 20
    np.testing.assert_allclose(crossing, [0, 1], atol=1e-6)
    np.testing.assert_allclose(fields(torch.stack([down, right])[None])[0, :2, 2, 2], [1, 0], atol=1e-6)


def test_an_edge_without_length_or_label_has_no_field() -> None:
    same = torch.tensor([[[[20.0, 20.0, 2], [20.0, 20.0, 2], [torch.nan, torch.nan, 0]]]])
    found = fields(same)
    assert np.isfinite(found).all() and not found.any()


def test_drawing_edge_by_edge_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fields(KEYPOINTS)
    monkeypatch.setattr(target_module, "_WORKING_CELLS_CPU", 1)
    np.testing.assert_array_equal(fields(KEYPOINTS), expected)
