"""A new shuffle: split, data set files and configurations, laid out as DeepLabCut reads them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rigpose.errors import ConfigError, ProjectError
from rigpose.schema import suggest
from rigpose_training.pose_config.conditions import ShuffleConditions, read_conditions
from rigpose_training.pose_config.files import read_pose_config, write_mapping, write_pose_config
from rigpose_training.pose_config.keypoint_map import by_conversion_table
from rigpose_training.pose_config.templates import Metadata, is_conditional, make_pose_config
from rigpose_training.pose_config.weight_init import WeightInit, read_weight_init
from rigpose_training.project.config import ProjectConfig, read_project_config
from rigpose_training.project.labels import Labels, image_shape, merge_tables, read_table, to_labels
from rigpose_training.project.records import multi_animal_records, single_animal_records, write_mat
from rigpose_training.project.shuffle import (
    Shuffle,
    dataset_folder,
    existing_shuffles,
    merged_labels_path,
    write_metadata,
)
from rigpose_training.project.split import Split, random_split, write_pickle, write_split
from rigpose_training.project.tracking_files import names_config, tracking_config

if TYPE_CHECKING:
    import pandas as pd

LOG = logging.getLogger(__name__)

# DeepLabCut's other keywords, and the values at which leaving them out changes nothing.
_IGNORED: dict[str, tuple[object, ...]] = {
    "windows2linux": (True, False),
    "augmenter_type": (None, "albumentations", "imgaug", "default"),
    "engine": (None, "pytorch"),
    "posecfg_template": (None, ""),
    "superanimal_name": (None, ""),
}


def create_training_dataset(  # noqa: PLR0913  # DeepLabCut's signature
    config: str | Path,
    num_shuffles: int = 1,
    Shuffles: Sequence[int] | None = None,
    trainIndices: Sequence[Sequence[int]] | None = None,
    testIndices: Sequence[Sequence[int]] | None = None,
    net_type: str | None = None,
    *,
    detector_type: str | None = None,
    weight_init: WeightInit | dict[str, Any] | None = None,
    ctd_conditions: object = None,
    userfeedback: bool = False,
    seed: int = 42,
    **deeplabcut_options: object,
) -> list[int]:
    """Indices of the shuffles made from all labelled frames of a project.

    Args:
        config: The project's folder or ``config.yaml``.
        num_shuffles: How many, counted on from the highest one there is.
        Shuffles: Their indices instead. One that exists is never overwritten.
        trainIndices: Per shuffle, rows of the merged labels to train on; -1 is padding.
        testIndices: Per shuffle, rows to test on.
        net_type: One of ``available_models()``; ``default_net_type`` of the project by default.
        detector_type: One of ``available_detectors()``, for a top-down model; ``ssdlite`` by default.
        weight_init: The snapshots to begin training with: ``WeightInit`` or a mapping of its fields.
        ctd_conditions: The poses that a conditional top-down model corrects: the number of a bottom-up shuffle, that
            and a snapshot's index or name, or an ``.h5`` or ``.json`` file of predictions.
        userfeedback: Accepted as in DeepLabCut; there is nothing to ask, since nothing is overwritten.
        seed: Of the random split; shuffle ``n`` of one project and seed always has the same rows.
        **deeplabcut_options: DeepLabCut's other keywords, at values that change nothing here.

    Raises:
        ProjectError: No labels, an index that exists, rows that are not there, an unreadable image.
        ConfigError: An unknown model, detector or option, or one that does not fit the project.
    """
    del userfeedback
    _check_options(deeplabcut_options)
    project = read_project_config(config)
    net_type = net_type or project.default_net_type
    model = {
        "net_type": net_type,
        "detector_type": detector_type,
        "weight_init": _first_weights(project, weight_init),
        "ctd_conditions": _checked_conditions(project, net_type, ctd_conditions),
    }
    # Every cause for refusal comes before the first file is written.
    _pose_config(project, Path(), model)
    table = merge_tables(project)
    labels = to_labels(table, project)
    _check_labels(project, labels)
    indices = _free_indices(project, num_shuffles, Shuffles)
    if trainIndices is None and testIndices is None:
        splits = [
            (index, random_split(len(labels), train_fraction=fraction, seed=(seed, index)))
            for index in indices
            for fraction in project.training_fractions
        ]
    else:
        splits = _given_splits(project, indices, trainIndices, testIndices, images=len(labels))
    sizes = {image: image_shape(project.root / image) for image in labels.images}
    _write_merged_labels(project, table)
    for index, split in splits:
        shuffle = Shuffle(project, index, split.train_fraction)
        pose_config = _pose_config(project, shuffle.pose_config_path, model)
        _write_shuffle(shuffle, split, pose_config, labels, sizes)
    write_metadata(project)
    return indices


def _check_options(options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if name not in _IGNORED:
            raise ConfigError(f"create_training_dataset has no option {name}{suggest(name, list(_IGNORED))}.")
        plain = str(getattr(value, "aliases", [value])[0]).lower() if name == "engine" and value else value
        if plain not in _IGNORED[name]:
            raise ConfigError(f"create_training_dataset does not support {name}={value!r}; leave it out.")


def _pose_config(project: ProjectConfig, path: Path, model: Mapping[str, Any]) -> dict[str, Any]:
    metadata = Metadata(
        project_path=str(project.root),
        pose_config_path=str(path),
        bodyparts=project.bodyparts,
        unique_bodyparts=project.unique_bodyparts,
        individuals=project.individuals,
        with_identity=project.identity,
    )
    return make_pose_config(metadata=metadata, multi_animal=project.multi_animal, **model)


def _first_weights(project: ProjectConfig, given: WeightInit | dict[str, Any] | None) -> WeightInit | None:
    """The weights to begin with, with the numbers of the project's conversion table if they only name a SuperAnimal."""
    if given is None:
        return None
    weights = read_weight_init(given, where="weight_init")
    return by_conversion_table(weights, project.bodyparts, project.conversion_tables, where=str(project.path))


