"""Necks: what stands between a backbone and its heads in a few architectures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from rigpose.errors import ConfigError
from rigpose.schema import parse
from rigpose_training.models.sections import choose


@dataclass(frozen=True)
class TransformerConfig:
    """``model.neck`` of a ``type: Transformer``.

    Attributes:
        feature_size: Rows and columns of the backbone's features.
        patch_size: Rows and columns of the cells that make a token.
        channels: Of the backbone's features.
        dim: Numbers per token.
        depth: Layers in each of the three stacks.
        heads: Of each attention.
        mlp_dim: Hidden numbers of each layer's two-layer perceptron; 3 is what DeepLabCut's TokenPose is trained with.
        apply_init: Whether linear layers start from N(0, 0.02) instead of torch's own weights.
        heatmap_size: Of the head; nothing here depends on it.
    """

    type: str
    feature_size: tuple[int, int]
    patch_size: tuple[int, int]
    num_keypoints: int
    dim: int
    depth: int
    heads: int
    mlp_dim: int = 3
    apply_init: bool = False
    heatmap_size: tuple[int, int] = (64, 64)
    channels: int = 32
    dropout: float = 0.0
    emb_dropout: float = 0.0
    pos_embedding_type: Literal["sine-full"] = "sine-full"


class Transformer(nn.Module):
    """Features (B, C, h, w) -> keypoint tokens of three stacks of layers (B, K, 3 dim) (Li et al. 2021, TokenPose).

    Patches of the features and one learned token per keypoint attend to each other; the keypoint tokens after each
    stack are the result.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        _check(config)
        self.config = config
        rows, columns = (cells // patch for cells, patch in zip(config.feature_size, config.patch_size, strict=True))
        self.keypoint_token = nn.Parameter(torch.zeros(1, config.num_keypoints, config.dim))
        # A parameter that does not learn, because DeepLabCut's snapshots hold it.
        self.pos_embedding = nn.Parameter(sine_positions(rows, columns, config.dim), requires_grad=False)
        self.patch_to_embedding = nn.Linear(config.channels * math.prod(config.patch_size), config.dim)
        self.dropout = nn.Dropout(config.emb_dropout)
        self.transformer1 = Stack(config)
        self.transformer2 = Stack(config)
        self.transformer3 = Stack(config)
        if config.apply_init:
            self._initialise()

    def _initialise(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        self._check_size(features)
        keypoints = self.config.num_keypoints
        patches = self.patch_to_embedding(self._patches(features)) + self.pos_embedding
        tokens = torch.cat([self.keypoint_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        # Keypoint tokens have no place in the image, so their positions are zero.
        positions = functional.pad(self.pos_embedding, (0, 0, keypoints, 0))
        first = self.transformer1(self.dropout(tokens), None)
        second = self.transformer2(first, positions)
        third = self.transformer3(second, positions)
        return torch.cat([tokens[:, :keypoints] for tokens in (first, second, third)], dim=2)

    def _patches(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, patches in row order, cells of a patch in row order times C)."""
        p, q = self.config.patch_size
        cells = features.unflatten(3, (-1, q)).unflatten(2, (-1, p))  # (B, C, rows, p, columns, q)
        return cells.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)

    def _check_size(self, features: torch.Tensor) -> None:
        expected = (self.config.channels, *self.config.feature_size)
        if tuple(features.shape[1:]) != expected:
            raise ConfigError(
                f"model.neck: was built for features of {expected} channels, rows and columns, but found "
                f"{tuple(features.shape[1:])}; set top_down_crop in data.train and data.inference to the size that "
                "the network was built for (feature_size times the backbone's stride)."
            )


class Stack(nn.Module):
    """``depth`` transformer layers over tokens (B, N, dim); positions are added again before all but the first."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim, dropout = config.dim, config.dropout
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    Residual(PreNorm(dim, Attention(dim, config.heads, dropout))),
                    Residual(PreNorm(dim, FeedForward(dim, config.mlp_dim, dropout))),
                ]
            )
            for _ in range(config.depth)
        )

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
        for i, layer in enumerate(self.layers):
            if positions is not None and i > 0:
                tokens = tokens + positions
            for half in layer.children():
                tokens = half(tokens)
        return tokens


class Residual(nn.Module):
    """What ``fn`` gives, added to what it took."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fn(tokens) + tokens


class PreNorm(nn.Module):
    """``fn`` of normalised tokens."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fn(self.norm(tokens))


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017)."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(dropout))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.to_qkv(tokens).chunk(3, dim=-1)
        )  # (B, heads, N, dim / heads) each
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.to_out(attended.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """A perceptron with one hidden layer, applied to each token."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim), nn.Dropout(dropout)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.net(tokens)


def sine_positions(rows: int, columns: int, dim: int) -> torch.Tensor:
    """(1, rows * columns, dim) sines and cosines of each patch's row, then of its column (Carion et al. 2020, DETR).

    A row or column counts from 1 and is scaled so that the last one is a whole turn.
    """
    half = dim // 2
    wavelength = 10000 ** (2 * (torch.arange(half) // 2) / half)

    def waves(count: int) -> torch.Tensor:
        turn = torch.arange(1, count + 1, dtype=torch.float32) / (count + 1e-6) * 2 * math.pi
        angles = turn[:, None] / wavelength  # (count, half)
        return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1)

    down = waves(rows)[:, None].expand(rows, columns, half)
    across = waves(columns)[None].expand(rows, columns, half)
    return torch.cat([down, across], dim=2).reshape(1, rows * columns, dim)


def _check(config: TransformerConfig) -> None:
    if any(cells % patch for cells, patch in zip(config.feature_size, config.patch_size, strict=True)):
        raise ConfigError(
            f"model.neck.patch_size: patches of {config.patch_size} do not fill features of {config.feature_size} "
            "cells; give a patch size that divides feature_size."
        )
    if config.dim % config.heads or config.dim % 4:
        raise ConfigError(
            f"model.neck.dim: {config.dim} must be a multiple of heads ({config.heads}) and of 4, because it is shared "
            "among heads and among sines and cosines of rows and columns."
        )


# A string in the file becomes code here and nowhere else.
NECKS: dict[str, tuple[type[Any], Callable[[Any], nn.Module]]] = {
    "Transformer": (TransformerConfig, Transformer),
}


def build_neck(section: Mapping[str, Any], *, where: str) -> nn.Module:
    """The neck that a ``model.neck`` section describes, with random weights.

    Raises:
        ConfigError: A key, type or number that does not fit; the message names it.
    """
    config_class, neck_class = choose(NECKS, section, where=where)
    return neck_class(parse(config_class, section, where=where))
