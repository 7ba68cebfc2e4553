"""Heads: features -> maps, one file per family, under DeepLabCut's parameter names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from rigpose.schema import parse
from rigpose_training.models.heads.dekr import DEKRHead, DEKRHeadConfig
from rigpose_training.models.heads.heatmap import HeatmapHead, HeatmapHeadConfig
from rigpose_training.models.heads.paf import DLCRNetHead, DLCRNetHeadConfig
from rigpose_training.models.heads.simcc import RTMCCHead, RTMCCHeadConfig
from rigpose_training.models.heads.transformer import TransformerHead, TransformerHeadConfig
from rigpose_training.models.sections import choose

# A string in the file becomes code here and nowhere else. A head is made from (config, in_channels=, where=), has a
# ``stride`` (how many times finer than the backbone's features its maps are) and returns its maps by name.
HEADS: dict[str, tuple[type[Any], Callable[..., nn.Module]]] = {
    "HeatmapHead": (HeatmapHeadConfig, HeatmapHead),
    "DLCRNetHead": (DLCRNetHeadConfig, DLCRNetHead),
    "DEKRHead": (DEKRHeadConfig, DEKRHead),
    "RTMCCHead": (RTMCCHeadConfig, RTMCCHead),
    "TransformerHead": (TransformerHeadConfig, TransformerHead),
}


def build_head(section: Mapping[str, Any], *, in_channels: int, where: str) -> nn.Module:
    """The head that a ``model.heads.<name>`` section describes, with its first weights.

    Raises:
        ConfigError: A key, type or number that does not fit; the message names it.
    """
    config_class, head_class = choose(HEADS, section, where=where)
    return head_class(parse(config_class, section, where=where), in_channels=in_channels, where=where)