def _checked_conditions(project: ProjectConfig, net_type: str, given: object) -> object:
    """The conditions of a model that needs some, after a look whether this project has their shuffle."""
    if given is None and is_conditional(net_type):
        raise ConfigError(
            f"{net_type} corrects the poses of a bottom-up model; name its shuffle with ctd_conditions=NUMBER "
            f"(--conditions NUMBER)."
        )
    if given is None:
        return None
    conditions = read_conditions(given, where="ctd_conditions")
    if isinstance(conditions, ShuffleConditions) and conditions.config is None:
        _check_bottom_up(project, conditions.shuffle)
    return conditions


def _check_bottom_up(project: ProjectConfig, index: int) -> None:
    found = [
        s.pose_config_path for s in existing_shuffles(project) if s.index == index and s.pose_config_path.is_file()
    ]
    if not found:
        there = ", ".join(str(s.index) for s in existing_shuffles(project)) or "none"
        raise ConfigError(
            f"ctd_conditions: {project.root} has no shuffle {index} (there are: {there}); create the bottom-up shuffle "
            f"first, or name another."
        )
    method = str(read_pose_config(found[0]).get("method", "bu")).lower()
    if method != "bu":
        raise ConfigError(
            f"ctd_conditions: shuffle {index} of {project.root} has method {method}, but only a bottom-up model finds "
            f"poses to correct; name one with method bu."
        )


def _check_labels(project: ProjectConfig, labels: Labels) -> None:
    if not (np.isfinite(labels.xy).any() or np.isfinite(labels.unique_xy).any()):
        raise ProjectError(
            f"the {len(labels)} images in {project.root / 'labeled-data'} have not one label of the bodyparts in "
            f"{project.path.name}; label them, or correct the names there."
        )


