"""A pose network: backbone and heads, built from a whole ``pytorch_config.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import nn

from rigpose.errors import ConfigError
from rigpose.schema import parse, suggest
from rigpose_training.models.backbones import HRNet, HRNetConfig, ResNet, ResNetConfig
from rigpose_training.models.heatmap_head import HeatmapHead, HeatmapHeadConfig
from rigpose_training.pose_config.files import read_pose_config

# A string in the file becomes code here and nowhere else.
BACKBONES: dict[str, tuple[type[Any], Callable[[Any], nn.Module]]] = {
    "ResNet": (ResNetConfig, ResNet),
    "HRNet": (HRNetConfig, HRNet),
}
HEADS: dict[str, tuple[type[Any], Callable[..., nn.Module]]] = {
    "HeatmapHead": (HeatmapHeadConfig, HeatmapHead),
}


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
    """

    def __init__(self, backbone: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict(heads)
        stride = cast(float, backbone.stride)
        self.strides = {name: stride / cast(float, head.stride) for name, head in heads.items()}

    def forward(self, images: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
        features = self.backbone(images)
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
    if section.neck is not None:
        raise ConfigError(f"{where}: model.neck: necks are not built yet; remove the key or choose another model.")
    place = f"{where}: model.backbone"
    config_class, backbone_class = _choose(BACKBONES, section.backbone, place)
    backbone_config = parse(config_class, section.backbone, where=place)
    if backbone_config.model_name not in timm.list_models():
        near = suggest(backbone_config.model_name, timm.list_models())
        raise ConfigError(f"{place}.model_name: timm has no {backbone_config.model_name!r}{near}.")
    backbone = backbone_class(backbone_config)
    heads = {}
    for name, head in section.heads.items():
        place = f"{where}: model.heads.{name}"
        config_class, head_class = _choose(HEADS, head, place)
        head_config = parse(config_class, head, where=place)
        heads[name] = head_class(head_config, in_channels=section.backbone_output_channels, where=place)
    return PoseModel(backbone, heads)


def _choose(table: Mapping[str, Any], section: Mapping[str, Any], where: str) -> Any:
    kind = str(section.get("type"))
    if kind not in table:
        known = ", ".join(table)
        raise ConfigError(f"{where}.type: {kind!r} is none of {known}{suggest(kind, table)}.")
    return table[kind]
