"""A head's ``target_generator`` section -> the code that draws its targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rigpose.errors import ConfigError
from rigpose.schema import parse, suggest
from rigpose_training.targets.dekr import DEKRTarget, dekr_targets
from rigpose_training.targets.heatmap import HeatmapTarget, heatmap_targets
from rigpose_training.targets.paf import PartAffinityFieldTarget, paf_targets
from rigpose_training.targets.simcc import SimCCTarget, simcc_targets
from rigpose_training.targets.target import Target

GeneratorConfig = HeatmapTarget | PartAffinityFieldTarget | DEKRTarget | SimCCTarget


@dataclass(frozen=True)
class TargetFamily:
    """How one generator type draws.

    Attributes:
        config: The dataclass of its section.
        draw: (config, maps, annotations, stride) -> targets by the names of the maps.
        maps: Names of the maps it draws.
    """

    config: type[GeneratorConfig]
    draw: Callable[[Any, Mapping[str, torch.Tensor], Mapping[str, torch.Tensor], float], dict[str, Target]]
    maps: tuple[str, ...]


_HEATMAPS = TargetFamily(HeatmapTarget, heatmap_targets, maps=("heatmap", "locref"))
GENERATORS: dict[str, TargetFamily] = {
    "HeatmapGaussianGenerator": _HEATMAPS,
    "HeatmapPlateauGenerator": _HEATMAPS,
    "PartAffinityFieldGenerator": TargetFamily(PartAffinityFieldTarget, paf_targets, maps=("paf",)),
    "DEKRGenerator": TargetFamily(DEKRTarget, dekr_targets, maps=("heatmap", "offset")),
    "SimCCGenerator": TargetFamily(SimCCTarget, simcc_targets, maps=("x", "y")),
}
_SEQUENTIAL = "SequentialGenerator"


@dataclass(frozen=True)
class _Sequential:
    """``target_generator`` of a head whose maps have several generators, each with a section of its own."""

    type: str
    generators: tuple[dict[str, Any], ...]


def read_generators(section: Mapping[str, Any], *, where: str) -> tuple[GeneratorConfig, ...]:
    """The generators that a ``target_generator`` section names, in order.

    Raises:
        ConfigError: A generator that is not known (the nearest is named), a key that it does not have, or a map that
            two generators draw.
    """
    if section.get("type") == _SEQUENTIAL:
        entries = parse(_Sequential, section, where=where).generators
        configs = tuple(_read(entry, f"{where}.generators[{i}]") for i, entry in enumerate(entries))
    else:
        configs = (_read(section, where),)
    drawn: set[str] = set()
    for config in configs:
        if twice := drawn.intersection(drawn_maps(config)):
            raise ConfigError(f"{where}.generators: two of them draw {', '.join(sorted(twice))}; keep one.")
        drawn.update(drawn_maps(config))
    return configs


def drawn_maps(config: GeneratorConfig) -> tuple[str, ...]:
    """Names of the maps that a generator has targets for."""
    if isinstance(config, HeatmapTarget) and not config.generate_locref:
        return ("heatmap",)
    return GENERATORS[config.type].maps


def draw_targets(
    configs: tuple[GeneratorConfig, ...],
    maps: Mapping[str, torch.Tensor],
    annotations: Mapping[str, torch.Tensor],
    stride: float,
) -> dict[str, Target]:
    """Targets of a head by the names of its maps, on the device of its output.

    Args:
        configs: What ``read_generators`` returned.
        maps: The head's output; only sizes and device are used.
        annotations: Labels of the batch, by the names of the data set's items.
        stride: Input px per map cell.
    """
    targets: dict[str, Target] = {}
    for config in configs:
        targets |= GENERATORS[config.type].draw(config, maps, annotations, stride)
    return targets


def _read(section: Mapping[str, Any], where: str) -> GeneratorConfig:
    kind = section.get("type")
    if kind not in GENERATORS:
        known = (*GENERATORS, _SEQUENTIAL)
        raise ConfigError(f"{where}.type: {kind!r} is none of {', '.join(known)}{suggest(kind, known)}.")
    return parse(GENERATORS[kind].config, section, where=where)
