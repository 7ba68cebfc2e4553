"""The ``pytorch_config.yaml`` of a new shuffle, for every model that can be built.

``base.yaml`` beside this file holds what all models share; ``MODELS`` holds what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rigpose.errors import ConfigError
from rigpose.schema import suggest, to_mapping
from rigpose_training.pose_config.files import read_mapping, update

BASE = Path(__file__).with_name("base.yaml")

LOCREF_STD = 7.2801
"""Pixels per unit of the location refinement maps: sqrt(53), a constant of the first DeepLabCut."""


@dataclass(frozen=True)
class Metadata:
    """``metadata`` of a ``pytorch_config.yaml``: whose keypoints the network finds."""

    project_path: str
    pose_config_path: str
    bodyparts: tuple[str, ...]
    unique_bodyparts: tuple[str, ...] = ()
    individuals: tuple[str, ...] = ("individual_1",)
    with_identity: bool | None = None


@dataclass(frozen=True)
class Model:
    """What one model sets in the configuration.

    Attributes:
        backbone: ``model.backbone``.
        channels: Of the backbone's output.
        changes: Dotted key -> value, where the model leaves the shared settings.
    """

    backbone: Mapping[str, Any]
    channels: int
    changes: Mapping[str, Any] = field(default_factory=dict)


def _resnet(timm_name: str) -> Model:
    frozen = {"freeze_bn_stats": False, "freeze_bn_weights": False}
    return Model({"type": "ResNet", "model_name": timm_name, "output_stride": 16, **frozen}, channels=2048)


def _hrnet(width: int) -> Model:
    # Four resolutions are added up, so both sides must halve five times without a remainder.
    padding = {"pad_width_divisor": 32, "pad_height_divisor": 32}
    return Model(
        {
            "type": "HRNet",
            "model_name": f"hrnet_w{width}",
            "freeze_bn_stats": True,
            "freeze_bn_weights": False,
            "interpolate_branches": False,
            "increased_channel_count": False,
        },
        channels=width,
        changes={
            "data.inference.auto_padding": padding,
            "data.train.auto_padding": padding,
            "runner.optimizer.params.lr": 1e-4,
            "runner.scheduler.params.lr_list": [[1e-5], [1e-6]],
            "runner.scheduler.params.milestones": [160, 190],
        },
    )


MODELS: dict[str, Model] = {
    # timm's group-normalised weights: no running statistics, so small batches train well.
    "resnet_50": _resnet("resnet50_gn"),
    "resnet_101": _resnet("resnet101"),
    "hrnet_w18": _hrnet(18),
    "hrnet_w32": _hrnet(32),
    "hrnet_w48": _hrnet(48),
}


def available_models() -> list[str]:
    """Names that ``create_training_dataset(net_type=...)`` takes."""
    return sorted(MODELS)


def make_pose_config(net_type: str, metadata: Metadata) -> dict[str, Any]:
    """The complete ``pytorch_config.yaml`` mapping of a new shuffle, equal to DeepLabCut's for the same model.

    Raises:
        ConfigError: No such model, or one that does not fit the project's animals.
    """
    if net_type not in MODELS:
        known = ", ".join(available_models())
        raise ConfigError(f"net_type {net_type!r} is not available{suggest(net_type, available_models())} ({known}).")
    if len(metadata.individuals) > 1 or metadata.unique_bodyparts:
        raise ConfigError(
            f"{net_type} finds the keypoints of one animal, but {metadata.project_path} has "
            f"{len(metadata.individuals)} individuals and {len(metadata.unique_bodyparts)} unique bodyparts; "
            f"use it in a single-animal project."
        )
    model = MODELS[net_type]
    keypoints = len(metadata.bodyparts)
    section = {
        "backbone": dict(model.backbone),
        "heads": {"bodypart": _heatmap_head(model.channels, keypoints)},
        "backbone_output_channels": model.channels,
        "neck": None,
        "pose_model": None,
    }
    filled = {"model": section, "net_type": net_type, "metadata": to_mapping(metadata)}
    return update(read_mapping(BASE), {**filled, **model.changes})


def _heatmap_head(channels: int, keypoints: int) -> dict[str, Any]:
    """One deconvolution each for the K heat maps and the 2 K offsets to the keypoint."""
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
            "pos_dist_thresh": 17,
            "heatmap_mode": "KEYPOINT",
            "gradient_masking": False,
            "generate_locref": True,
            "locref_std": LOCREF_STD,
        },
        "criterion": {
            "heatmap": {"type": "WeightedMSECriterion", "weight": 1.0},
            "locref": {"type": "WeightedHuberCriterion", "weight": 0.05},
        },
        "heatmap_config": {"channels": [channels, keypoints], "kernel_size": [3], "strides": [2]},
        "locref_config": {"channels": [channels, 2 * keypoints], "kernel_size": [3], "strides": [2]},
    }
