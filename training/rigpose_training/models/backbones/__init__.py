"""Backbones: images -> features, one file per family, under DeepLabCut's parameter names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import nn

from rigpose.schema import parse
from rigpose_training.models.backbones.coam import HRNetCoAM, HRNetCoAMConfig
from rigpose_training.models.backbones.cond_prenet import CondPreNet, CondPreNetConfig
from rigpose_training.models.backbones.cspnext import CSPNeXt, CSPNeXtConfig
from rigpose_training.models.backbones.dlcrnet import DLCRNet, DLCRNetConfig
from rigpose_training.models.backbones.timm_backbones import HRNet, HRNetConfig, ResNet, ResNetConfig
from rigpose_training.models.sections import choose


class Backbone(Protocol):
    """What a pose model asks of a backbone.

    Attributes:
        stride: Input px per cell of its features.
        out_channels: Of its features.
        pretrained_name: What its ImageNet weights are called.
        freeze_bn_stats: Whether its batch normalisation keeps running statistics while the network trains.
        freeze_bn_weights: Whether its batch normalisation keeps scale and shift.
    """

    stride: float
    out_channels: int
    pretrained_name: str
    freeze_bn_stats: bool
    freeze_bn_weights: bool

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised RGB (B, 3, H, W) -> features (B, C, h, w)."""
        ...

    def imagenet_weights(self) -> Mapping[str, torch.Tensor]:
        """Its own state dict with ImageNet weights, from a hub or its cache; raises what the hub's client raises."""
        ...


# A string in the file becomes code here and nowhere else.
BACKBONES: dict[str, tuple[type[Any], Callable[[Any], nn.Module]]] = {
    "ResNet": (ResNetConfig, ResNet),
    "HRNet": (HRNetConfig, HRNet),
    "DLCRNet": (DLCRNetConfig, DLCRNet),
    "CSPNeXt": (CSPNeXtConfig, CSPNeXt),
    "HRNetCoAM": (HRNetCoAMConfig, HRNetCoAM),
    "CondPreNet": (
        CondPreNetConfig,
        lambda config: CondPreNet(config, build_backbone(config.backbone, where="model.backbone.backbone")),
    ),
}


def build_backbone(section: Mapping[str, Any], *, where: str) -> nn.Module:
    """The backbone that a ``model.backbone`` section describes, with random weights.

    Raises:
        ConfigError: A key, type or number that does not fit; the message names it.
    """
    config_class, backbone_class = choose(BACKBONES, section, where=where)
    return backbone_class(parse(config_class, section, where=where))
