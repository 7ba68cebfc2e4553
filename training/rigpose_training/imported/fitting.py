"""Whether imported labels fit a project, and in what order its tables have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ProjectError
from rigpose_training.imported.labels import ImportedLabels
from rigpose_training.project.config import ProjectConfig


def fit_to_project(labels: ImportedLabels, config: ProjectConfig) -> ImportedLabels:
    """The labels with the project's keypoints and individuals, in its order.

    Individuals are found by name, or in order where the labels have no names for them or there is one.

    Raises:
        ProjectError: The labels have a keypoint or an individual that the project has not.
    """
    for names, its, key in (
        (labels.keypoints, config.bodyparts, "multianimalbodyparts" if config.multi_animal else "bodyparts"),
        (labels.unique_keypoints, config.unique_bodyparts, "uniquebodyparts"),
    ):
        if strange := [name for name in names if name not in its]:
            raise ProjectError(
                f"{labels.source} has the keypoint {strange[0]}, which {key} of {config.path} lacks; rename or add it."
            )
    rows = _rows(labels, config)
    parts = [config.bodyparts.index(name) for name in labels.keypoints]
    unique = [config.unique_bodyparts.index(name) for name in labels.unique_keypoints]
    shape = (len(config.individuals), len(config.bodyparts), 2)

    def moved(xy: Floats) -> Floats:
        whole = np.full(shape, np.nan)
        whole[np.ix_(rows, parts)] = xy
        return whole

    def moved_unique(xy: Floats) -> Floats:
        whole = np.full((len(config.unique_bodyparts), 2), np.nan)
        whole[unique] = xy
        return whole

    return replace(
        labels,
        keypoints=config.bodyparts,
        individuals=config.individuals,
        unique_keypoints=config.unique_bodyparts,
        frames=tuple(
            replace(frame, xy=moved(frame.xy), unique_xy=moved_unique(frame.unique_xy)) for frame in labels.frames
        ),
    )


def _rows(labels: ImportedLabels, config: ProjectConfig) -> list[int]:
    """Of each of the labels' individuals the place in the project."""
    count = len(labels.individuals)
    if count > len(config.individuals):
        raise ProjectError(
            f"{labels.source} has {count} individuals where {config.path} has {len(config.individuals)}; add names to "
            "individuals there."
        )
    if not labels.named or len(config.individuals) == 1:
        return list(range(count))
    if strange := [name for name in labels.individuals if name not in config.individuals]:
        raise ProjectError(
            f"{labels.source} has the individual {strange[0]}, which {config.path} lacks; add the name there, or "
            "number the individuals with --no-tracks."
        )
    return [config.individuals.index(name) for name in labels.individuals]
