"""DLCRNet: a ResNet whose early features are fused with its last ones, under DeepLabCut's parameter names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from rigpose.errors import ConfigError
from rigpose_training.models.backbones.timm_backbones import ResNet, ResNetConfig

BANK_CHANNELS = 128


@dataclass(frozen=True)
class DLCRNetConfig(ResNetConfig):
    """``model.backbone`` of a ``type: DLCRNet``; ``model_name`` is a ResNet of timm with bottleneck blocks.

    DeepLabCut freezes its batch normalisation altogether unless the file says otherwise.
    """

    freeze_bn_weights: bool = True


class DLCRNet(ResNet):
    """(B, 3, H, W) -> (B, 2304, H/s, W/s): banks from stride 4 and stride 8 before the trunk (Lauer et al. 2022)."""

    def __init__(self, config: DLCRNetConfig) -> None:
        super().__init__(config)
        trunk = cast(Any, self.model)
        if len(trunk.layer1) < 3 or len(trunk.layer2) < 3 or trunk.num_features != 2048:
            raise ConfigError(
                f"model.backbone.model_name: {config.model_name!r} has no bank features at its third blocks; use "
                "resnet50 or a deeper ResNet."
            )
        self.conv_block1 = _conv_block(512, 512, kernel_size=3, stride=2)
        self.conv_block2 = _conv_block(512, BANK_CHANNELS, kernel_size=1, stride=1)
        self.conv_block3 = _conv_block(256, 256, kernel_size=3, stride=2)
        self.conv_block4 = _conv_block(256, 256, kernel_size=3, stride=2)
        self.conv_block5 = _conv_block(256, BANK_CHANNELS, kernel_size=1, stride=1)
        self.out_channels += 2 * BANK_CHANNELS

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        trunk = cast(Any, self.model)
        stem = trunk.maxpool(trunk.act1(trunk.bn1(trunk.conv1(images))))
        at_stride_4 = trunk.layer1[:3](stem)
        at_stride_8 = trunk.layer2[:3](trunk.layer1[3:](at_stride_4))
        features = trunk.layer4(trunk.layer3(trunk.layer2[3:](at_stride_8)))
        # The banks learn from the trunk but do not teach it, as in DeepLabCut, so that both train the same network.
        bank1 = self.conv_block5(self.conv_block4(self.conv_block3(at_stride_4.detach())))
        bank2 = self.conv_block2(self.conv_block1(at_stride_8.detach()))
        height, width = features.shape[-2:]
        return torch.cat([_resize(bank1, height, width), _resize(bank2, height, width), features], dim=1)


def _conv_block(in_channels: int, out_channels: int, *, kernel_size: int, stride: int) -> nn.Sequential:
    """Without padding, so a kernel 3 with stride 2 takes n cells to (n - 1) // 2."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride),
        nn.BatchNorm2d(out_channels, momentum=0.001),
        nn.ReLU(),
    )


def _resize(maps: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Bilinear with antialiasing, (B, C, h, w) -> (B, C, height, width), as a product with two small matrices.

    Inference engines have no antialiased resize, but every one of them multiplies matrices.
    """
    rows = _bilinear(maps.shape[-2], height, maps)
    columns = _bilinear(maps.shape[-1], width, maps)
    return rows @ maps @ columns.transpose(0, 1)


def _bilinear(cells: int, resized: int, like: torch.Tensor) -> torch.Tensor:
    """Weights (resized, cells): a triangle around each new cell's centre, as wide as the coarser of both grids."""
    centres = (torch.arange(resized, device=like.device, dtype=torch.float32) + 0.5) * (cells / resized)
    old = torch.arange(cells, device=like.device, dtype=torch.float32) + 0.5
    reach = torch.clamp(torch.ones_like(centres[:1]) * (cells / resized), min=1.0)
    weights = torch.relu(1 - (old - centres.unsqueeze(1)).abs() / reach)
    return (weights / weights.sum(dim=1, keepdim=True)).to(like.dtype)
