"""A pose network: backbone and heads, built from a whole ``pytorch_config.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from rigpose.errors import ConfigError
from rigpose.schema import parse
from rigpose_training.models.backbones import build_backbone
from rigpose_training.models.heads import build_head
from rigpose_training.models.necks import build_neck
from rigpose_training.pose_config.files import read_pose_config


@dataclass(frozen=True)
class ModelSection:
    """``model`` of a ``pytorch_config.yaml``; the parts are parsed by what their ``type`` names."""

    backbone: dict[str, Any]
    heads: dict[str, dict[str, Any]]
    backbone_output_channels: int
    neck: dict[str, Any] | None = None
    pose_model: dict[str, Any] | None = None


class PoseModel(nn.Module):
    """Normalised RGB (B, 3, H, W) -> ``{head: {map: tensor}}``; its ``state_dict`` has DeepLabCut's keys.

    Attributes:
        strides: Per head, input px per map cell.
        conditional: Whether the network looks for one animal whose rough pose it is told, as conditional top-down
            models do; it then takes ``conditions`` (B, K, 3) x, y [input px], score beside the images.
    """

    def __init__(self, backbone: nn.Module, heads: Mapping[str, nn.Module], neck: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        # The heads before the neck, because that is the order of keys in DeepLabCut's snapshots.
        self.heads = nn.ModuleDict(heads)
        self.neck = neck
        stride = cast(float, backbone.stride)
        self.strides = {name: stride / cast(float, head.stride) for name, head in heads.items()}
        self.conditional = bool(getattr(backbone, "conditional", False))

    def forward(
        self, images: torch.Tensor, conditions: torch.Tensor | None = None
    ) -> dict[str, dict[str, torch.Tensor]]:
        features = self.backbone(images, conditions) if self.conditional else self.backbone(images)
        if self.neck is not None:
            features = self.neck(features)
        return {name: head(features) for name, head in self.heads.items()}


def build_model(config: Mapping[str, Any] | str | Path) -> PoseModel:
    """Build the network that a ``pytorch_config.yaml`` describes, with random weights.

    Args:
        config: A path or mapping of the whole file.

    Raises:
        ConfigError: A key, type or number that does not fit; the message names it.
    """
    where = "config"
    if isinstance(config, (str, Path)):
        where = str(config)
        config = read_pose_config(config)
    if "model" not in config:
        raise ConfigError(f"{where}: has no model section; give a whole pytorch_config.yaml.")
    section = parse(ModelSection, config["model"], where=f"{where}: model")
    backbone = build_backbone(section.backbone, where=f"{where}: model.backbone")
    if section.backbone_output_channels != backbone.out_channels:
        raise ConfigError(
            f"{where}: model.backbone_output_channels: {section.backbone_output_channels} does not fit the backbone, "
            f"which gives {backbone.out_channels} channels; write {backbone.out_channels}."
        )
    neck = None if section.neck is None else build_neck(section.neck, where=f"{where}: model.neck")
    heads = {
        name: build_head(head, in_channels=section.backbone_output_channels, where=f"{where}: model.heads.{name}")
        for name, head in section.heads.items()
    }
    return PoseModel(backbone, heads, neck)
