"""Any backbone behind two small stacks of convolutions that add the rough pose's picture to the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from rigpose_training.models.conditions import ConditionImage, KeypointEncoderConfig


@dataclass(frozen=True)
class CondPreNetConfig:
    """``model.backbone`` of a ``type: CondPreNet``.

    Attributes:
        backbone: The section of the backbone that follows.
        img_size: Height and width of the images [input px].
        freeze_bn_stats: Of all normalisation in here; not set, the inner backbone's flag counts.
        freeze_bn_weights: The same for scale and shift.
    """

    type: str
    backbone: dict[str, Any]
    kpt_encoder: KeypointEncoderConfig
    img_size: tuple[int, int] = (256, 256)
    pretrained: bool | None = False
    freeze_bn_stats: bool | None = None
    freeze_bn_weights: bool | None = None


class CondPreNet(nn.Module):
    """Images (B, 3, H, W) and conditions (B, K, 3) -> features of the inner backbone (Zhou et al. 2023, BUCTD).

    The inner section's ``freeze_bn_stats`` and ``freeze_bn_weights`` are obeyed. DeepLabCut passes them over and
    freezes all normalisation while it trains, the new layers' included, whatever the file says.
    """

    conditional = True

    def __init__(self, config: CondPreNetConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        inner = cast(Any, backbone)
        self.stride: float = inner.stride
        self.out_channels: int = inner.out_channels
        self.pretrained_name: str = inner.pretrained_name
        self.freeze_bn_stats = _first(config.freeze_bn_stats, inner.freeze_bn_stats)
        self.freeze_bn_weights = _first(config.freeze_bn_weights, inner.freeze_bn_weights)
        self.condition_image = ConditionImage(config.kpt_encoder, config.img_size)
        self.rgb_preNet = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.Conv2d(64, 3, 7, padding=3), nn.BatchNorm2d(3)
        )
        self.cond_preNet = nn.Sequential(nn.Conv2d(self.condition_image.channels, 3, 7, padding=3), nn.BatchNorm2d(3))
        for layer in (*self.rgb_preNet, *self.cond_preNet):
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.001)
                nn.init.zeros_(cast(torch.Tensor, layer.bias))

    def imagenet_weights(self) -> Mapping[str, torch.Tensor]:
        """The inner backbone's ImageNet weights under this network's keys; the new layers have none."""
        inner = cast(Any, self.backbone).imagenet_weights()
        return {f"backbone.{key}": value for key, value in inner.items()}

    def forward(self, images: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        drawn = self.condition_image(images, conditions)
        return self.backbone(self.rgb_preNet(images) + self.cond_preNet(drawn))


def _first(own: bool | None, inner: bool) -> bool:  # noqa: FBT001  # two values of one flag
    return inner if own is None else own
