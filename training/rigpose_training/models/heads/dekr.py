"""The DEKR head: heat maps with a centre, and from there an offset to every keypoint, under DeepLabCut's names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import DeformConv2d

from rigpose.errors import ConfigError
from rigpose_training.models.heads.initialisation import initialise_head
from rigpose_training.sampling import deformable_conv


@dataclass(frozen=True)
class DEKRHeatmapConfig:
    """``heatmap_config``: channels in, inside and out (keypoints and the centre)."""

    channels: tuple[int, int, int]
    num_blocks: int = 1
    dilation_rate: int = 1
    final_conv_kernel: int = 1


@dataclass(frozen=True)
class DEKROffsetConfig:
    """``offset_config``: channels in, inside (``num_offset_per_kpt`` for each keypoint), and keypoints."""

    channels: tuple[int, int, int]
    num_offset_per_kpt: int = 15
    num_blocks: int = 2
    dilation_rate: int = 1
    final_conv_kernel: int = 1


@dataclass(frozen=True)
class DEKRHeadConfig:
    """``model.heads.<name>`` of a ``type: DEKRHead``."""

    type: str
    heatmap_config: DEKRHeatmapConfig
    offset_config: DEKROffsetConfig
    predictor: dict[str, Any]
    stride: float = 1.0
    target_generator: dict[str, Any] | None = None
    criterion: dict[str, Any] | None = None
    aggregator: dict[str, Any] | None = None
    weight_init: str | dict[str, Any] | None = "dekr"


class DEKRHead(nn.Module):
    """Features (B, C, h, w) -> ``heatmap`` (B, K + 1, h, w), centre last, and ``offset`` (B, 2K, h, w) x, y [cells].

    Disentangled keypoint regression (Geng et al. 2021).
    """

    def __init__(self, config: DEKRHeadConfig, *, in_channels: int, where: str) -> None:
        super().__init__()
        _check(config, in_channels, where)
        self.config = config
        self.stride = config.stride
        self.heatmap_head = DEKRHeatmap(config.heatmap_config)
        self.offset_head = DEKROffset(config.offset_config)
        initialise_head(self, config.weight_init, where=where)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"heatmap": self.heatmap_head(features), "offset": self.offset_head(features)}


class DEKRHeatmap(nn.Module):
    """(B, C, h, w) -> (B, K + 1, h, w)."""

    def __init__(self, config: DEKRHeatmapConfig) -> None:
        super().__init__()
        in_channels, inside, out_channels = config.channels
        self.transition_heatmap = _transition(in_channels, inside)
        blocks = nn.Sequential(*(BasicBlock(inside, config.dilation_rate) for _ in range(config.num_blocks)))
        self.head_heatmap = nn.ModuleList([blocks, _final_conv(inside, out_channels, config.final_conv_kernel)])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        features = self.transition_heatmap(features)
        for layer in self.head_heatmap:
            features = layer(features)
        return features


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut (He et al. 2016)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        out = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(out)) + features)


class DEKROffset(nn.Module):
    """(B, C, h, w) -> (B, 2K, h, w): each keypoint has its own channels and its own branch.

    The branches are stored one by one, and run side by side as groups of one convolution.
    """

    def __init__(self, config: DEKROffsetConfig) -> None:
        super().__init__()
        in_channels, inside, self.keypoints = config.channels
        per_keypoint = config.num_offset_per_kpt
        self.final_padding = config.final_conv_kernel // 2
        self.transition_offset = _transition(in_channels, inside)
        self.offset_feature_layers = nn.ModuleList(
            nn.Sequential(*(AdaptBlock(per_keypoint, config.dilation_rate) for _ in range(config.num_blocks)))
            for _ in range(self.keypoints)
        )
        self.offset_final_layer = nn.ModuleList(
            _final_conv(per_keypoint, 2, config.final_conv_kernel) for _ in range(self.keypoints)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        features = self.transition_offset(features)
        for blocks in zip(*self.offset_feature_layers, strict=True):
            features = adapt(blocks, features)
        final = list(self.offset_final_layer)
        weight, bias = _joined(layer.weight for layer in final), _joined(layer.bias for layer in final)
        return functional.conv2d(features, weight, bias, padding=self.final_padding, groups=self.keypoints)


class AdaptBlock(nn.Module):
    """The parameters of one keypoint's adaptive convolution: 3 x 3 taps moved by an affine map of their grid.

    ``adapt`` runs the blocks of all keypoints at once.
    """

    regular_matrix: torch.Tensor

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        steps = torch.tensor([-1.0, 0.0, 1.0])
        self.register_buffer("regular_matrix", torch.cartesian_prod(steps, steps).T.contiguous())  # (2, 9) y, x
        self.transform_matrix_conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.translation_conv = nn.Conv2d(channels, 2, 3, padding=1)
        self.adapt_conv = DeformConv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(channels)


def adapt(blocks: tuple[AdaptBlock, ...], features: torch.Tensor) -> torch.Tensor:
    """(B, K c, h, w) -> (B, K c, h, w): one block per keypoint on its c channels, all in the same few operations."""
    keypoints = len(blocks)
    first = blocks[0]
    # Per keypoint a 2 x 2 matrix and a shift of its sampling grid at every cell.
    affine = functional.conv2d(
        features,
        _joined(p for b in blocks for p in (b.transform_matrix_conv.weight, b.translation_conv.weight)),
        _joined(p for b in blocks for p in (b.transform_matrix_conv.bias, b.translation_conv.bias)),
        padding=1,
        groups=keypoints,
    )
    basis = _affine_basis(first.regular_matrix)
    regular = first.regular_matrix.T.reshape(-1)
    offsets = functional.conv2d(affine, basis.repeat(keypoints, 1, 1, 1), -regular.repeat(keypoints), groups=keypoints)
    weight = _joined(b.adapt_conv.weight for b in blocks)
    # There is no deformable convolution in half precision.
    single = torch.promote_types(features.dtype, torch.float32)
    out = deformable_conv(
        features.to(single), offsets.to(single), weight.to(single), groups=keypoints, dilation=first.dilation
    )
    return functional.relu(_batch_norm([b.bn for b in blocks], out) + features)


def _affine_basis(grid: torch.Tensor) -> torch.Tensor:
    """Weights (18, 6, 1, 1) that turn a matrix and a shift into dy, dx of the nine taps of ``grid`` (2, 9)."""
    identity = torch.eye(2, device=grid.device, dtype=grid.dtype)
    matrix = torch.einsum("gt,do->tdog", grid, identity).reshape(18, 4)
    return torch.cat([matrix, identity.repeat(9, 1)], dim=1)[:, :, None, None]


def _batch_norm(norms: list[Any], features: torch.Tensor) -> torch.Tensor:
    """Every layer of ``norms`` on its own channels of (B, K c, h, w); running statistics go back to the layers."""
    first = norms[0]
    mean, var = _joined(n.running_mean for n in norms), _joined(n.running_var for n in norms)
    weight, bias = _joined(n.weight for n in norms), _joined(n.bias for n in norms)
    out = functional.batch_norm(features, mean, var, weight, bias, first.training, first.momentum, first.eps)
    if first.training:
        width = first.num_features
        for norm, new_mean, new_var in zip(norms, mean.split(width), var.split(width), strict=True):
            norm.running_mean.copy_(new_mean)
            norm.running_var.copy_(new_var)
            norm.num_batches_tracked.add_(1)
    return out


def _joined(parts: Iterable[Any]) -> torch.Tensor:
    return torch.cat(list(parts))


def _transition(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU())


def _final_conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)


def _check(config: DEKRHeadConfig, in_channels: int, where: str) -> None:
    heatmap, offset = config.heatmap_config, config.offset_config
    keypoints = offset.channels[2]
    expected = {
        "heatmap_config.channels[0]": (heatmap.channels[0], in_channels, "the backbone's features"),
        "offset_config.channels[0]": (offset.channels[0], in_channels, "the backbone's features"),
        "offset_config.channels[1]": (
            offset.channels[1],
            keypoints * offset.num_offset_per_kpt,
            f"{keypoints} keypoints of num_offset_per_kpt {offset.num_offset_per_kpt}",
        ),
        "heatmap_config.channels[2]": (heatmap.channels[2], keypoints + 1, f"{keypoints} keypoints and a centre"),
    }
    for key, (found, needed, what) in expected.items():
        if found != needed:
            raise ConfigError(f"{where}.{key}: {found} does not fit {what}; write {needed}.")
    for name, section in (("heatmap_config", heatmap), ("offset_config", offset)):
        if section.num_blocks < 1:
            raise ConfigError(f"{where}.{name}.num_blocks: {section.num_blocks} is too few; write 1 or more.")
        if section.final_conv_kernel not in (1, 3):
            raise ConfigError(f"{where}.{name}.final_conv_kernel: {section.final_conv_kernel} is neither 1 nor 3.")
