"""The head sections that several families share."""

from __future__ import annotations

from typing import Any

LOCREF_STD = 7.2801
"""Pixels per unit of the location refinement maps: sqrt(53), a constant of the first DeepLabCut."""

RADIUS = 17
"""How near a keypoint [input px] a cell must be to learn that it is there."""


def deconvolutions(*channels: int) -> dict[str, Any]:
    """Transposed 3x3 convolutions of stride 2 from the first number of channels to the last."""
    layers = len(channels) - 1
    return {"channels": list(channels), "kernel_size": [3] * layers, "strides": [2] * layers}


def convolution(channels: int, maps: int) -> dict[str, Any]:
    """One 1x1 convolution and no deconvolution."""
    final = {"out_channels": maps, "kernel_size": 1}
    return {"channels": [channels], "kernel_size": [], "strides": [], "final_conv": final}


def heatmap_head(channels: int, keypoints: int) -> dict[str, Any]:
    """One deconvolution each for the K heat maps and the 2 K offsets to the keypoint."""
    head = _offset_head(keypoints, {"gradient_masking": False})
    return {
        **head,
        "heatmap_config": deconvolutions(channels, keypoints),
        "locref_config": deconvolutions(channels, 2 * keypoints),
    }


def crop_head(channels: int, keypoints: int, **target_options: Any) -> dict[str, Any]:
    """One 1x1 convolution each for the K heat maps and 2 K offsets of the animal in a crop."""
    return {
        **_offset_head(keypoints, target_options),
        "heatmap_config": convolution(channels, keypoints),
        "locref_config": convolution(channels, 2 * keypoints),
    }


def unique_head(channels: int, keypoints: int) -> dict[str, Any]:
    """Heat maps and offsets of the bodyparts that exist once per frame."""
    head = heatmap_head(channels, keypoints)
    head["target_generator"]["label_keypoint_key"] = "keypoints_unique"
    return head


def identity_head(channels: int, individuals: int) -> dict[str, Any]:
    """One map per individual, to be read where its keypoints are."""
    return {
        "type": "HeatmapHead",
        "predictor": {"type": "IdentityPredictor", "apply_sigmoid": True},
        "target_generator": {
            "type": "HeatmapPlateauGenerator",
            "num_heatmaps": individuals,
            "pos_dist_thresh": RADIUS,
            "heatmap_mode": "INDIVIDUAL",
            "gradient_masking": False,
            "generate_locref": False,
        },
        "criterion": {"heatmap": {"type": "WeightedBCECriterion", "weight": 1.0}},
        "heatmap_config": deconvolutions(channels, individuals),
    }


def _offset_head(keypoints: int, target_options: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "HeatmapHead",
        "weight_init": "normal",
        "predictor": {
            "type": "HeatmapPredictor",
            "apply_sigmoid": False,
            "clip_scores": True,
            "location_refinement": True,
            "locref_std": LOCREF_STD,
        },
        "target_generator": {
            "type": "HeatmapGaussianGenerator",
            "num_heatmaps": keypoints,
            "pos_dist_thresh": RADIUS,
            "heatmap_mode": "KEYPOINT",
            **target_options,
            "generate_locref": True,
            "locref_std": LOCREF_STD,
        },
        "criterion": {
            "heatmap": {"type": "WeightedMSECriterion", "weight": 1.0},
            "locref": {"type": "WeightedHuberCriterion", "weight": 0.05},
        },
    }
