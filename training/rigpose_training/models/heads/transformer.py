"""The head of TokenPose: one token per keypoint becomes that keypoint's heat map, under DeepLabCut's names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rigpose.errors import ConfigError
from rigpose_training.models.heads.initialisation import initialise_head


@dataclass(frozen=True)
class TransformerHeadConfig:
    """``model.heads.<name>`` of a ``type: TransformerHead``.

    Attributes:
        dim: Numbers per token in each of the neck's three stacks, which arrive concatenated.
        hidden_heatmap_dim: Width of a hidden layer, which exists where ``apply_multi`` is set and it is at least six
            times ``dim``.
        heatmap_dim: Cells of a heat map.
        heatmap_size: Its rows and columns.
        apply_init: Whether linear layers start from N(0, 0.02) instead of torch's own weights.
        head_stride: How many times finer than the backbone's features the maps are; -n is n times coarser.
    """

    type: str
    predictor: dict[str, Any]
    dim: int
    hidden_heatmap_dim: int
    heatmap_dim: int
    heatmap_size: tuple[int, int]
    apply_multi: bool = True
    apply_init: bool = True
    head_stride: int = 1
    target_generator: dict[str, Any] | None = None
    criterion: dict[str, Any] | None = None
    aggregator: dict[str, Any] | None = None
    weight_init: str | dict[str, Any] | None = None


class TransformerHead(nn.Module):
    """Keypoint tokens (B, K, 3 dim) -> ``heatmap`` (B, K, h, w) (Li et al. 2021, TokenPose)."""

    def __init__(self, config: TransformerHeadConfig, *, in_channels: int, where: str) -> None:  # noqa: ARG002
        # The backbone's channels end in the neck: its tokens have a size of their own.
        super().__init__()
        if math.prod(config.heatmap_size) != config.heatmap_dim:
            raise ConfigError(
                f"{where}.heatmap_dim: {config.heatmap_dim} is not {config.heatmap_size[0]} x "
                f"{config.heatmap_size[1]} cells; write {math.prod(config.heatmap_size)}."
            )
        self.config = config
        self.where = where
        self.stride = config.head_stride if config.head_stride > 0 else -1 / config.head_stride
        self.tokens = 3 * config.dim
        hidden = config.hidden_heatmap_dim
        layers: list[nn.Module] = [nn.LayerNorm(self.tokens)]
        if config.apply_multi and 2 * self.tokens <= hidden:
            layers += [nn.Linear(self.tokens, hidden), nn.LayerNorm(hidden), nn.Linear(hidden, config.heatmap_dim)]
        else:
            layers += [nn.Linear(self.tokens, config.heatmap_dim)]
        self.mlp_head = nn.Sequential(*layers)
        if config.apply_init:
            self._initialise()
        initialise_head(self, config.weight_init, where=where)

    def _initialise(self) -> None:
        for layer in self.mlp_head:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        if tokens.ndim != 3 or tokens.shape[-1] != self.tokens:
            raise ConfigError(
                f"{self.where}.dim: the head takes tokens of 3 x {self.config.dim} numbers, but found an array of "
                f"{tuple(tokens.shape[1:])} per image; give model.neck a Transformer with the same dim."
            )
        return {"heatmap": self.mlp_head(tokens).unflatten(2, self.config.heatmap_size)}
