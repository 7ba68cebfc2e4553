"""A head's ``target_generator`` and ``criterion`` sections -> its terms of the loss, under DeepLabCut's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from rigpose.errors import ConfigError
from rigpose.schema import convert, parse, suggest
from rigpose_training.losses.criteria import CRITERIA, Criterion
from rigpose_training.targets import (
    DEKRTarget,
    GeneratorConfig,
    HeatmapTarget,
    draw_targets,
    drawn_maps,
    read_generators,
    with_centres,
)

# The maps of each head; ``locref`` only where the head has a ``locref_config``.
_HEAD_MAPS: dict[str, tuple[str, ...]] = {
    "HeatmapHead": ("heatmap", "locref"),
    "DLCRNetHead": ("heatmap", "locref", "paf"),
    "DEKRHead": ("heatmap", "offset"),
    "RTMCCHead": ("x", "y"),
    "TransformerHead": ("heatmap",),
}


@dataclass(frozen=True)
class HeadObjective:
    """What one head is trained for.

    Attributes:
        generators: What draws its targets.
        criteria: By map name.
        weights: Of the criteria, by map name; empty where the head has a single criterion without a name.
        stride: Input px per cell of its maps.
        with_centres: Whether the animals' centres count as keypoints.
    """

    generators: tuple[GeneratorConfig, ...]
    criteria: dict[str, Criterion]
    weights: dict[str, float]
    stride: float
    with_centres: bool = False

    def terms(
        self, outputs: Mapping[str, torch.Tensor], annotations: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Scalars by map name, and ``total_loss``: the mean of the weighted ones.

        A single criterion without a name has no other term than the total, as in DeepLabCut.
        """
        if self.with_centres:
            annotations = {**annotations, "keypoints": with_centres(annotations["keypoints"])}
        targets = draw_targets(self.generators, outputs, annotations, self.stride)
        losses = {name: criterion(outputs[name], targets[name]) for name, criterion in self.criteria.items()}
        if not self.weights:
            return {"total_loss": next(iter(losses.values()))}
        weighted = [weight * losses[name] for name, weight in self.weights.items()]
        return {**losses, "total_loss": torch.stack(weighted).mean()}


def read_objectives(
    heads: Mapping[str, Any], strides: Mapping[str, float], *, where: str = "model.heads"
) -> dict[str, HeadObjective]:
    """Targets and criteria of every head in ``model.heads``.

    Args:
        heads: The sections, by head name.
        strides: Input px per cell of each head's maps, by head name.
        where: File and key path, for messages.

    Raises:
        ConfigError: A head, generator or criterion that is not known, or a criterion for a map that the head does
            not give or that has no target.
    """
    objectives = {name: _objective(section, strides[name], f"{where}.{name}") for name, section in heads.items()}
    if not any(isinstance(g, DEKRTarget) for objective in objectives.values() for g in objective.generators):
        return objectives
    # DeepLabCut adds the centres that DEKR needs to every head's labels, so identity maps beside DEKR show them too.
    return {name: replace(objective, with_centres=_is_identity(objective)) for name, objective in objectives.items()}


def loss_terms(
    objectives: Mapping[str, HeadObjective],
    outputs: Mapping[str, Mapping[str, torch.Tensor]],
    annotations: Mapping[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """Every term by DeepLabCut's names: ``HEAD_MAP``, ``HEAD_total_loss`` and ``total_loss``, each a scalar.

    A head's total is the mean of its weighted terms, and the total is the mean over the heads. In float32, whatever
    precision the network runs in.
    """
    terms: dict[str, torch.Tensor] = {}
    for head, objective in objectives.items():
        device = next(iter(outputs[head].values())).device
        with torch.autocast(device.type, enabled=False):
            terms |= {f"{head}_{name}": term for name, term in objective.terms(outputs[head], annotations).items()}
    terms["total_loss"] = torch.stack([terms[f"{head}_total_loss"] for head in objectives]).mean()
    return terms


@dataclass(frozen=True)
class _Aggregator:
    """``aggregator`` of a head; DeepLabCut makes it from the criteria's weights and seldom writes it."""

    type: Literal["WeightedLossAggregator"]
    weights: dict[str, float] | None = None


def _is_identity(objective: HeadObjective) -> bool:
    return any(isinstance(g, HeatmapTarget) and g.by_individual for g in objective.generators)


def _objective(section: Mapping[str, Any], stride: float, where: str) -> HeadObjective:
    generators = read_generators(section.get("target_generator") or {}, where=f"{where}.target_generator")
    drawn = [name for config in generators for name in drawn_maps(config)]
    given = _given_maps(section, where)
    criterion = section.get("criterion") or {}
    if "type" in criterion:
        criteria, weights = _single(criterion, drawn, given, where), {}
        if section.get("aggregator"):
            raise ConfigError(f"{where}.aggregator: has nothing to aggregate; remove it, or give each map a criterion.")
    else:
        criteria, weights = _by_map(criterion, drawn, given, where)
        _check_aggregator(section.get("aggregator"), weights, f"{where}.aggregator")
    return HeadObjective(generators, criteria, weights, stride)


def _given_maps(section: Mapping[str, Any], where: str) -> list[str]:
    kind = section.get("type")
    if kind not in _HEAD_MAPS:
        raise ConfigError(f"{where}.type: {kind!r} is none of {', '.join(_HEAD_MAPS)}{suggest(kind, _HEAD_MAPS)}.")
    return [name for name in _HEAD_MAPS[kind] if name != "locref" or section.get("locref_config")]


def _single(criterion: Mapping[str, Any], drawn: list[str], given: list[str], where: str) -> dict[str, Criterion]:
    if len(given) != 1 or drawn != given:
        raise ConfigError(
            f"{where}.criterion: is a single one, but the head gives {', '.join(given)} and target_generator draws "
            f"{', '.join(drawn)}; write one criterion under the name of each map."
        )
    return {given[0]: _read_criterion(criterion, f"{where}.criterion")}


def _by_map(
    criterion: Mapping[str, Any], drawn: list[str], given: list[str], where: str
) -> tuple[dict[str, Criterion], dict[str, float]]:
    criteria, weights = {}, {}
    for name, entry in criterion.items():
        place = f"{where}.criterion.{name}"
        if name not in given:
            raise ConfigError(f"{place}: the head gives no such map but {', '.join(given)}{suggest(name, given)}.")
        if name not in drawn:
            cure = "set generate_locref to true" if name == "locref" else "add a generator that draws it"
            raise ConfigError(f"{place}: has no target; in target_generator, {cure}.")
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{place}: expected a mapping with type and weight, found {entry!r}.")
        criteria[name] = _read_criterion({k: v for k, v in entry.items() if k != "weight"}, place)
        weights[name] = convert(float, entry.get("weight", 1.0), where=f"{place}.weight")
    if not criteria:
        raise ConfigError(f"{where}.criterion: missing; the head needs at least the criterion of its {given[0]}.")
    return criteria, weights


def _read_criterion(section: Mapping[str, Any], where: str) -> Criterion:
    kind = section.get("type")
    if kind not in CRITERIA:
        raise ConfigError(f"{where}.type: {kind!r} is none of {', '.join(CRITERIA)}{suggest(kind, CRITERIA)}.")
    return parse(CRITERIA[kind], section, where=where)


def _check_aggregator(section: Mapping[str, Any] | None, weights: Mapping[str, float], where: str) -> None:
    if not section:
        return
    aggregator = parse(_Aggregator, section, where=where)
    if aggregator.weights is not None and aggregator.weights != weights:
        raise ConfigError(f"{where}.weights: differ from the weights of the criteria; remove them here.")
