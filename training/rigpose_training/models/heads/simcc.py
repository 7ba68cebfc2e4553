"""The SimCC head of RTMPose: a class for every half pixel of a row and of a column, under DeepLabCut's names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.layers.drop import DropPath
from torch import nn

from rigpose.errors import ConfigError
from rigpose_training.models.heads.initialisation import initialise_head

Activation = Literal["SiLU", "ReLU"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"SiLU": nn.SiLU, "ReLU": nn.ReLU}


@dataclass(frozen=True)
class GatedAttentionConfig:
    """``gau_cfg``: the attention among keypoints.

    Attributes:
        hidden_dims: Numbers per keypoint.
        s: Numbers per query and key.
        expansion_factor: Of the values and gates over ``hidden_dims``.
        dropout_rate: Of attention weights.
        drop_path: How often a whole sample goes past the attention while the network trains.
    """

    hidden_dims: int = 256
    s: int = 128
    expansion_factor: float = 2.0
    dropout_rate: float = 0.0
    drop_path: float = 0.0
    act_fn: Activation = "SiLU"
    use_rel_bias: bool = False
    pos_enc: bool = False


@dataclass(frozen=True)
class RTMCCHeadConfig:
    """``model.heads.<name>`` of a ``type: RTMCCHead``.

    Attributes:
        input_size: Width and height that the network was built for [input px].
        in_featuremap_size: The cells of the features then, in either order.
        simcc_split_ratio: Classes per pixel.
    """

    type: str
    input_size: tuple[int, int]
    in_channels: int
    out_channels: int
    in_featuremap_size: tuple[int, int]
    predictor: dict[str, Any]
    gau_cfg: GatedAttentionConfig
    simcc_split_ratio: float = 2.0
    final_layer_kernel_size: int = 7
    target_generator: dict[str, Any] | None = None
    criterion: dict[str, Any] | None = None
    aggregator: dict[str, Any] | None = None
    weight_init: str | dict[str, Any] | None = None


class RTMCCHead(nn.Module):
    """Features (B, C, h, w) -> logits ``x`` (B, K, 2W) and ``y`` (B, K, 2H) for an input of W x H pixels.

    SimCC (Li et al. 2022) with RTMPose's attention among keypoints (Jiang et al. 2023).
    """

    def __init__(self, config: RTMCCHeadConfig, *, in_channels: int, where: str) -> None:
        super().__init__()
        _check(config, in_channels, where)
        self.config = config
        self.where = where
        self.stride = 1
        hidden = config.gau_cfg.hidden_dims
        cells = math.prod(config.in_featuremap_size)
        width, height = config.input_size
        kernel = config.final_layer_kernel_size
        self.gau = GatedAttention(config.gau_cfg)
        self.final_layer = nn.Conv2d(in_channels, config.out_channels, kernel, padding=kernel // 2)
        self.mlp = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, hidden, bias=False))
        self.cls_x = nn.Linear(hidden, int(width * config.simcc_split_ratio), bias=False)
        self.cls_y = nn.Linear(hidden, int(height * config.simcc_split_ratio), bias=False)
        initialise_head(self, config.weight_init, where=where)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        self._check_size(features)
        keypoints = self.final_layer(features).flatten(2)  # (B, K, h * w)
        keypoints = self.gau(self.mlp(keypoints))  # (B, K, hidden)
        return {"x": self.cls_x(keypoints), "y": self.cls_y(keypoints)}

    def _check_size(self, features: torch.Tensor) -> None:
        width, height = self.config.input_size
        # Both orders are found in DeepLabCut's files; the longer side belongs to the longer side of the input.
        short, long = sorted(self.config.in_featuremap_size)
        expected = (short, long) if width >= height else (long, short)
        rows, columns = features.shape[-2:]
        if (rows, columns) != expected:
            raise ConfigError(
                f"{self.where}.input_size: the head was built for inputs of {width} x {height} px, whose features have "
                f"{expected[1]} x {expected[0]} cells, but found {columns} x {rows}; set top_down_crop in data.train "
                f"and data.inference to width: {width}, height: {height}."
            )


class ScaleNorm(nn.Module):
    """Each vector divided by its root mean square, times one learned number (Nguyen and Salazar 2019)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = size**-0.5
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        root_mean_square = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) * self.scale
        return vectors / root_mean_square.clamp(min=1e-5) * self.g


class Scale(nn.Module):
    """Each channel times a learned number."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors * self.scale


class GatedAttention(nn.Module):
    """(B, K, C) -> (B, K, C): a gated attention unit with squared ReLU attention (Hua et al. 2022)."""

    def __init__(self, config: GatedAttentionConfig) -> None:
        super().__init__()
        expanded = int(config.hidden_dims * config.expansion_factor)
        self.sizes = [expanded, expanded, config.s]
        self.gamma = nn.Parameter(torch.rand(2, config.s))
        self.beta = nn.Parameter(torch.rand(2, config.s))
        self.o = nn.Linear(expanded, config.hidden_dims, bias=False)
        self.uv = nn.Linear(config.hidden_dims, sum(self.sizes), bias=False)
        nn.init.xavier_uniform_(self.uv.weight)
        self.ln = ScaleNorm(config.hidden_dims)
        self.res_scale = Scale(config.hidden_dims)
        self.activation = ACTIVATIONS[config.act_fn]()
        self.dropout = nn.Dropout(config.dropout_rate)
        self.drop_path = DropPath(config.drop_path)

    def forward(self, keypoints: torch.Tensor) -> torch.Tensor:
        gates, values, shared = self.activation(self.uv(self.ln(keypoints))).split(self.sizes, dim=2)
        queries, keys = (shared.unsqueeze(2) * self.gamma + self.beta).unbind(2)  # (B, K, s) each
        attention = torch.relu(queries @ keys.transpose(1, 2) / math.sqrt(self.sizes[2])).square()  # (B, K, K)
        update = self.o(gates * (self.dropout(attention) @ values))
        return self.res_scale(keypoints) + self.drop_path(update)


def _check(config: RTMCCHeadConfig, in_channels: int, where: str) -> None:
    if config.in_channels != in_channels:
        raise ConfigError(
            f"{where}.in_channels: {config.in_channels} does not fit the backbone, which gives {in_channels} "
            f"channels; write {in_channels}."
        )
    for key, wanted in (("use_rel_bias", config.gau_cfg.use_rel_bias), ("pos_enc", config.gau_cfg.pos_enc)):
        if wanted:
            raise ConfigError(
                f"{where}.gau_cfg.{key}: keypoints have no position in a row, so no RTMPose of DeepLabCut uses it "
                "and rigpose does not have it; write false."
            )
