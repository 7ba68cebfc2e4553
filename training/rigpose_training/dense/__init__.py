"""The dense half of decoding, written once: maps -> candidates.

Training's evaluation runs these modules and export traces the same ones, so there is one decoder in the project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from rigpose.errors import ConfigError
from rigpose.models.model_spec import Grouping, Task
from rigpose.schema import parse, suggest
from rigpose_training.dense.dekr import DekrDecoder, DEKRPredictor
from rigpose_training.dense.heatmap import HeatmapDecoder, HeatmapPredictor
from rigpose_training.dense.paf import PafDecoder, PartAffinityFieldPredictor
from rigpose_training.dense.simcc import SimCCDecoder, SimCCPredictor


@dataclass(frozen=True)
class DenseFamily:
    """How one predictor type decodes.

    Attributes:
        config: The dataclass of the ``predictor`` section.
        module: (config, stride) -> module that takes maps by name and returns candidates by name.
        task: Which grouping takes its candidates.
        outputs: Names of the candidates, in the order of the graph's outputs.
        grouping: config -> parameters of the grouping, for tasks that have some.
    """

    config: type[Any]
    module: Callable[[Any, float], nn.Module]
    task: Task
    outputs: tuple[str, ...]
    grouping: Callable[[Any], Grouping] = lambda _: None


PREDICTORS: dict[str, DenseFamily] = {
    "HeatmapPredictor": DenseFamily(HeatmapPredictor, HeatmapDecoder, "single_animal", outputs=("keypoints",)),
    "SimCCPredictor": DenseFamily(SimCCPredictor, SimCCDecoder, "single_animal", outputs=("keypoints",)),
    "PartAffinityFieldPredictor": DenseFamily(
        PartAffinityFieldPredictor,
        PafDecoder,
        "paf",
        outputs=("peaks", "affinity"),
        grouping=PartAffinityFieldPredictor.grouping,
    ),
    "DEKRPredictor": DenseFamily(
        DEKRPredictor, DekrDecoder, "dekr", outputs=("poses", "center"), grouping=DEKRPredictor.grouping
    ),
}


def dense_family(predictor: Mapping[str, Any]) -> DenseFamily:
    """The family that a config's ``predictor`` section names, or a ``ConfigError`` that suggests the nearest."""
    kind = predictor.get("type")
    if kind not in PREDICTORS:
        raise ConfigError(f"predictor.type: {kind!r} is none of {', '.join(PREDICTORS)}{suggest(kind, PREDICTORS)}.")
    return PREDICTORS[kind]


def build_dense(predictor: Mapping[str, Any], stride: float) -> nn.Module:
    """The dense decoder that a config's ``predictor`` section describes, for maps of this stride."""
    family = dense_family(predictor)
    return family.module(parse(family.config, predictor, where="predictor"), stride)


def grouping_of(predictor: Mapping[str, Any]) -> Grouping:
    """Parameters of the grouping that takes the candidates of this ``predictor`` section."""
    family = dense_family(predictor)
    return family.grouping(parse(family.config, predictor, where="predictor"))
