"""The keypoints that an evaluation looks at: all of a model's, or some by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from rigpose.arrays import Array
from rigpose.errors import ConfigError
from rigpose.poses import Poses
from rigpose.schema import suggest
from rigpose_training.data.labelled import LabelledImage

PCutoff: TypeAlias = float | Sequence[float] | Mapping[str, float]
"""One for all keypoints, one for each, or by name; DeepLabCut takes .6 for a name that is left out."""
CUTOFF = 0.6


@dataclass(frozen=True)
class Parts:
    """Some of a model's keypoints, in its order.

    Attributes:
        bodyparts: Names of those that every animal has.
        unique: Names of those that exist once per frame.
        rows: (K,) their places among the model's body parts.
        unique_rows: (U,) likewise among its unique ones.
    """

    bodyparts: tuple[str, ...]
    unique: tuple[str, ...]
    rows: Array
    unique_rows: Array

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, unique ones last."""
        return self.bodyparts + self.unique

    def of_poses(self, poses: Poses) -> Poses:
        """The poses without the other keypoints."""
        scores, unique = poses.identity_scores, poses.unique
        return replace(
            poses,
            xy=poses.xy[:, self.rows],
            score=poses.score[:, self.rows],
            identity_scores=None if scores is None else scores[:, self.rows],
            unique=None if unique is None else unique[self.unique_rows],
        )

    def of_image(self, image: LabelledImage) -> LabelledImage:
        """The image without the labels of other keypoints."""
        return replace(image, xy=image.xy[:, self.rows], unique_xy=image.unique_xy[self.unique_rows], unjudged=None)


def choose_parts(bodyparts: Sequence[str], unique: Sequence[str], wanted: str | Sequence[str] | None = None) -> Parts:
    """The keypoints named in ``wanted``; all for none or ``"all"``.

    Raises:
        ConfigError: A name that the model does not have.
    """
    names = [*bodyparts, *unique]
    if wanted is None or wanted == "all":
        wanted = names
    chosen = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in chosen:
        if name not in names:
            known = ", ".join(names)
            raise ConfigError(f"comparison_bodyparts: {name} is no body part{suggest(name, names)}; use {known}.")
    if not chosen:
        raise ConfigError(f"comparison_bodyparts: names no body part; use some of {', '.join(names)}, or all.")
    rows = [i for i, name in enumerate(bodyparts) if name in chosen]
    unique_rows = [i for i, name in enumerate(unique) if name in chosen]
    return Parts(
        bodyparts=tuple(bodyparts[i] for i in rows),
        unique=tuple(unique[i] for i in unique_rows),
        rows=np.array(rows, int),
        unique_rows=np.array(unique_rows, int),
    )


def cutoff_of_each(pcutoff: PCutoff, parts: Parts, names: Sequence[str]) -> float | list[float]:
    """The smallest score that counts: one number, or one for each of ``parts.names``.

    Args:
        pcutoff: A list has one for each of the model's keypoints.
        parts: Those that count.
        names: All of the model's, unique ones last.

    Raises:
        ConfigError: A name that the model does not have, or a list of another length.
    """
    if isinstance(pcutoff, (int, float)):
        return float(pcutoff)
    if isinstance(pcutoff, Mapping):
        if unknown := sorted(set(pcutoff) - set(names)):
            raise ConfigError(f"pcutoff: {unknown[0]} is no body part; use {', '.join(names)}.")
        return [float(pcutoff.get(name, CUTOFF)) for name in parts.names]
    if len(pcutoff) != len(names):
        raise ConfigError(
            f"pcutoff: {len(pcutoff)} values for {len(names)} body parts; give one number, or one for each of "
            f"{', '.join(names)}."
        )
    return [float(value) for name, value in zip(names, pcutoff, strict=True) if name in parts.names]