def _free_indices(project: ProjectConfig, num_shuffles: int, chosen: Sequence[int] | None) -> list[int]:
    there = {shuffle.index for shuffle in existing_shuffles(project)}
    if chosen is None:
        first = max(there, default=0) + 1
        chosen = range(first, first + num_shuffles)
    indices = [int(index) for index in chosen]
    if not indices or len(set(indices)) != len(indices) or min(indices) < 0:
        raise ProjectError(f"Shuffles {indices} of {project.path} must be different numbers from 0; correct the list.")
    if taken := sorted(there & set(indices)):
        raise ProjectError(
            f"shuffle {taken[0]} of {project.root} exists and is never overwritten; "
            f"leave Shuffles out to get {max(there) + 1}, or remove its folders."
        )
    return indices


def _given_splits(
    project: ProjectConfig,
    indices: list[int],
    train: Sequence[Sequence[int]] | None,
    test: Sequence[Sequence[int]] | None,
    *,
    images: int,
) -> list[tuple[int, Split]]:
    train, test = train or [], test or []
    if not len(indices) == len(train) == len(test):
        raise ProjectError(
            f"{len(indices)} shuffles need as many trainIndices and testIndices, found {len(train)} and {len(test)}; "
            f"give one list of rows per shuffle."
        )
    return [
        (index, _given_split(project, train_rows, test_rows, images))
        for index, train_rows, test_rows in zip(indices, train, test, strict=True)
    ]


def _given_split(project: ProjectConfig, train: Sequence[int], test: Sequence[int], images: int) -> Split:
    # Padding counts here: it is there to make the fraction exact.
    fraction = round(len(train) / max(1, len(train) + len(test)), 2)
    rows = [tuple(int(row) for row in part if int(row) != -1) for part in (train, test)]
    every = [*rows[0], *rows[1]]
    if not rows[0] or len(set(every)) != len(every) or not all(0 <= row < images for row in every):
        raise ProjectError(
            f"trainIndices and testIndices must name each row once, from 0 to {images - 1}, and train on some; "
            f"correct the lists for {project.path}."
        )
    if fraction not in project.training_fractions:
        raise ProjectError(
            f"the given rows train on {fraction} of the images, which TrainingFraction of {project.path} does "
            f"not list, so nothing could open the shuffle; add {fraction} to it."
        )
    return Split(rows[0], rows[1], fraction)


def _write_merged_labels(project: ProjectConfig, table: pd.DataFrame) -> None:
    """Write the merged h5 and csv, unless that would move rows which existing splits count in."""
    path = merged_labels_path(project)
    if path.is_file() and existing_shuffles(project):
        old = read_table(path, project)
        if old is not None and list(old.index) != list(table.index[: len(old)]):
            raise ProjectError(
                f"{path} and the labels of today list different images, and existing shuffles count in its rows; "
                f"raise iteration in {project.path} to start a new training set."
            )
        if old is not None and old.equals(table):
            return
        LOG.warning("%s gets the labels of today; the shuffles that count in it train with them too.", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, write in ((path, _to_h5), (path.with_suffix(".csv"), _to_csv)):
        temporary = target.with_name(f".writing-{target.name}")
        write(table, temporary)
        temporary.replace(target)


def _to_h5(table: pd.DataFrame, path: Path) -> None:
    table.to_hdf(path, key="df_with_missing", mode="w")


def _to_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path)


def _write_shuffle(
    shuffle: Shuffle,
    split: Split,
    pose_config: Mapping[str, Any],
    labels: Labels,
    sizes: Mapping[str, tuple[int, int, int]],
) -> None:
    project = shuffle.config
    shuffle.train_folder.mkdir(parents=True)
    (shuffle.model_folder / "test").mkdir()
    write_pose_config(shuffle.pose_config_path, pose_config)
    write_mapping(shuffle.model_folder / "test" / "pose_cfg.yaml", names_config(pose_config))
    dataset_folder(project).mkdir(parents=True, exist_ok=True)
    if project.multi_animal:
        write_mapping(shuffle.model_folder / "test" / "inference_cfg.yaml", tracking_config(project))
        records = multi_animal_records(labels, split.train, sizes)
        write_pickle(shuffle.dataset_path, records)
    else:
        records = single_animal_records(labels, split.train, sizes)
        write_mat(shuffle.dataset_path, records)
    # Last: the split's existence is what makes the shuffle count as there.
    write_split(shuffle.split_path, split, records)
