from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from rigpose.errors import ConfigError
from rigpose_training.targets import DEKRTarget, dekr_targets, with_centres

# Two animals, the second smaller and without its last keypoint.
KEYPOINTS = torch.tensor(
    [[[[12.3, 8.6, 2], [40.7, 21.2, 2], [55.1, 39.4, 2]], [[30.9, 12.4, 2], [22.2, 37.8, 2], [0, 0, 0]]]]
)
AREA = torch.tensor([[1400.0, 400.0]])


def targets(
    keypoints: torch.Tensor, area: torch.Tensor, *, stride: float = 8.0, size: tuple[int, int] = (6, 8), **changes: Any
) -> dict[str, np.ndarray]:
    joints = keypoints.shape[2]
    config = DEKRTarget(**({"type": "DEKRGenerator", "num_joints": joints, "pos_dist_thresh": 17} | changes))
    maps = {"heatmap": torch.zeros(len(keypoints), joints + 1, *size)}
    found = dekr_targets(config, maps, {"keypoints": keypoints, "area": area}, stride)
    values = {name: target.values.numpy() for name, target in found.items()}
    return values | {f"{name}_weights": target.weights.numpy() for name, target in found.items()}


def heat_by_definition(
    keypoints: np.ndarray, stride: float, size: tuple[int, int], *, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cell by cell: the highest bell that reaches it, and whether one does."""
    joints = keypoints.shape[2]
    heat = np.zeros((len(keypoints), joints, *size))
    weights = np.full_like(heat, 0.1)
    for b, k in itertools.product(range(len(keypoints)), range(joints)):
        sigma = reach if k == joints - 1 else reach / 2
        for x, y, visible in keypoints[b, :, k]:
            u, v = x / stride - 0.5, y / stride - 0.5
            if visible <= 0 or not (0 <= u < size[1] and 0 <= v < size[0]):
                continue
            for i, j in itertools.product(range(size[0]), range(size[1])):
                first_j, last_j = np.floor(u - 3 * sigma - 1), np.ceil(u + 3 * sigma + 2)
                first_i, last_i = np.floor(v - 3 * sigma - 1), np.ceil(v + 3 * sigma + 2)
                if first_j <= j < last_j and first_i <= i < last_i:
                    heat[b, k, i, j] = max(heat[b, k, i, j], np.exp(-((j - u) ** 2 + (i - v) ** 2) / 2 / sigma**2))
                    weights[b, k, i, j] = 1
        if (keypoints[b, :, k, 2] == -1).any():
            weights[b, k] = 0
    return heat, weights


def offsets_by_definition(
    keypoints: np.ndarray, area: np.ndarray, stride: float, size: tuple[int, int], *, reach: float
) -> Any:
    """One write after the other, as animals and keypoints come; one area is remembered per cell."""
    batch, _, with_centre, _ = keypoints.shape
    offsets = np.zeros((batch, with_centre - 1, 2, *size))
    weights = np.zeros((batch, with_centre - 1, *size))
    remembered = np.zeros((batch, *size))
    for b, n, k in itertools.product(*(range(count) for count in (batch, keypoints.shape[1], with_centre - 1))):
        x, y, visible = keypoints[b, n, k]
        u, v = x / stride - 0.5, y / stride - 0.5
        if visible <= 0 or not (0 <= u < size[1] and 0 <= v < size[0]):
            continue
        mid_u, mid_v = (int(c) / stride - 0.5 for c in keypoints[b, n, -1, :2])
        rows = range(max(0, int(mid_v - reach)), min(size[0], int(mid_v + reach)))
        columns = range(max(0, int(mid_u - reach)), min(size[1], int(mid_u + reach)))
        for i, j in itertools.product(rows, columns):
            if offsets[b, k, :, i, j].any() and remembered[b, i, j] < area[b, n]:
                continue
            offsets[b, k, :, i, j] = j - u, i - v
            weights[b, k, i, j] = 1 / np.sqrt(area[b, n])
            remembered[b, i, j] = area[b, n]
    return offsets.reshape(batch, -1, *size), np.repeat(weights, 2, axis=1)


def test_targets_equal_the_recorded_ones_of_deeplabcut() -> None:
    found = targets(KEYPOINTS, AREA)
    sums = {name: values.sum((2, 3))[0] for name, values in found.items()}
    # float32 sums of 48 cells
    np.testing.assert_allclose(sums["heatmap"], [10.5663271, 12.3498878, 5.2181468, 26.7655659], rtol=1e-5)
    np.testing.assert_allclose(sums["heatmap_weights"], [48, 48, 37.2, 48], rtol=1e-5)
    np.testing.assert_allclose(sums["offset"], [-2.1, 14.6, -13.1, -48.8, -67.75, -58.5], atol=1e-4)
    np.testing.assert_allclose(sums["offset_weights"], [1.01380897] * 4 + [0.53452247] * 2, rtol=1e-5)
    here = (0, slice(None), 2, 3)
    np.testing.assert_allclose(found["heatmap"][here], [0.63259566, 0.32427633, 0.00045876, 0.95252633], atol=1e-6)
    np.testing.assert_allclose(found["offset"][here], [-0.3625, 0.95, 0.725, -2.225, -3.3875, -2.425], atol=1e-5)
    np.testing.assert_allclose(found["offset_weights"][here], [0.05] * 4 + [0.02672612] * 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("stride", "size", "seed", "radius"),
    [(4.0, (16, 20), 0, 17.0), (8.0, (6, 8), 1, 17.0), (8.0, (6, 8), 2, 17.0), (4.0, (16, 20), 3, 15.7)],
)
def test_targets_follow_their_definition_in_every_cell(
    stride: float, size: tuple[int, int], seed: int, radius: float
) -> None:
    rng = np.random.default_rng(seed)
    extent = np.array([size[1], size[0]]) * stride
    # Three animals close to each other and to the border, with missing parts: many squares overlap.
    xy = rng.uniform(0, 1, (2, 3, 1, 2)) * extent + rng.normal(0, 12, (2, 3, 4, 2))
    keypoints = np.concatenate([xy, rng.choice([2.0, 2.0, 0.0], (2, 3, 4, 1))], axis=-1).astype(np.float32)
    if seed == 2:
        keypoints[:, :, 1] = [0, 0, -1]
    area = rng.uniform(100, 3000, (2, 3)).astype(np.float32)
    found = targets(
        torch.from_numpy(keypoints), torch.from_numpy(area), stride=stride, size=size, pos_dist_thresh=radius
    )
    centred = with_centres(torch.from_numpy(keypoints)).double().numpy()
    heat, heat_weights = heat_by_definition(centred, stride, size, reach=radius / stride)
    offsets, offset_weights = offsets_by_definition(centred, area, stride, size, reach=radius / stride)
    # Everything is a few cells in float32.
    np.testing.assert_allclose(found["heatmap"], heat, atol=1e-5)
    np.testing.assert_allclose(found["heatmap_weights"], heat_weights, atol=1e-6)
    np.testing.assert_allclose(found["offset"], offsets, atol=1e-5)
    np.testing.assert_allclose(found["offset_weights"], offset_weights, rtol=1e-5)
    assert (offset_weights != 0).any() and (offsets != 0).any()


def test_the_centre_is_the_mean_of_the_labelled_keypoints() -> None:
    nowhere = torch.tensor([[torch.nan, torch.nan, 0]]).expand(3, 3)
    centres = with_centres(torch.stack([KEYPOINTS[0, 1], nowhere])[None])[0, :, -1]
    np.testing.assert_allclose(centres, [[26.55, 25.1, 2], [0, 0, 0]], rtol=1e-6)


def test_the_smaller_animal_keeps_its_offsets_whatever_the_order() -> None:
    big, small = KEYPOINTS[0, 0, :1], torch.tensor([[20.2, 16.4, 2.0]])
    both = torch.stack([big, small])[None]
    one, other = targets(both, AREA), targets(both.flip(1), AREA.flip(1))
    np.testing.assert_array_equal(one["offset"], other["offset"])
    # At the small animal's centre, in cells of 8 px from their centres.
    np.testing.assert_allclose(one["offset"][0, :, 2, 2], [2 - (20.2 / 8 - 0.5), 2 - (16.4 / 8 - 0.5)], atol=1e-5)


def test_an_image_without_animals_is_background() -> None:
    found = targets(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2))
    assert not found["heatmap"].any() and not found["offset"].any() and not found["offset_weights"].any()
    np.testing.assert_allclose(found["heatmap_weights"], 0.1)


def test_labels_of_another_skeleton_are_named() -> None:
    with pytest.raises(ConfigError, match="num_joints: is 5, but the labels have 3 keypoints"):
        targets(KEYPOINTS, AREA, num_joints=5)
