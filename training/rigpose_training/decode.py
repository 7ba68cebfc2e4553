"""Maps -> poses through the dense and the sparse half, for recorded maps, tests and notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from rigpose.arrays import Floats
from rigpose.grouping import GROUPERS
from rigpose.poses import Poses
from rigpose_training.dense import build_dense, dense_family, grouping_of


def decode_maps(predictor: Mapping[str, Any], maps: Mapping[str, Floats], stride: float) -> list[Poses]:
    """Decode a head's maps.

    Args:
        predictor: The config's ``predictor`` section of the head that finds the animals.
        maps: (B, C, h, w) by name, e.g. ``heatmap`` and ``locref``; ``x`` and ``y`` (B, K, bins) of SimCC heads.
        stride: Input px per map cell.

    Returns:
        One ``Poses`` per image [input px].

    Raises:
        ConfigError: An unknown predictor type or key.
    """
    dense = build_dense(predictor, float(stride))
    with torch.inference_mode():
        candidates = dense({name: torch.as_tensor(values) for name, values in maps.items()})
    arrays = {name: values.numpy() for name, values in candidates.items()}
    return GROUPERS[dense_family(predictor).task](arrays, grouping_of(predictor))
