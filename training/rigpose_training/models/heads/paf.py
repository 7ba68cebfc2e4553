"""The part affinity field head of bottom-up multi-animal models, under DeepLabCut's parameter names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from rigpose.errors import ConfigError
from rigpose_training.models.heads.heatmap import DeconvConfig, Deconvolutions, check_input, check_pair
from rigpose_training.models.heads.initialisation import initialise_head


@dataclass(frozen=True)
class DLCRNetHeadConfig:
    """``model.heads.<name>`` of a ``type: DLCRNetHead``.

    With refinement stages the first channel number of each section is that of the backbone's features in the file
    and is replaced by that of the stage, as DeepLabCut does.
    """

    type: str
    heatmap_config: DeconvConfig
    locref_config: DeconvConfig
    paf_config: DeconvConfig
    predictor: dict[str, Any]
    num_stages: int = 5
    features_dim: int = 128
    target_generator: dict[str, Any] | None = None
    criterion: dict[str, Any] | None = None
    aggregator: dict[str, Any] | None = None
    weight_init: str | dict[str, Any] | None = None


class DLCRNetHead(nn.Module):
    """Features (B, C, h, w) -> ``heatmap`` (B, K, h', w'), ``locref`` (B, 2K, h', w'), ``paf`` (B, 2E, h', w').

    Heat maps and part affinity fields are first estimated at twice the features' resolution, then estimated again
    from themselves and from features in ``num_stages`` stages (Lauer et al. 2022; Cao et al. 2017 for the fields).
    """

    def __init__(self, config: DLCRNetHeadConfig, *, in_channels: int, where: str) -> None:
        super().__init__()
        _check(config, in_channels, where)
        self.config = config
        keypoints, offsets, fields = (
            section.channels[-1] for section in (config.heatmap_config, config.locref_config, config.paf_config)
        )
        refined = config.features_dim + keypoints + fields
        inputs = {"heatmap_config": refined, "locref_config": offsets, "paf_config": refined}
        heads = {
            name: Deconvolutions(_with_input(getattr(config, name), channels, config), where=f"{where}.{name}")
            for name, channels in inputs.items()
        }
        self.heatmap_head, self.locref_head, self.paf_head = heads.values()
        check_pair(self.heatmap_head, self.locref_head, where)
        _check_fields(self.heatmap_head, self.paf_head, where)
        self.stride = self.heatmap_head.stride * (2 if config.num_stages else 1)
        # Without stages these four are not run, but DeepLabCut's snapshots hold them all the same.
        self.convt1 = _doubling(in_channels, keypoints)
        self.convt2 = _doubling(in_channels, offsets)
        self.convt3 = _doubling(in_channels, fields)
        self.convt4 = _doubling(in_channels, config.features_dim)
        stages = range(config.num_stages)
        self.hm_ref_layers = nn.ModuleList(nn.Conv2d(refined, keypoints, 3, padding=1) for _ in stages)
        self.paf_ref_layers = nn.ModuleList(nn.Conv2d(refined, fields, 3, padding=1) for _ in stages)
        initialise_head(self, config.weight_init, where=where)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        stage, offsets = features, features
        if self.config.num_stages:
            stage, offsets = self._refine(features), self.convt2(features)
        return {
            "heatmap": self.heatmap_head(stage),
            "locref": self.locref_head(offsets),
            "paf": self.paf_head(stage),
        }

    def _refine(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> what the last stage made of it (B, K + 2E + ``features_dim``, 2h, 2w)."""
        heatmap, fields, shared = self.convt1(features), self.convt3(features), self.convt4(features)
        stage = torch.cat([heatmap, fields, shared], dim=1)
        for i, (to_heatmap, to_fields) in enumerate(zip(self.hm_ref_layers, self.paf_ref_layers, strict=True)):
            # Heat maps are corrected from the second stage on, fields are always made anew.
            heatmap = to_heatmap(stage) + heatmap if i else to_heatmap(stage)
            fields = to_fields(stage)
            stage = torch.cat([heatmap, fields, shared], dim=1)
        return stage


def _doubling(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """To exactly twice the cells."""
    return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)


def _with_input(section: DeconvConfig, channels: int, config: DLCRNetHeadConfig) -> DeconvConfig:
    return replace(section, channels=(channels, *section.channels[1:])) if config.num_stages else section


def _check(config: DLCRNetHeadConfig, in_channels: int, where: str) -> None:
    if config.num_stages < 0:
        raise ConfigError(f"{where}.num_stages: {config.num_stages} is less than none; write 0 for no refinement.")
    sections = ("heatmap_config",) if config.num_stages else ("heatmap_config", "locref_config", "paf_config")
    for name in ("heatmap_config", "locref_config", "paf_config"):
        if not getattr(config, name).channels:
            raise ConfigError(f"{where}.{name}.channels: is empty; write the numbers of channels in and out.")
    for name in sections:
        check_input(getattr(config, name), in_channels, where=f"{where}.{name}")


def _check_fields(heatmap: Deconvolutions, paf: Deconvolutions, where: str) -> None:
    if heatmap.stride != paf.stride:
        raise ConfigError(
            f"{where}.paf_config.strides: stride {paf.stride} differs from the heatmap's {heatmap.stride}; give both "
            "the same strides."
        )
    if paf.out_channels % 2:
        raise ConfigError(
            f"{where}.paf_config.channels: {paf.out_channels} outputs; a field needs x and y for each edge, so write "
            "twice the number of edges of the predictor's graph."
        )
