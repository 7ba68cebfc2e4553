"""Backbones: images -> features. ResNet and HRNet are timm's, under DeepLabCut's parameter names (``model.*``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import timm
import torch
from torch import nn


@dataclass(frozen=True)
class ResNetConfig:
    """``model.backbone`` of a ``type: ResNet``. ``model_name`` is timm's; ``resnet50_gn`` has GroupNorm."""

    type: str
    model_name: str = "resnet50"
    output_stride: int = 32
    freeze_bn_stats: bool = True
    freeze_bn_weights: bool = False
    pretrained: bool | None = False
    drop_path_rate: float = 0.0
    drop_block_rate: float = 0.0


@dataclass(frozen=True)
class HRNetConfig:
    """``model.backbone`` of a ``type: HRNet``."""

    type: str
    stride: int = 4
    model_name: str = "hrnet_w32"
    freeze_bn_stats: bool = True
    freeze_bn_weights: bool = False
    pretrained: bool | None = False
    interpolate_branches: bool = False
    increased_channel_count: bool = False


class Backbone(Protocol):
    """What a pose model asks of a backbone: a timm network in ``model`` and its stride."""

    model: nn.Module
    stride: float
    pretrained_name: str

    def create(self, *, pretrained: bool) -> nn.Module:
        """The timm network, with ImageNet weights from timm's hub or its cache if asked."""
        ...


class ResNet(nn.Module):
    """(B, 3, H, W) -> (B, C, H/s, W/s) with s = ``output_stride`` (He et al. 2016)."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.stride = float(config.output_stride)
        self.pretrained_name = config.model_name
        self.model = self.create(pretrained=False)

    def create(self, *, pretrained: bool) -> nn.Module:
        """The timm network without its classifier."""
        network = timm.create_model(
            self.config.model_name,
            output_stride=self.config.output_stride,
            pretrained=pretrained,
            drop_path_rate=self.config.drop_path_rate,
            drop_block_rate=self.config.drop_block_rate,
        )
        network.fc = nn.Identity()
        return network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: Any = self.model.forward_features  # pyright: ignore[reportAttributeAccessIssue]
        return features(images)


class HRNet(nn.Module):
    """(B, 3, H, W) -> the stride-4 branch (B, C, H/4, W/4) (Wang et al. 2020). H and W must be multiples of 32.

    With ``interpolate_branches`` the other three branches are resized to it and concatenated, as DEKR needs.
    """

    def __init__(self, config: HRNetConfig) -> None:
        super().__init__()
        self.config = config
        self.stride = float(config.stride)
        self.pretrained_name = config.model_name
        self.model = self.create(pretrained=False)

    def create(self, *, pretrained: bool) -> nn.Module:
        """The timm network with its four branches as outputs, without the classifier."""
        return timm.create_model(
            self.config.model_name,
            pretrained=pretrained,
            features_only=True,
            feature_location="incre" if self.config.increased_channel_count else "",
            out_indices=(1, 2, 3, 4),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        branches = self.model(images)
        if not self.config.interpolate_branches:
            return branches[0]
        size = branches[0].shape[-2:]
        resized = [nn.functional.interpolate(b, size=size, mode="bilinear") for b in branches[1:]]
        return torch.cat([branches[0], *resized], dim=1)
