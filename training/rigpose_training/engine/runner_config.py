"""The ``runner`` and ``train_settings`` sections of ``pytorch_config.yaml``, and the device that they train on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from rigpose.errors import ConfigError, TrainingError
from rigpose.schema import parse


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


def read_runner(config: Mapping[str, Any]) -> tuple[RunnerSection, TrainSettings]:
    """Both sections, checked.

    Raises:
        ConfigError: An unknown key (the nearest known one is named), a wrong type, or a number out of range.
    """
    runner = parse(RunnerSection, config["runner"], where="runner")
    settings = parse(TrainSettings, config["train_settings"], where="train_settings")
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
            raise ConfigError(f"{name}: {value} is too small; give 1 or more.")
    if settings.dataloader_workers < 0:
        workers = settings.dataloader_workers
        raise ConfigError(f"train_settings.dataloader_workers: {workers} is too small; give 0 or more.")
    if runner.gpus is not None and len(runner.gpus) > 1:
        raise ConfigError(f"runner.gpus: {runner.gpus} are several; training uses one GPU, so give one index.")
    if settings.weight_init is not None:
        raise ConfigError(
            "train_settings.weight_init: weights of SuperAnimal models cannot be fetched here; remove it, and give "
            "snapshot_path to start from a snapshot of your own."
        )
    return runner, settings


def choose_device(asked: str, config: Mapping[str, Any], runner: RunnerSection) -> torch.device:
    """The device to train on: the one asked for, else the configuration's, else the best one there is.

    Raises:
        TrainingError: A device that this machine, or this build of torch, does not have.
    """
    name = asked if asked != "auto" else str(config.get("device") or "auto")
    if name == "auto":
        name = _best_device()
    if name == "cuda" and runner.gpus:
        name = f"cuda:{runner.gpus[0]}"
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


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
