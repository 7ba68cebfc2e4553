"""The dense decoder against poses that DeepLabCut decoded from drawn maps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rigpose_training import decode_maps
from rigpose_training.dense import build_dense

POSITION = 1e-3  # px: half a cell would be 4
SCORE = 1e-5


@pytest.mark.parametrize("name", ["heatmap_plain", "heatmap_locref", "heatmap_clip"])
def test_drawn_maps_decode_to_deeplabcuts_poses(golden: Path, name: str) -> None:
    facts = json.loads((golden / "decode" / f"{name}.json").read_text())
    with np.load(golden / "decode" / f"{name}.npz") as arrays:
        reference = {key: arrays[key] for key in arrays.files}
    scenes = sorted({key.split(".")[0] for key in reference})
    assert len(scenes) > 1
    for scene in scenes:
        maps = {
            kind: reference[f"{scene}.{kind}"][None].astype(np.float32)
            for kind in ("heatmap", "locref")
            if f"{scene}.{kind}" in reference
        }
        (poses,) = decode_maps(facts["predictor"], maps, facts["stride"])
        found = poses.to_array()
        expected = reference[f"{scene}.poses"][0]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found[..., :2], expected[..., :2], atol=POSITION)
        np.testing.assert_allclose(found[..., 2], expected[..., 2], atol=SCORE)


def test_a_drawn_square_is_found_at_its_centre() -> None:
    """Anchor: the pooled picture of a square has its best cell where the square is, in input pixels."""
    image = torch.zeros(1, 1, 64, 96)
    image[..., 16:24, 40:48] = 1.0  # covers 40..48 x 16..24, so its centre is (44, 20)
    heatmap = torch.nn.functional.avg_pool2d(image, 8)
    decoder = build_dense({"type": "HeatmapPredictor", "apply_sigmoid": False, "location_refinement": False}, 8.0)
    keypoints = decoder({"heatmap": heatmap})["keypoints"]
    torch.testing.assert_close(keypoints, torch.tensor([[[44.0, 20.0, 1.0]]]))


def test_the_first_of_equal_maxima_wins() -> None:
    heatmap = torch.zeros(1, 2, 3, 5)
    heatmap[0, 1, 1, 2] = heatmap[0, 1, 2, 0] = 1.0
    decoder = build_dense({"type": "HeatmapPredictor", "apply_sigmoid": False, "location_refinement": False}, 2.0)
    keypoints = decoder({"heatmap": heatmap})["keypoints"][0, :, :2]
    torch.testing.assert_close(keypoints, torch.tensor([[1.0, 1.0], [5.0, 3.0]]))


def test_a_map_with_nan_is_a_missing_keypoint_and_not_a_place() -> None:
    heatmap = np.zeros((1, 2, 4, 4), np.float32)
    heatmap[0, 1] = np.nan
    predictor = {"type": "HeatmapPredictor", "apply_sigmoid": False, "location_refinement": False}
    (poses,) = decode_maps(predictor, {"heatmap": heatmap}, 4)
    assert np.isfinite(poses.xy[0, 0]).all()
    assert np.isnan(poses.xy[0, 1]).all() and np.isnan(poses.score[0, 1])
