"""The sparse half of decoding: candidates by name -> the animals of each frame, in input pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rigpose.arrays import Floats
from rigpose.grouping.dekr import group_dekr
from rigpose.grouping.identity import assign_identity
from rigpose.grouping.missing import finite_or_missing
from rigpose.grouping.paf import group_paf
from rigpose.grouping.single_animal import group_single_animal
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses

# (candidates of the bodypart head, the task's parameters) -> one ``Poses`` per frame or crop.
GROUPERS: dict[str, Callable[[Mapping[str, Floats], Any], list[Poses]]] = {
    "single_animal": group_single_animal,
    "paf": group_paf,
    "dekr": group_dekr,
    "top_down": group_single_animal,
    "conditional_top_down": group_single_animal,
}


def group(spec: ModelSpec, candidates: Mapping[str, Floats]) -> list[Poses]:
    """Turn the candidates of a batch into one ``Poses`` per frame [input px]."""
    found = GROUPERS[spec.task](candidates, spec.grouping)
    if "identity" in candidates:
        found = [assign_identity(poses) for poses in found]
    if "unique" in candidates:
        unique = finite_or_missing(candidates["unique"])
        found = [replace(poses, unique=row) for poses, row in zip(found, unique, strict=True)]
    return found
