"""The heatmap + offset head of single-animal and top-down models, under DeepLabCut's parameter names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rigpose.errors import ConfigError
from rigpose_training.models.heads.initialisation import initialise_head


@dataclass(frozen=True)
class FinalConv:
    """A convolution after the deconvolutions."""

    out_channels: int
    kernel_size: int = 1


@dataclass(frozen=True)
class DeconvConfig:
    """A stack of transposed convolutions: n + 1 ``channels`` for n ``kernel_size`` and ``strides``.

    A second deconvolution is one more entry in each of the three lists.
    """

    channels: tuple[int, ...]
    kernel_size: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    final_conv: FinalConv | None = None


@dataclass(frozen=True)
class HeatmapHeadConfig:
    """``model.heads.<name>`` of a ``type: HeatmapHead``.

    The predictor, target and loss sections belong to the decoder and to training; they are parsed there.
    """

    type: str
    heatmap_config: DeconvConfig
    predictor: dict[str, Any]
    locref_config: DeconvConfig | None = None
    target_generator: dict[str, Any] | None = None
    criterion: dict[str, Any] | None = None
    aggregator: dict[str, Any] | None = None
    weight_init: str | dict[str, Any] | None = None


class Deconvolutions(nn.Module):
    """(B, C, h, w) -> (B, channels[-1], ...): transposed convolutions with ReLU between, then a 1x1 or wider one.

    No padding, so a kernel 3 with stride 2 takes n cells to 2n + 1.
    """

    def __init__(self, config: DeconvConfig, *, where: str) -> None:
        super().__init__()
        layers = len(config.strides)
        if not (len(config.channels) == len(config.kernel_size) + 1 == layers + 1):
            raise ConfigError(
                f"{where}: {len(config.channels)} channels, {len(config.kernel_size)} kernel sizes and {layers} "
                "strides do not fit; n deconvolutions need n + 1 channels, n kernel sizes and n strides."
            )
        self.stride = math.prod(config.strides)
        stack: list[nn.Module] = []
        for i in range(layers):
            stack += [
                nn.ConvTranspose2d(
                    config.channels[i],
                    config.channels[i + 1],
                    config.kernel_size[i],
                    config.strides[i],
                ),
                nn.ReLU(),
            ]
        self.deconv_layers = nn.Sequential(*stack[:-1]) if stack else nn.Identity()
        self.out_channels = config.channels[-1]
        self.final_conv: nn.Module = nn.Identity()
        if config.final_conv is not None:
            self.out_channels = config.final_conv.out_channels
            self.final_conv = nn.Conv2d(config.channels[-1], self.out_channels, config.final_conv.kernel_size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.final_conv(self.deconv_layers(features))


class HeatmapHead(nn.Module):
    """Features (B, C, h, w) -> ``heatmap`` (B, K, h', w') and, unless switched off, ``locref`` (B, 2K, h', w')."""

    def __init__(self, config: HeatmapHeadConfig, *, in_channels: int, where: str) -> None:
        super().__init__()
        self.config = config
        self.heatmap_head = Deconvolutions(config.heatmap_config, where=f"{where}.heatmap_config")
        self.stride = self.heatmap_head.stride
        self.locref_head: Deconvolutions | None = None
        sections = {"heatmap_config": config.heatmap_config}
        if config.locref_config is not None:
            sections["locref_config"] = config.locref_config
            self.locref_head = Deconvolutions(config.locref_config, where=f"{where}.locref_config")
            check_pair(self.heatmap_head, self.locref_head, where)
        for name, section in sections.items():
            check_input(section, in_channels, where=f"{where}.{name}")
        initialise_head(self, config.weight_init, where=where)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = {"heatmap": self.heatmap_head(features)}
        if self.locref_head is not None:
            maps["locref"] = self.locref_head(features)
        return maps


def check_input(section: DeconvConfig, in_channels: int, *, where: str) -> None:
    """Refuse deconvolutions that do not take what the backbone gives.

    Raises:
        ConfigError: The first channel number is another one.
    """
    if section.channels[0] != in_channels:
        raise ConfigError(
            f"{where}.channels[0]: {section.channels[0]} does not fit the backbone, which gives {in_channels} "
            f"channels; write {in_channels}."
        )


def check_pair(heatmap: Deconvolutions, locref: Deconvolutions, where: str) -> None:
    """Refuse offsets that do not belong to the heat maps.

    Raises:
        ConfigError: The strides differ, or there are not two offsets for each keypoint.
    """
    if heatmap.stride != locref.stride:
        raise ConfigError(
            f"{where}.locref_config.strides: stride {locref.stride} differs from the heatmap's "
            f"{heatmap.stride}; give both the same strides."
        )
    if locref.out_channels != 2 * heatmap.out_channels:
        raise ConfigError(
            f"{where}.locref_config.channels: {locref.out_channels} outputs for {heatmap.out_channels} keypoints; "
            f"offsets need x and y for each, so write {2 * heatmap.out_channels}."
        )
