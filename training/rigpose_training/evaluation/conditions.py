"""The rough poses that a conditional top-down network is evaluated with, from where ``inference.conditions`` says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from rigpose.analyzers.analyzer import PoseAnalyzer
from rigpose.arrays import Floats, Frames
from rigpose.errors import ConfigError, ResultError, SnapshotError
from rigpose.files.pickles import read_hdf
from rigpose.poses import Poses
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.models import build_model
from rigpose_training.pose_config.conditions import FileConditions, ModelConditions, ShuffleConditions, read_conditions
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.task import Task
from rigpose_training.torch_session import torch_analyzer

RoughPoses = Callable[[Sequence[Frames], Sequence[LabelledImage]], list[Poses]]
"""Frames, and the labelled images that they are, -> rough poses of each [frame px]."""


@dataclass(frozen=True)
class FoundConditions:
    """Rough poses that a bottom-up model finds."""

    analyzer: PoseAnalyzer

    def __call__(self, frames: Sequence[Frames], images: Sequence[LabelledImage]) -> list[Poses]:
        """See ``RoughPoses``."""
        del images
        return self.analyzer.predict(frames)


@dataclass(frozen=True)
class RecordedConditions:
    """Rough poses from a file.

    Attributes:
        file: Where they are from.
        poses: By the last three parts of the image's path: ``labeled-data/video/image``.
        keypoints: K, for images without any.
    """

    file: Path
    poses: dict[tuple[str, ...], Poses]
    keypoints: int

    def __call__(self, frames: Sequence[Frames], images: Sequence[LabelledImage]) -> list[Poses]:
        """See ``RoughPoses``; an image that the file does not name has none, as in DeepLabCut."""
        del frames
        return [self.poses.get(image.path.parts[-3:], Poses.empty(self.keypoints)) for image in images]


def conditions_of(loader: DLCLoader, device: torch.device) -> RoughPoses:
    """The source of rough poses that a conditional shuffle's configuration names.

    DeepLabCut reads the poses of a bottom-up shuffle from the files of its evaluation; here its network finds them
    again, so there is nothing that could be out of date.

    Raises:
        ConfigError: The configuration names none, or a model that is not bottom-up.
        SnapshotError: The bottom-up model has no such snapshot.
        ResultError: A file of poses that does not fit.
    """
    where = f"{loader.model_config_path}: inference.conditions"
    section = (loader.model_cfg.get("inference") or {}).get("conditions")
    if section is None:
        raise ConfigError(
            f"{where}: missing, so there are no rough poses to start from; name a bottom-up shuffle, e.g. "
            "{source: shuffle, shuffle: 1}, or a file of predictions."
        )
    wanted = read_conditions(section, where=where)
    if isinstance(wanted, FileConditions):
        return _recorded(Path(wanted.filepath), loader.bodyparts)
    if isinstance(wanted, ModelConditions):
        config, snapshot = read_pose_config(wanted.config_path), Path(wanted.snapshot_path)
    else:
        config, snapshot = _of_shuffle(loader, wanted)
    if Task(config.get("method") or "bu") is not Task.BOTTOM_UP:
        raise ConfigError(
            f"{where}: names a model of method {config['method']}; only a bottom-up one finds rough poses."
        )
    if tuple(config["metadata"]["bodyparts"]) != loader.bodyparts:
        raise ConfigError(f"{where}: names a model of other body parts; use one that was made for the same project.")
    model = build_model(config).to(device)
    load_weights(model, read_snapshot(snapshot)["model"], source=snapshot)
    return FoundConditions(torch_analyzer(model, config))


def _of_shuffle(loader: DLCLoader, wanted: ShuffleConditions) -> tuple[dict[str, Any], Path]:
    """Configuration and snapshot of a shuffle of the same or another project."""
    source = DLCLoader(
        wanted.config or loader.project_config.path,
        trainset_index=wanted.trainset_index,
        shuffle=wanted.shuffle,
        modelprefix=wanted.modelprefix,
    )
    return source.model_cfg, _snapshot(source, wanted)


def _snapshot(loader: DLCLoader, wanted: ShuffleConditions) -> Path:
    if wanted.snapshot is not None:
        return loader.model_folder / wanted.snapshot
    snapshots = loader.snapshots()
    index = -1 if wanted.snapshot_index is None else wanted.snapshot_index
    if not -len(snapshots) <= index < len(snapshots):
        raise SnapshotError(
            f"{loader.model_folder}: has {len(snapshots)} snapshots, and inference.conditions asks for number {index}; "
            "train the bottom-up shuffle first, or name one of its snapshots."
        )
    return snapshots[index].path


def _recorded(file: Path, keypoints: Sequence[str]) -> RecordedConditions:
    read = _read_json if file.suffix == ".json" else _read_h5
    try:
        poses = {tuple(Path(name).parts[-3:]): array for name, array in read(file).items()}
        arrays = {name: np.asarray(array, np.float32).reshape(-1, len(keypoints), 3) for name, array in poses.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ResultError(
            f"{file}: holds no poses of {len(keypoints)} keypoints by image; give the .h5 that evaluating a bottom-up "
            "shuffle writes, or a .json of image -> poses -> keypoints -> [x, y, score]."
        ) from error
    return RecordedConditions(file, {name: _present(array) for name, array in arrays.items()}, len(keypoints))


def _present(array: Floats) -> Poses:
    """The poses (N, K, 3) that have a keypoint; one that is negative anywhere is missing, as DeepLabCut writes it."""
    array = np.where((array >= 0).all(axis=2, keepdims=True), array, np.nan)
    return Poses.from_array(array[~np.isnan(array[..., 0]).all(axis=1)])


def _read_json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")).items())


def _read_h5(file: Path) -> dict[str, Any]:
    table = cast(Any, read_hdf(file, error=ResultError))
    if "individuals" in table.columns.names:
        # Unique body parts are no part of an animal; DeepLabCut cannot read such a file.
        table = table.loc[:, table.columns.get_level_values("individuals") != "single"]
    names = ["/".join(name) if isinstance(name, tuple) else str(name).replace("\\", "/") for name in table.index]
    return dict(zip(names, table.to_numpy(np.float32), strict=True))
