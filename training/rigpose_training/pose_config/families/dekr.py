"""DEKR: every animal's centre and, from there, the way to each keypoint (Geng et al. 2021)."""

from __future__ import annotations

from typing import Any

from rigpose_training.pose_config.families.backbones import hrnet_section
from rigpose_training.pose_config.heads import RADIUS
from rigpose_training.pose_config.model import Metadata, Model, network, padding

CHANNELS_PER_KEYPOINT = 15


def _dekr(width: int) -> Model:
    channels = 15 * width  # 1 + 2 + 4 + 8 times the width: all four resolutions

    def section(metadata: Metadata) -> dict[str, Any]:
        return network(
            hrnet_section(width, frozen_stats=False, all_branches=True),
            channels,
            _head(channels, width, keypoints=len(metadata.bodyparts), animals=len(metadata.individuals)),
        )

    return Model(f"dekr_w{width}", "bu", section, {**padding("inference"), "with_center_keypoints": True})


def _head(channels: int, width: int, *, keypoints: int, animals: int) -> dict[str, Any]:
    return {
        "type": "DEKRHead",
        "weight_init": "dekr",
        "target_generator": {
            "type": "DEKRGenerator",
            "num_joints": keypoints,
            "pos_dist_thresh": RADIUS,
            "bg_weight": 0.1,
        },
        "criterion": {
            "heatmap": {"type": "DEKRHeatmapLoss", "weight": 1},
            "offset": {"type": "DEKROffsetLoss", "weight": 0.03},
        },
        "predictor": {
            "type": "DEKRPredictor",
            "apply_sigmoid": False,
            "use_heatmap": False,
            "clip_scores": True,
            "num_animals": animals,
            "keypoint_score_type": "combined",
            "max_absorb_distance": 75,
            "nms_threshold": 0.05,
            "apply_pose_nms": True,
        },
        "heatmap_config": {
            "channels": [channels, width, keypoints + 1],  # the centre comes last
            "num_blocks": 1,
            "dilation_rate": 1,
            "final_conv_kernel": 1,
        },
        "offset_config": {
            "channels": [channels, CHANNELS_PER_KEYPOINT * keypoints, keypoints],
            "num_offset_per_kpt": CHANNELS_PER_KEYPOINT,
            "num_blocks": 2,
            "dilation_rate": 1,
            "final_conv_kernel": 1,
        },
    }


DEKR = {f"dekr_w{width}": _dekr(width) for width in (18, 32, 48)}
