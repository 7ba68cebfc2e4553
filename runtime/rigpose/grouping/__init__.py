"""The sparse half of decoding: candidates by name -> the animals of each frame, in input pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rigpose.arrays import Floats
from rigpose.grouping.single_animal import group_single_animal
from rigpose.model_spec import ModelSpec
from rigpose.poses import Poses

GROUPERS: dict[str, Callable[[Mapping[str, Floats]], list[Poses]]] = {
    "single_animal": group_single_animal,
}


def group(spec: ModelSpec, candidates: Mapping[str, Floats]) -> list[Poses]:
    """Turn the candidates of a batch into one ``Poses`` per frame [input px]."""
    return GROUPERS[spec.task](candidates)
