"""Snapshots: DeepLabCut's weight files, read without trust, written whole, and kept in its order."""

from __future__ import annotations

import math
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rigpose.errors import SnapshotError
from rigpose_training.models.keypoint_axes import KeypointParameters, keypoint_parameters
from rigpose_training.models.pose_model import PoseModel
from rigpose_training.project.shuffle import Snapshot, list_snapshots

OTHER_KEYPOINTS = (
    "another number of body parts; begin with its weights by the names of keypoints (keypoint_map, --keypoint-map), or "
    "with its backbone alone (load_head_weights=False, --backbone-only)"
)


def read_snapshot(path: Path) -> dict[str, Any]:
    """The content of a snapshot, of a model that DeepLabCut exported, or of a bare state dict, on the CPU.

    Returns:
        ``model``: state dict; ``metadata``: ``epoch``, ``metrics`` and ``losses`` (empty where the file has none);
        ``optimizer`` and ``scheduler`` where the file has them, and ``detector`` of an exported pair.

    Raises:
        SnapshotError: The file is missing, damaged, holds code, or is no snapshot.
    """
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise SnapshotError(f"{path}: there is no such snapshot; train first, or give another path.") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, zipfile.BadZipFile, ValueError) as error:
        raise SnapshotError(f"{path}: {_why_unreadable(error)}.") from error
    weights = content.get("model", content.get("pose")) if isinstance(content, Mapping) else None
    if weights is None and _is_state_dict(content):
        weights, content = content, {}
    if not isinstance(weights, Mapping):
        raise SnapshotError(
            f"{path}: holds neither a DeepLabCut snapshot (model) nor an exported model (pose); give a "
            "snapshot-*.pt file."
        )
    metadata = {"epoch": 0, "metrics": {}, "losses": {}} | dict(content.get("metadata") or {})
    rest = {key: content[key] for key in ("optimizer", "scheduler", "detector") if content.get(key) is not None}
    return {"model": dict(weights), "metadata": metadata, **rest}


def _is_state_dict(content: object) -> bool:
    return isinstance(content, Mapping) and bool(content) and all(map(torch.is_tensor, content.values()))


def load_weights(model: nn.Module, weights: Mapping[str, Any], *, source: Path) -> None:
    """Load a state dict into a model, every key and shape of it.

    Raises:
        SnapshotError: They do not fit; the message names the first keys that differ and the likely cause.
    """
    own = model.state_dict()
    shapes = [
        f"{key} is {_shape(weights[key])} in the file and {_shape(own[key])} in the model"
        for key in own
        if key in weights and tuple(weights[key].shape) != tuple(own[key].shape)
    ]
    missing = [key for key in own if key not in weights]
    unknown = [key for key in weights if key not in own]
    if missing or unknown:
        named = [f"{k} is missing" for k in missing[:2]] + [f"{k} is not in the model" for k in unknown[:2]]
        likely = "another net_type or other head settings; use the pytorch_config.yaml that lies beside it"
        if all(key.startswith(_keypoints(model).modules) for key in missing + unknown):
            likely = OTHER_KEYPOINTS
        count = len(missing) + len(unknown)
        raise SnapshotError(
            f"{source}: does not fit pytorch_config.yaml in {count} keys ({'; '.join(named)}): the file was probably "
            f"trained with {likely}."
        )
    if shapes:
        likely = "another net_type; use the pytorch_config.yaml that lies beside it"
        by_keypoint = _keypoints(model).axes
        if all(what.startswith("heads.") or what.partition(" ")[0] in by_keypoint for what in shapes):
            likely = OTHER_KEYPOINTS
        raise SnapshotError(
            f"{source}: does not fit pytorch_config.yaml in {len(shapes)} shapes ({'; '.join(shapes[:2])}): the file "
            f"was probably trained with {likely}."
        )
    model.load_state_dict(dict(weights))


def _keypoints(model: nn.Module) -> KeypointParameters:
    return keypoint_parameters(model) if isinstance(model, PoseModel) else KeypointParameters({}, ())


def load_backbone(model: nn.Module, weights: Mapping[str, Any], *, source: Path) -> None:
    """Load the weights of the backbone alone; heads keep theirs."""
    heads = {k: v for k, v in model.state_dict().items() if not k.startswith("backbone.")}
    backbone = {k: v for k, v in weights.items() if k.startswith("backbone.")}
    load_weights(model, {**heads, **backbone}, source=source)


