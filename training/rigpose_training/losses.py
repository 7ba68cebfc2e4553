"""How wrong the maps are: every head's target generator and criteria, read from the configuration once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from rigpose.errors import ConfigError
from rigpose.schema import parse, suggest
from rigpose_training.targets import HeatmapTarget, Target, heatmap_targets

Difference = Callable[..., torch.Tensor]

CRITERIA: dict[str, Difference] = {
    "WeightedMSECriterion": functional.mse_loss,
    "WeightedHuberCriterion": functional.huber_loss,
    "WeightedBCECriterion": functional.binary_cross_entropy_with_logits,
}
_HEATMAP_GENERATORS = ("HeatmapGaussianGenerator", "HeatmapPlateauGenerator")


@dataclass(frozen=True)
class Criterion:
    """One entry of a head's ``criterion`` section."""

    type: str
    weight: float = 1.0


@dataclass(frozen=True)
class HeadObjective:
    """What one head is trained for: its targets and, by map name, its criteria."""

    target: HeatmapTarget
    criteria: dict[str, Criterion]
    stride: float


def weighted_mean(difference: Difference, output: torch.Tensor, target: Target) -> torch.Tensor:
    """Weighted sum of the differences over the number of cells whose weight is not zero (at least one).

    In float32 whatever the precision of the output: half precision overflows when a map is summed.
    """
    each = difference(output.float(), target.values, reduction="none")
    cells = torch.count_nonzero(target.weights).clamp(min=1)
    return (each * target.weights).sum() / cells


def read_objectives(
    heads: Mapping[str, Any], strides: Mapping[str, float], *, where: str = "model.heads"
) -> dict[str, HeadObjective]:
    """Targets and criteria of every head in ``model.heads``.

    Raises:
        ConfigError: A generator or criterion that is not known, or a criterion without a target.
    """
    return {name: _objective(section, strides[name], f"{where}.{name}") for name, section in heads.items()}


def loss_terms(
    objectives: Mapping[str, HeadObjective],
    outputs: Mapping[str, Mapping[str, torch.Tensor]],
    annotations: Mapping[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """Every term by DeepLabCut's names: ``HEAD_MAP``, ``HEAD_total_loss`` and ``total_loss``, each a scalar.

    A head's total is the mean of its weighted terms, and the total is the mean over the heads.
    """
    terms: dict[str, torch.Tensor] = {}
    totals = []
    for head, objective in objectives.items():
        targets = heatmap_targets(objective.target, outputs[head], annotations, objective.stride)
        weighted = []
        for name, criterion in objective.criteria.items():
            term = weighted_mean(CRITERIA[criterion.type], outputs[head][name], targets[name])
            terms[f"{head}_{name}"] = term
            weighted.append(criterion.weight * term)
        terms[f"{head}_total_loss"] = torch.stack(weighted).mean()
        totals.append(terms[f"{head}_total_loss"])
    terms["total_loss"] = torch.stack(totals).mean()
    return terms


def _objective(section: Mapping[str, Any], stride: float, where: str) -> HeadObjective:
    generator = section.get("target_generator") or {}
    kind = generator.get("type")
    if kind not in _HEATMAP_GENERATORS:
        raise ConfigError(
            f"{where}.target_generator.type: {kind!r} is none of {', '.join(_HEATMAP_GENERATORS)}"
            f"{suggest(kind, _HEATMAP_GENERATORS)}."
        )
    target = parse(HeatmapTarget, generator, where=f"{where}.target_generator")
    criteria = _criteria(section.get("criterion") or {}, f"{where}.criterion")
    if "locref" in criteria and not target.generate_locref:
        raise ConfigError(f"{where}.criterion.locref: has no target; set target_generator.generate_locref to true.")
    return HeadObjective(target, criteria, stride)


def _criteria(section: Mapping[str, Any], where: str) -> dict[str, Criterion]:
    # A head with one map may hold the criterion itself instead of one per map.
    entries = {"heatmap": section} if "type" in section else section
    criteria = {name: parse(Criterion, entry, where=f"{where}.{name}") for name, entry in entries.items()}
    for name, criterion in criteria.items():
        if name not in ("heatmap", "locref"):
            raise ConfigError(f"{where}.{name}: unknown map{suggest(name, ('heatmap', 'locref'))}.")
        if criterion.type not in CRITERIA:
            raise ConfigError(
                f"{where}.{name}.type: {criterion.type!r} is none of {', '.join(CRITERIA)}"
                f"{suggest(criterion.type, CRITERIA)}."
            )
    if not criteria:
        raise ConfigError(f"{where}: missing; a head needs at least the criterion of its heatmap.")
    return criteria
