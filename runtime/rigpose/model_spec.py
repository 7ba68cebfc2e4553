"""What a pose model is, apart from its weights: shared by training's evaluation, the bundle and the rig."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rigpose.preprocess import InputSpec

Task: TypeAlias = Literal["single_animal"]


@dataclass(frozen=True)
class ModelSpec:
    """Names and decode parameters of a model.

    Attributes:
        task: Which candidates the graph returns, and so which grouping turns them into poses.
        architecture: The documented model name, e.g. ``resnet_50``.
        keypoints: K names, in channel order.
        individuals: Names of the animals; their number is the most a frame can hold.
        unique_keypoints: Names of keypoints that exist once per frame, whatever the number of animals.
        skeleton: Pairs of keypoint names to draw; no part in decoding.
        input: Frame -> network input.
        dense: Per head, the decode parameters that the graph was built with (for the record; the graph has them
            inside).
    """

    task: Task
    architecture: str
    keypoints: tuple[str, ...]
    individuals: tuple[str, ...] = ("individual_1",)
    unique_keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[str, str], ...] = ()
    input: InputSpec = field(default_factory=InputSpec)
    dense: dict[str, dict[str, Any]] = field(default_factory=dict)