def write_whole(content: Mapping[str, Any], path: Path) -> None:
    """Save to a temporary name in the same folder and move it in place, so that a file is whole or absent.

    Raises:
        SnapshotError: The folder cannot be written, or the disk is full.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        torch.save(dict(content), unfinished)
        unfinished.replace(path)
    except (OSError, RuntimeError) as error:
        raise SnapshotError(
            f"{path}: could not be written ({str(error).splitlines()[0]}); free some disk space or correct the "
            "folder's permissions, then train again to go on from the last snapshot."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


@dataclass(frozen=True)
class Retention:
    """Which snapshots a training keeps.

    Attributes:
        folder: Where they are.
        prefix: How their names begin.
        save_epochs: Epochs between regular snapshots.
        max_snapshots: Regular ones to keep, the newest; the best one is beside them.
        key_metric: The metric that decides which is best, e.g. ``test.mAP``; none keeps no best one.
        ascending: Whether larger is better.
        save_optimizer_state: Whether the optimiser's state goes into each snapshot.
    """

    folder: Path
    prefix: str = "snapshot"
    save_epochs: int = 25
    max_snapshots: int = 5
    key_metric: str | None = "test.mAP"
    ascending: bool = True
    save_optimizer_state: bool = False


class SnapshotKeeper:
    """Writes the snapshots of one training run, with DeepLabCut's rules for which ones stay.

    Attributes:
        retention: Those rules.
        best_metric: The key metric of the best snapshot so far, or none.
        writes: Whether this process writes; of several that train together one does, and all know the best.
    """

    def __init__(self, retention: Retention, *, best_metric: float | None = None, writes: bool = True) -> None:
        self.retention = retention
        self.best_metric = best_metric
        self.writes = writes

    def key_metric(self, metrics: Mapping[str, float]) -> float:
        """The metric that decides which snapshot is best; NaN where it was not measured."""
        return float(metrics.get(f"metrics/{self.retention.key_metric}", math.nan))

    def improves(self, metrics: Mapping[str, float]) -> bool:
        """Whether these are the metrics of a better network than the best one so far."""
        metric = self.key_metric(metrics)
        if math.isnan(metric) or self.best_metric is None:
            return not math.isnan(metric)
        sign = 1 if self.retention.ascending else -1
        return sign * metric > sign * self.best_metric

    def keep(self, content: Mapping[str, Any], *, last: bool) -> Path | None:
        """Save an epoch if it is the best so far, the last one, or its turn; return the file if one was written.

        Args:
            content: A snapshot: ``model``, ``metadata`` (``epoch``, ``metrics``, ``losses``), ``optimizer``, ...
            last: Whether training ends with this epoch.
        """
        rule = self.retention
        epoch = int(content["metadata"]["epoch"])
        metrics = content["metadata"]["metrics"]
        best = self.improves(metrics)
        if best:
            self.best_metric = self.key_metric(metrics)
        if not self.writes:
            return None
        if not rule.save_optimizer_state:
            content = {key: value for key, value in content.items() if key != "optimizer"}
        written = None
        if best:
            former = [s for s in list_snapshots(rule.folder, prefix=rule.prefix) if s.best]
            written = self._path(epoch, best=True)
            write_whole(content, written)
            for snapshot in former:
                self._demote(snapshot, now_best=written)
        elif last or epoch % rule.save_epochs == 0:
            written = self._path(epoch, best=False)
            write_whole(content, written)
        regular = [s for s in list_snapshots(rule.folder, prefix=rule.prefix) if not s.best]
        for snapshot in regular[: max(0, len(regular) - rule.max_snapshots)]:
            snapshot.path.unlink()
        return written

    def _demote(self, snapshot: Snapshot, *, now_best: Path) -> None:
        if snapshot.path == now_best:
            return
        if snapshot.epoch % self.retention.save_epochs == 0:
            snapshot.path.replace(self._path(snapshot.epoch, best=False))
        else:
            snapshot.path.unlink()

    def _path(self, epoch: int, *, best: bool) -> Path:
        middle = "-best" if best else ""
        return self.retention.folder / f"{self.retention.prefix}{middle}-{epoch:03}.pt"


def _numpy_scalars() -> list[Any]:
    """What early DeepLabCut 3 releases left in ``metadata``; building them runs no code of the file's choice."""
    scalar: Any = np.float64(0).__reduce__()[0]
    old_name = (scalar, "numpy.core.multiarray.scalar")
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    return [scalar, old_name, np.dtype, *kinds]


def _why_unreadable(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError) and "weights_only" in str(error).lower():
        return (
            "holds more than weights, and nothing in it is run; open it once in the DeepLabCut that wrote it and "
            "save it again (fix_snapshot_metadata)"
        )
    return "is damaged or was not written to its end; delete it and take another snapshot of its folder"


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
