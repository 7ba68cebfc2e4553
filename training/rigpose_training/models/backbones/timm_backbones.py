"""ResNet and HRNet: timm's networks under DeepLabCut's parameter names (``model.*``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import timm
import torch
from torch import nn

from rigpose.errors import ConfigError
from rigpose.schema import suggest


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


class TimmBackbone(nn.Module, ABC):
    """A timm network in ``model``, as a pose model's backbone."""

    def __init__(self, config: ResNetConfig | HRNetConfig, *, stride: float) -> None:
        super().__init__()
        if config.model_name not in timm.list_models():
            near = suggest(config.model_name, timm.list_models())
            raise ConfigError(f"model.backbone.model_name: timm has no {config.model_name!r}{near}.")
        self.stride = stride
        self.pretrained_name = config.model_name
        self.freeze_bn_stats = config.freeze_bn_stats
        self.freeze_bn_weights = config.freeze_bn_weights
        self.model = self._create(pretrained=False)

    @abstractmethod
    def _create(self, *, pretrained: bool) -> nn.Module:
        """The timm network, with ImageNet weights from timm's hub or its cache if asked."""

    def imagenet_weights(self) -> Mapping[str, torch.Tensor]:
        """Its own state dict with timm's ImageNet weights; raises what the hub's client raises."""
        donor = self._create(pretrained=True).state_dict()
        return {f"model.{key}": value for key, value in donor.items()}


class ResNet(TimmBackbone):
    """(B, 3, H, W) -> (B, C, H/s, W/s) with s = ``output_stride`` (He et al. 2016)."""

    def __init__(self, config: ResNetConfig) -> None:
        self.config = config
        super().__init__(config, stride=float(config.output_stride))
        self.out_channels = cast(int, self.model.num_features)

    def _create(self, *, pretrained: bool) -> nn.Module:
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


class HRNet(TimmBackbone):
    """(B, 3, H, W) -> the stride-4 branch (B, C, H/4, W/4) (Wang et al. 2020). H and W must be multiples of 32.

    With ``interpolate_branches`` the other three branches are resized to it and concatenated, as DEKR needs.
    """

    def __init__(self, config: HRNetConfig) -> None:
        self.config = config
        super().__init__(config, stride=float(config.stride))
        widths = cast(Any, self.model.feature_info).channels()
        self.out_channels: int = sum(widths) if config.interpolate_branches else widths[0]

    def _create(self, *, pretrained: bool) -> nn.Module:
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
