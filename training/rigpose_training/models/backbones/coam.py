"""HRNet that attends to a rough pose between its stages (CoAM), under DeepLabCut's parameter names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from rigpose.errors import ConfigError
from rigpose_training.models.backbones.timm_backbones import HRNet, HRNetConfig
from rigpose_training.models.conditions import ConditionImage, KeypointEncoderConfig

DROPOUT = 0.1  # of attention weights


@dataclass(frozen=True)
class HRNetCoAMConfig:
    """``model.backbone`` of a ``type: HRNetCoAM``.

    Attributes:
        base_model_name: timm's name of the HRNet.
        coam_modules: The transitions, 1 to 3, after which the branches attend to the rough pose.
        channel_att_only: Whether attention is among channels alone, and then multiplies the features.
        att_heads: Of each attention.
        img_size: Height and width of the images [input px], which the weights depend on.
    """

    type: str
    kpt_encoder: KeypointEncoderConfig
    base_model_name: str = "hrnet_w32"
    coam_modules: tuple[int, ...] = (2,)
    channel_att_only: bool = False
    att_heads: int = 1
    img_size: tuple[int, int] = (256, 256)
    freeze_bn_stats: bool = True
    freeze_bn_weights: bool = False
    pretrained: bool | None = False


class HRNetCoAM(HRNet):
    """Images (B, 3, H, W) and conditions (B, K, 3) -> stride-4 features (B, C, H/4, W/4) (Zhou et al. 2023, BUCTD)."""

    conditional = True

    def __init__(self, config: HRNetCoAMConfig) -> None:
        super().__init__(
            HRNetConfig(
                type="HRNet",
                model_name=config.base_model_name,
                freeze_bn_stats=config.freeze_bn_stats,
                freeze_bn_weights=config.freeze_bn_weights,
            )
        )
        _check(config)
        self.condition_image = ConditionImage(config.kpt_encoder, config.img_size)
        widths = cast(Any, self.model)
        channels = {
            1: widths.stage2_cfg["num_channels"],
            2: widths.stage3_cfg["num_channels"],
            3: widths.stage4_cfg["num_channels"],
        }
        # DeepLabCut counts its blocks from 0.
        self.coam_stages = nn.ModuleDict(
            {str(place - 1): CoAMBlock(config, channels[place]) for place in config.coam_modules}
        )

    # It takes one thing more than HRNet, and every caller asks ``conditional`` first.
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, images: torch.Tensor, conditions: torch.Tensor
    ) -> torch.Tensor:
        drawn = self.condition_image(images, conditions)
        net = cast(Any, self.model)
        features = net.act1(net.bn1(net.conv1(images)))
        features = net.act2(net.bn2(net.conv2(features)))
        branches = [net.layer1(features)]
        steps = ((net.transition1, net.stage2), (net.transition2, net.stage3), (net.transition3, net.stage4))
        for place, (transition, stage) in enumerate(steps):
            branches = [
                branches[i] if isinstance(layer, nn.Identity) else layer(branches[-1])
                for i, layer in enumerate(transition)
            ]
            if str(place) in self.coam_stages:
                branches = self.coam_stages[str(place)](branches, drawn)
            branches = stage(branches)
        return branches[0]


class CoAMBlock(nn.Module):
    """Every branch attends to the picture of the rough pose, at its own resolution."""

    def __init__(self, config: HRNetCoAMConfig, channels: list[int]) -> None:
        super().__init__()
        height, width = config.img_size
        self.att_layers = nn.ModuleList(
            ConditionalAttention(config, width_i, (height // 2 ** (i + 2), width // 2 ** (i + 2)))
            for i, width_i in enumerate(channels)
        )

    def forward(self, branches: list[torch.Tensor], drawn: torch.Tensor) -> list[torch.Tensor]:
        return [attend(branch, drawn) for attend, branch in zip(self.att_layers, branches, strict=True)]


class ConditionalAttention(nn.Module):
    """Features (B, C, h, w) and the picture (B, K, H, W) -> features, by attention among places and among channels."""

    def __init__(self, config: HRNetCoAMConfig, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        conditions = config.kpt_encoder.num_joints
        # DeepLabCut resizes the picture to w rows and h columns, which is not the features' shape unless the image
        # is square. Its networks were trained with that, so it is so here.
        self.resize = Resize(config.img_size, (size[1], size[0]))
        self.position_attention_module: PositionAttention | None = None
        if not config.channel_att_only:
            self.position_attention_module = PositionAttention(channels, conditions, config.att_heads)
        self.channel_attention_module = ChannelAttention(channels, conditions, math.prod(size), config.att_heads)

    def forward(self, features: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        drawn = self.resize(drawn)
        among_channels = self.channel_attention_module(features, drawn)
        if self.position_attention_module is None:
            return features * among_channels
        return features + (self.position_attention_module(features, drawn) + among_channels)


class PositionAttention(nn.Module):
    """Places of the picture ask, places of the features answer (B, C, h, w)."""

    def __init__(self, channels: int, conditions: int, heads: int) -> None:
        super().__init__()
        self.cnn = nn.Conv2d(channels, channels, 3, padding=1)
        self.pa = PlaceAttention(channels, conditions, heads)
        self.cnn_cond = nn.Conv2d(conditions, conditions, 3, padding=1)

    def forward(self, features: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        places = self.cnn(features).flatten(2).transpose(1, 2)  # (B, h * w, C)
        asking = self.cnn_cond(drawn).flatten(2).transpose(1, 2)  # (B, h * w, K)
        return self.pa(asking, places).transpose(1, 2).unflatten(2, features.shape[-2:])


class PlaceAttention(nn.Module):
    """Multi-head attention from vectors (B, N, K) to vectors (B, N, C), each head with C numbers."""

    def __init__(self, channels: int, conditions: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.fc_q = _linear(conditions, heads * channels)
        self.fc_k = _linear(channels, heads * channels)
        self.fc_v = _linear(channels, heads * channels)
        self.fc_o = _linear(heads * channels, channels)

    def forward(self, asking: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        vectors = (self.fc_q(asking), self.fc_k(places), self.fc_v(places))
        return self.fc_o(_attend(vectors, self.heads, DROPOUT if self.training else 0.0))


class ChannelAttention(nn.Module):
    """Channels of the picture ask, channels of the features answer (B, C, h, w)."""

    def __init__(self, channels: int, conditions: int, places: int, heads: int) -> None:
        super().__init__()
        self.cnn = nn.Conv2d(channels, channels, 3, padding=1)
        self.cnn_cond = nn.Conv2d(conditions, channels, 3, padding=1)
        self.pa = MapAttention(places, heads)

    def forward(self, features: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        maps = self.cnn(features).flatten(2)  # (B, C, h * w)
        asking = self.cnn_cond(drawn).flatten(2)
        return self.pa(asking, maps).unflatten(2, features.shape[-2:])


class MapAttention(nn.Module):
    """Multi-head attention among whole maps (B, C, N) as they are; one linear layer mixes the N places afterwards."""

    def __init__(self, places: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.fc_o = _linear(places, places)

    def forward(self, asking: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        return self.fc_o(_attend((asking, maps, maps), self.heads, DROPOUT if self.training else 0.0))


class Resize(nn.Module):
    """(..., H, W) -> (..., h, w), bilinear with anti-aliasing.

    As two constant matrices, since inference engines have no anti-aliased resize.
    """

    vertical: torch.Tensor
    horizontal: torch.Tensor

    def __init__(self, from_size: tuple[int, int], to_size: tuple[int, int]) -> None:
        super().__init__()
        # Not persistent: a checkpoint's keys stay DeepLabCut's.
        self.register_buffer("vertical", _resize_matrix(from_size[0], to_size[0]), persistent=False)
        self.register_buffer("horizontal", _resize_matrix(from_size[1], to_size[1]).T.contiguous(), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.vertical @ (images @ self.horizontal)


def _resize_matrix(from_size: int, to_size: int) -> torch.Tensor:
    """(to, from): what each cell takes from each pixel."""
    dots = torch.eye(from_size)[None, None]
    return functional.interpolate(dots, size=(to_size, from_size), mode="bilinear", antialias=True)[0, 0]


def _attend(vectors: tuple[torch.Tensor, torch.Tensor, torch.Tensor], heads: int, dropout: float) -> torch.Tensor:
    """Query, key and value (B, N, heads * d) -> (B, N, heads * d)."""
    query, key, value = (v.unflatten(2, (heads, -1)).transpose(1, 2) for v in vectors)
    attended = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
    return attended.transpose(1, 2).flatten(2)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts near zero, so that the attention changes a pretrained HRNet little at first."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=0.001)
    nn.init.zeros_(layer.bias)
    return layer


def _check(config: HRNetCoAMConfig) -> None:
    if not set(config.coam_modules) <= {1, 2, 3}:
        raise ConfigError(
            f"model.backbone.coam_modules: {list(config.coam_modules)} must name transitions 1, 2 or 3 of HRNet."
        )
    if any(size % 32 for size in config.img_size):
        raise ConfigError(
            f"model.backbone.img_size: {list(config.img_size)} must be multiples of 32, because HRNet halves images "
            "five times."
        )
