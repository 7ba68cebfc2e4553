from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rigpose.errors import ConfigError
from rigpose_training.targets import HeatmapTarget, Target, heatmap_targets
from rigpose_training.targets import target as target_module

# Two animals; the second has one keypoint only.
KEYPOINTS = torch.tensor([[[[20.25, 30.5, 2], [41.0, 9.75, 2]], [[26.0, 33.0, 2], [0.0, 0.0, 0]]]])
MAPS = {"heatmap": torch.zeros(1, 2, 6, 8)}


def config(**changes: Any) -> HeatmapTarget:
    return HeatmapTarget(**({"type": "HeatmapGaussianGenerator", "num_heatmaps": 2, "pos_dist_thresh": 17.0} | changes))


def close(actual: torch.Tensor, expected: Any) -> None:
    # Recorded in float64 numpy, computed in float32.
    np.testing.assert_allclose(actual.numpy(), expected, rtol=2e-6, atol=2e-6)


def test_gaussian_targets_equal_the_recorded_ones_of_deeplabcut() -> None:
    found = heatmap_targets(config(), MAPS, {"keypoints": KEYPOINTS}, 8.0)
    heatmap, locref = found["heatmap"].values, found["locref"]
    close(heatmap.sum((2, 3)), [[13.749478340148926, 10.017744064331055]])
    close(heatmap[0, 0, 3, 2:5], [0.9757266044616699, 0.8932495713233948, 0.614717960357666])
    expected = [[-39.559898376464844, 59.339839935302734, 59.33984375, -93.95475769042969]]
    np.testing.assert_allclose(locref.values.sum((2, 3)), expected, rtol=1e-5)
    close(locref.values[0, 0:2, 3, 3], [-0.27472150325775146, 0.6868037581443787])
    close(locref.values[0, 0:2, 0, 0], [3.0219364166259766, 3.983461856842041])
    close(locref.weights.sum((2, 3)), [[17, 17, 12, 12]])


def test_plateau_targets_equal_the_recorded_ones_of_deeplabcut() -> None:
    found = heatmap_targets(config(type="HeatmapPlateauGenerator"), MAPS, {"keypoints": KEYPOINTS}, 8.0)
    close(found["heatmap"].values.sum((2, 3)), [[17.0, 12.0]])
    expected = [[5.048007011413574, 1.8543710708618164, 1.6483290195465088, -3.708740234375]]
    np.testing.assert_allclose(found["locref"].values.sum((2, 3)), expected, rtol=1e-5)
    close(found["locref"].values[0, 0:2, 0, 0], [0, 0])
    close(found["locref"].weights.sum((2, 3)), [[17, 17, 12, 12]])


def test_an_image_without_labels_has_empty_maps_that_still_count() -> None:
    found = heatmap_targets(config(), MAPS, {"keypoints": torch.zeros_like(KEYPOINTS)}, 8.0)
    assert found["heatmap"].values.max() == 0 and found["heatmap"].weights.min() == 1
    assert found["locref"].weights.max() == 0 and torch.isfinite(found["locref"].values).all()


def test_masking_weighs_unlabelled_keypoints_down_and_undefined_ones_out() -> None:
    labels = torch.zeros(1, 1, 3, 3)
    labels[0, 0, :, 2] = torch.tensor([2, 0, -1])
    maps = {"heatmap": torch.zeros(1, 3, 6, 8)}
    found = heatmap_targets(config(num_heatmaps=3, gradient_masking=True), maps, {"keypoints": labels}, 8.0)
    close(found["heatmap"].weights[0, :, 0, 0], [1, 0.1, 0])
    unmasked = heatmap_targets(config(num_heatmaps=3), maps, {"keypoints": labels}, 8.0)
    close(unmasked["heatmap"].weights[0, :, 0, 0], [1, 1, 0])


def identity_targets(ids: list[int], **changes: Any) -> Target:
    identity = {"heatmap_mode": "INDIVIDUAL", "type": "HeatmapPlateauGenerator", "generate_locref": False}
    return heatmap_targets(
        config(**(identity | changes)),
        {"heatmap": torch.zeros(1, 2, 48, 64)},
        {"keypoints": KEYPOINTS, "individual_ids": torch.tensor([ids])},
        1.0,
    )["heatmap"]


def test_individual_mode_draws_all_parts_of_an_animal_in_its_map() -> None:
    heatmap = identity_targets([0, 1], pos_dist_thresh=3.0).values[0]
    assert heatmap[0, 30, 20] == 1 and heatmap[0, 10, 41] == 1 and heatmap[0, 33, 26] == 0
    assert heatmap[1, 33, 26] == 1 and heatmap[1, 0, 0] == 0


def test_an_identity_map_belongs_to_the_individual_and_not_to_its_place_in_the_list() -> None:
    in_order, swapped = identity_targets([0, 1]), identity_targets([1, 0])
    assert not torch.equal(in_order.values[:, 0], in_order.values[:, 1])
    torch.testing.assert_close(swapped.values, in_order.values.flip(1))


def test_an_individual_that_is_not_in_the_image_is_left_out_of_the_identity_loss() -> None:
    found = identity_targets([1, -1])
    assert found.values[0, 0].max() == 0 and found.values[0, 1].max() == 1
    close(found.weights[0, :, 0, 0], [0, 1])


def test_unique_bodyparts_have_their_own_labels() -> None:
    labels = {"keypoints": KEYPOINTS, "keypoints_unique": torch.tensor([[[12.0, 12.0, 2.0]]])}
    maps = {"heatmap": torch.zeros(1, 1, 6, 8)}
    found = heatmap_targets(config(num_heatmaps=1, label_keypoint_key="keypoints_unique"), maps, labels, 8.0)
    assert found["heatmap"].values[0, 0].argmax() == 1 * 8 + 1


def test_labels_of_another_skeleton_are_named() -> None:
    with pytest.raises(ConfigError, match="num_heatmaps: is 5, but the labels have 2 keypoints"):
        heatmap_targets(config(num_heatmaps=5), MAPS, {"keypoints": KEYPOINTS}, 8.0)


def test_no_animal_has_a_place_in_a_crowd_of_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    # Drawn map by map, and with animals that are not there: nothing changes.
    expected = heatmap_targets(config(), MAPS, {"keypoints": KEYPOINTS}, 8.0)
    monkeypatch.setattr(target_module, "_WORKING_CELLS_CPU", 1)
    crowd = torch.cat([KEYPOINTS, torch.zeros(1, 20, 2, 3)], dim=1)
    found = heatmap_targets(config(), MAPS, {"keypoints": crowd}, 8.0)
    for name, target in expected.items():
        torch.testing.assert_close(found[name].values, target.values, rtol=0, atol=0)
        torch.testing.assert_close(found[name].weights, target.weights, rtol=0, atol=0)
