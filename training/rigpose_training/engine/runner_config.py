"""The ``runner`` and ``train_settings`` sections of ``pytorch_config.yaml``, and the device that they train on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from rigpose.errors import ConfigError, TrainingError
from rigpose.schema import parse
from rigpose_training.engine.team import local_rank
from rigpose_training.pose_config.weight_init import WeightInit, read_weight_init


@dataclass(frozen=True)
class SnapshotSection:
    """``runner.snapshots``: when to save, and how many regular snapshots to keep."""

    max_snapshots: int = 5
    save_epochs: int = 25
    save_optimizer_state: bool = False


@dataclass(frozen=True)
class RunnerSection:
    """``runner``: the sections of optimiser and scheduler are read where they are built."""

    optimizer: dict[str, Any]
    scheduler: dict[str, Any] | None = None
    snapshots: SnapshotSection = field(default_factory=SnapshotSection)
    type: str = "PoseTrainingRunner"
    device: str | None = None
    gpus: list[int] | None = None
    key_metric: str | None = "test.mAP"
    key_metric_asc: bool = True
    eval_interval: int = 10
    snapshot_prefix: str | None = None
    load_weights_only: bool | None = None
    load_scheduler_state_dict: bool = True


@dataclass(frozen=True)
class TrainSettings:
    """``train_settings``."""

    batch_size: int = 8
    epochs: int = 200
    dataloader_workers: int = 0
    dataloader_pin_memory: bool = False
    display_iters: int = 500
    seed: int | None = 42
    weight_init: dict[str, Any] | None = None


def read_runner(config: Mapping[str, Any], *, where: str = "") -> tuple[RunnerSection, TrainSettings]:
    """Both sections, checked.

    Args:
        config: The file, or its ``detector`` section.
        where: What stands before the sections' names in messages: nothing, or ``detector.``.

    Raises:
        ConfigError: An unknown key (the nearest known one is named), a wrong type, or a number out of range.
    """
    runner = parse(RunnerSection, config["runner"], where=f"{where}runner")
    settings = parse(TrainSettings, config["train_settings"], where=f"{where}train_settings")
    least = {
        "train_settings.batch_size": settings.batch_size,
        "train_settings.epochs": settings.epochs,
        "train_settings.display_iters": settings.display_iters,
        "runner.eval_interval": runner.eval_interval,
        "runner.snapshots.save_epochs": runner.snapshots.save_epochs,
        "runner.snapshots.max_snapshots": runner.snapshots.max_snapshots,
    }
    for name, value in least.items():
        if value < 1:
            raise ConfigError(f"{where}{name}: {value} is too small; give 1 or more.")
    if settings.dataloader_workers < 0:
        workers = settings.dataloader_workers
        raise ConfigError(f"{where}train_settings.dataloader_workers: {workers} is too small; give 0 or more.")
    first_weights(config, where=where)
    return runner, settings


def first_weights(config: Mapping[str, Any], *, where: str = "") -> WeightInit:
    """``train_settings.weight_init``, which names no snapshot where there is no such section.

    Raises:
        ConfigError: Something in it is wrong, or it asks for memory replay.
    """
    place = f"{where}train_settings.weight_init"
    weights = read_weight_init(config["train_settings"].get("weight_init") or {}, where=place)
    if weights.memory_replay:
        raise ConfigError(
            f"{place}.memory_replay: training on keypoints that nobody labelled, with what the snapshot finds there as "
            "labels, is not supported; write false, and the network learns the project's bodyparts."
        )
    return weights


def choose_device(asked: str, config: Mapping[str, Any], runner: RunnerSection) -> torch.device:
    """The device to train on: the one asked for, else the configuration's, else the best one there is.

    Of several processes on one machine each takes its own GPU: of ``runner.gpus``, or of all.

    Raises:
        TrainingError: A device that this machine, or this build of torch, does not have.
    """
    name = asked if asked != "auto" else str(config.get("device") or "auto")
    if name == "auto":
        name = _best_device()
    if name == "cuda":
        name = _own_gpu(runner.gpus)
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"device {name!r}: torch knows no such device; give auto, cpu, cuda or cuda:1.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            f"device {name}: torch {torch.__version__} finds no CUDA device; install a CUDA build of torch and the "
            "driver, or give device cpu."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(f"device {name}: there are {torch.cuda.device_count()} CUDA devices, counted from 0.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise TrainingError("device mps: this machine has no Metal device; give device cpu.")
    return device


def _own_gpu(gpus: list[int] | None) -> str:
    place = local_rank()
    if not gpus:
        return "cuda" if place is None else f"cuda:{place}"
    if (place or 0) >= len(gpus):
        raise TrainingError(f"runner.gpus: {gpus} are fewer than the processes on this machine; name one for each.")
    return f"cuda:{gpus[place or 0]}"


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
