"""Plain backbones: one animal's heat maps, several animals' part affinity fields, or a crop's heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rigpose_training.pose_config.affinity import affinity_head
from rigpose_training.pose_config.heads import crop_head, heatmap_head
from rigpose_training.pose_config.model import SLOW_RATES, Metadata, Model, crops, network, padding

_TRAINED_NORMS = {"freeze_bn_stats": False, "freeze_bn_weights": False}


@dataclass(frozen=True)
class Backbone:
    """A ``backbone`` section, its output channels, and the settings that it changes."""

    section: Mapping[str, Any]
    channels: int
    changes: Mapping[str, Any] = field(default_factory=dict)


def resnet(timm_name: str) -> Backbone:
    """He et al. 2016, with the last stage dilated instead of strided."""
    section = {"type": "ResNet", "model_name": timm_name, "output_stride": 16, **_TRAINED_NORMS}
    return Backbone(section, channels=2048)


def hrnet_section(width: int, *, frozen_stats: bool, all_branches: bool = False) -> dict[str, Any]:
    """Wang et al. 2020: the finest of four resolutions, or all four at its size."""
    return {
        "type": "HRNet",
        "model_name": f"hrnet_w{width}",
        "freeze_bn_stats": frozen_stats,
        "freeze_bn_weights": False,
        "interpolate_branches": all_branches,
        "increased_channel_count": False,
    }


def _hrnet(width: int) -> Backbone:
    section = hrnet_section(width, frozen_stats=True)
    return Backbone(section, channels=width, changes={**padding("train", "inference"), **SLOW_RATES})


def cspnext(size: str) -> Backbone:
    """Lyu et al. 2022 (RTMDet): depth and width factors of the sizes s, m and x."""
    depth, width = {"s": (0.33, 0.5), "m": (0.67, 0.75), "x": (1.33, 1.25)}[size]
    section = {"type": "CSPNeXt", "model_name": f"cspnext_{size}", **_TRAINED_NORMS}
    return Backbone({**section, "deepen_factor": depth, "widen_factor": width}, channels=int(1024 * width))


BACKBONES: dict[str, Backbone] = {
    # timm's group-normalised weights: no running statistics, so small batches train well.
    "resnet_50": resnet("resnet50_gn"),
    "resnet_101": resnet("resnet101"),
    "hrnet_w18": _hrnet(18),
    "hrnet_w32": _hrnet(32),
    "hrnet_w48": _hrnet(48),
    "cspnext_s": cspnext("s"),
    "cspnext_m": cspnext("m"),
    "cspnext_x": cspnext("x"),
}


def _single_animal(name: str, backbone: Backbone) -> Model:
    def section(metadata: Metadata) -> dict[str, Any]:
        head = heatmap_head(backbone.channels, len(metadata.bodyparts))
        return network(backbone.section, backbone.channels, head)

    return Model(name, "bu", section, backbone.changes)


def _assembled(name: str, backbone: Backbone) -> Model:
    def section(metadata: Metadata) -> dict[str, Any]:
        head = affinity_head(
            metadata,
            backbone.channels,
            predictor_options={"apply_sigmoid": True, "clip_scores": False},
            target_options={"gradient_masking": False},
        )
        return network(backbone.section, backbone.channels, head)

    return Model(name, "bu", section, backbone.changes)


def _top_down(name: str, backbone: Backbone) -> Model:
    def section(metadata: Metadata) -> dict[str, Any]:
        keypoints = len(metadata.bodyparts)
        head = crop_head(backbone.channels, keypoints, gradient_masking=True, background_weight=0.0)
        return network(backbone.section, backbone.channels, head)

    return Model(name, "td", section, {**crops(), **backbone.changes})


SINGLE_ANIMAL = {name: _single_animal(name, backbone) for name, backbone in BACKBONES.items()}
ASSEMBLED = {name: _assembled(name, backbone) for name, backbone in BACKBONES.items()}
TOP_DOWN = {f"top_down_{name}": _top_down(name, backbone) for name, backbone in BACKBONES.items()}
