"""CSPNeXt, the backbone of RTMPose (Lyu et al. 2022, RTMDet), under DeepLabCut's parameter names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

HUB = "DeepLabCut/DeepLabCut-Backbones"
"""Where DeepLabCut keeps ImageNet weights for ``cspnext_s``, ``cspnext_m`` and ``cspnext_x``."""

Activation = Literal["SiLU", "ReLU"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"SiLU": nn.SiLU, "ReLU": nn.ReLU}


@dataclass(frozen=True)
class CSPNeXtConfig:
    """``model.backbone`` of a ``type: CSPNeXt``.

    ``model_name`` names the ImageNet weights; the two factors make the network. ``SyncBN`` and ``BN`` are both plain
    batch normalisation here, with the same parameters.
    """

    type: str
    model_name: str = "cspnext_m"
    deepen_factor: float = 0.67
    widen_factor: float = 0.75
    expand_ratio: float = 0.5
    channel_attention: bool = True
    arch: Literal["P5"] = "P5"
    out_indices: Literal[-1] = -1
    norm_layer: Literal["SyncBN", "BN"] = "SyncBN"
    activation_fn: Activation = "SiLU"
    # DeepLabCut's flags do not reach its synchronised normalisation, so what is not written is not frozen.
    freeze_bn_stats: bool = False
    freeze_bn_weights: bool = False
    pretrained: bool | None = False


class CSPNeXt(nn.Module):
    """(B, 3, H, W) -> (B, 1024 ``widen_factor``, H/32, W/32); any H and W."""

    def __init__(self, config: CSPNeXtConfig) -> None:
        super().__init__()
        self.config = config
        self.stride = 32.0
        self.pretrained_name = config.model_name
        self.freeze_bn_stats = config.freeze_bn_stats
        self.freeze_bn_weights = config.freeze_bn_weights
        widths = [int(width * config.widen_factor) for width in (64, 128, 256, 512, 1024)]
        blocks = [max(round(count * config.deepen_factor), 1) for count in (3, 6, 6, 3)]
        self.out_channels = widths[-1]
        activation = config.activation_fn
        half = int(64 * config.widen_factor // 2)
        self.stem = nn.Sequential(
            ConvUnit(3, half, 3, activation, stride=2),
            ConvUnit(half, half, 3, activation),
            ConvUnit(half, widths[0], 3, activation),
        )
        self.stage1 = _stage(widths[0], widths[1], blocks[0], config)
        self.stage2 = _stage(widths[1], widths[2], blocks[1], config)
        self.stage3 = _stage(widths[2], widths[3], blocks[2], config)
        self.stage4 = _stage(widths[3], widths[4], blocks[3], config, last=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.stage4(self.stage3(self.stage2(self.stage1(self.stem(images)))))

    def imagenet_weights(self) -> Mapping[str, torch.Tensor]:
        """Its own state dict with ImageNet weights from DeepLabCut's hub or its cache."""
        from huggingface_hub import hf_hub_download

        path = hf_hub_download(HUB, f"{self.config.model_name}.pt")
        return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


def _stage(in_channels: int, out_channels: int, blocks: int, config: CSPNeXtConfig, *, last: bool = False) -> nn.Module:
    """Half the resolution; the last stage pools over several windows and has no shortcuts in its blocks."""
    layers: list[nn.Module] = [ConvUnit(in_channels, out_channels, 3, config.activation_fn, stride=2)]
    if last:
        layers.append(PyramidPooling(out_channels, config.activation_fn))
    layers.append(CSPLayer(out_channels, blocks, config, shortcut=not last))
    return nn.Sequential(*layers)


class ConvUnit(nn.Module):
    """Convolution without bias, batch normalisation, activation; padded so that stride 1 keeps the size."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        activation: Activation,
        *,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.activate = ACTIVATIONS[activation]()
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.activate(self.norm(self.conv(features)))


class DepthwiseSeparable(nn.Module):
    """A 5 x 5 convolution per channel, then one over channels."""

    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        self.depthwise_conv = ConvUnit(channels, channels, 5, activation, groups=channels)
        self.pointwise_conv = ConvUnit(channels, channels, 1, activation)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.pointwise_conv(self.depthwise_conv(features))


class CSPNeXtBlock(nn.Module):
    """A 3 x 3 convolution and a depthwise separable one, with or without a shortcut around both."""

    def __init__(self, channels: int, activation: Activation, *, shortcut: bool) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.conv1 = ConvUnit(channels, channels, 3, activation)
        self.conv2 = DepthwiseSeparable(channels, activation)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        out = self.conv2(self.conv1(features))
        return out + features if self.shortcut else out


class ChannelAttention(nn.Module):
    """Each channel times a weight in 0..1 that all channels' means decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        # The mean over a whole map overflows half precision, so it is always taken in float32.
        means = features.float().mean(dim=(2, 3), keepdim=True).to(features.dtype)
        return features * nn.functional.hardsigmoid(self.fc(means))


class CSPLayer(nn.Module):
    """Blocks on one half of the channels and none on the other (Wang et al. 2020, CSPNet)."""

    def __init__(self, channels: int, blocks: int, config: CSPNeXtConfig, *, shortcut: bool) -> None:
        super().__init__()
        activation = config.activation_fn
        half = int(channels * config.expand_ratio)
        self.main_conv = ConvUnit(channels, half, 1, activation)
        self.short_conv = ConvUnit(channels, half, 1, activation)
        self.final_conv = ConvUnit(2 * half, channels, 1, activation)
        self.blocks = nn.Sequential(*(CSPNeXtBlock(half, activation, shortcut=shortcut) for _ in range(blocks)))
        self.attention = ChannelAttention(2 * half) if config.channel_attention else nn.Identity()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.blocks(self.main_conv(features)), self.short_conv(features)], dim=1)
        return self.final_conv(self.attention(both))


class PyramidPooling(nn.Module):
    """Maxima over windows of 5, 9 and 13 cells beside the features themselves (He et al. 2015)."""

    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = ConvUnit(channels, half, 1, activation)
        self.poolings = nn.ModuleList(nn.MaxPool2d(size, stride=1, padding=size // 2) for size in (5, 9, 13))
        self.conv2 = ConvUnit(4 * half, channels, 1, activation)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        narrow = self.conv1(features)
        return self.conv2(torch.cat([narrow, *(pool(narrow) for pool in self.poolings)], dim=1))
