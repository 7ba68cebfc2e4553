"""TokenPose: keypoints as tokens of a transformer beside the patches of the image (Li et al. 2021)."""

from __future__ import annotations

from typing import Any

from rigpose_training.pose_config.families.backbones import hrnet_section
from rigpose_training.pose_config.heads import RADIUS
from rigpose_training.pose_config.model import SLOW_RATES, Metadata, Model, crops, network

MAP_SIDE = 64
TOKEN = 192


def _section(metadata: Metadata) -> dict[str, Any]:
    keypoints = len(metadata.bodyparts)
    neck = {
        "type": "Transformer",
        "feature_size": [MAP_SIDE, MAP_SIDE],
        "patch_size": [4, 4],
        "num_keypoints": keypoints,
        "channels": 32,
        "dim": TOKEN,
        "heads": 8,
        "depth": 6,
    }
    head = {
        "type": "TransformerHead",
        "target_generator": {
            "type": "HeatmapPlateauGenerator",
            "num_heatmaps": keypoints,
            "pos_dist_thresh": RADIUS,
            "heatmap_mode": "KEYPOINT",
            "generate_locref": False,
        },
        "criterion": {"type": "WeightedBCECriterion"},
        "predictor": {"type": "HeatmapPredictor", "location_refinement": False},
        "dim": TOKEN,
        "hidden_heatmap_dim": 2 * TOKEN,
        "heatmap_dim": MAP_SIDE * MAP_SIDE,
        "apply_multi": True,
        "heatmap_size": [MAP_SIDE, MAP_SIDE],
        "apply_init": True,
        "head_stride": 1,
    }
    return network(hrnet_section(32, frozen_stats=True), 32, head, neck=neck)


TOKENPOSE = {"animaltokenpose_base": Model("animaltokenpose_base", "td", _section, {**crops(), **SLOW_RATES})}
