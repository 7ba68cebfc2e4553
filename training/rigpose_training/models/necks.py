"""Necks: what stands between a backbone and its heads in a few architectures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from rigpose.schema import parse
from rigpose_training.models.sections import choose

# A string in the file becomes code here and nowhere else.
NECKS: dict[str, tuple[type[Any], Callable[[Any], nn.Module]]] = {}


def build_neck(section: Mapping[str, Any], *, where: str) -> nn.Module:
    """The neck that a ``model.neck`` section describes, with random weights.

    Raises:
        ConfigError: A key, type or number that does not fit; the message names it.
    """
    config_class, neck_class = choose(NECKS, section, where=where)
    return neck_class(parse(config_class, section, where=where))
