"""Train a shuffle: from a DeepLabCut project to snapshots, with one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from rigpose.errors import TrainingError
from rigpose_training.data.batches import Batching, TrainingBatches
from rigpose_training.data.loaders import DLCLoader, Loader
from rigpose_training.data.transforms import Transform, build_transforms
from rigpose_training.engine.beginning import Start, begin, set_aside
from rigpose_training.engine.fit import (
    Amp,
    FitPlan,
    Lesson,
    choose_precision,
    fit,
    freeze_bn_weights,
)
from rigpose_training.engine.log import LOGGER, text_log
from rigpose_training.engine.runner_config import RunnerSection, TrainSettings, choose_device, read_runner
from rigpose_training.engine.schedule import build_optimizer, build_scheduler
from rigpose_training.engine.snapshots import Retention, SnapshotKeeper
from rigpose_training.engine.state import TrainingState
from rigpose_training.engine.validate import Validation
from rigpose_training.losses import read_objectives
from rigpose_training.models import PoseModel, build_model
from rigpose_training.objectives import PoseObjective
from rigpose_training.pose_config.files import update, write_pose_config
from rigpose_training.project.shuffle import list_snapshots
from rigpose_training.torch_session import torch_analyzer


@dataclass(frozen=True)
class Machine:
    """What to train on, as the user asks for it.

    Attributes:
        device: ``auto`` is the configuration's, or the best one there is.
        amp: ``auto`` is half precision on CUDA.
        workers: Processes that load images; none is the configuration's number, or on CUDA a few.
    """

    device: str = "auto"
    amp: Amp = "auto"
    workers: int | None = None


def train_network(  # noqa: PLR0913
    config: str | Path,
    shuffle: int = 1,
    trainingsetindex: int = 0,
    *,
    device: str = "auto",
    snapshot_path: str | Path | None = None,
    load_head_weights: bool = True,
    batch_size: int | None = None,
    epochs: int | None = None,
    save_epochs: int | None = None,
    eval_interval: int | None = None,
    display_iters: int | None = None,
    max_snapshots_to_keep: int | None = None,
    pytorch_cfg_updates: Mapping[str, Any] | None = None,
    weights: Literal["imagenet", "random"] = "imagenet",
    amp: Amp = "auto",
    workers: int | None = None,
    seed: int | None = None,
    resume: bool = True,
    modelprefix: str = "",
) -> Path:
    """Train a shuffle of a project and return its best snapshot (the last one, if none was evaluated).

    The same call goes on after an interruption: epoch, optimiser, schedule and random numbers are as if nothing
    had happened. A finished training is not repeated; more ``epochs`` continue it.

    Args:
        config: The project's ``config.yaml``.
        shuffle: Index of the shuffle.
        trainingsetindex: Which of the project's ``TrainingFraction``.
        device: ``auto`` (the configuration's, else the best there is), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        snapshot_path: A snapshot to begin with; ``epochs`` are then added to the epochs it has.
        load_head_weights: Whether the heads begin with ``snapshot_path`` too; not if body parts changed.
        batch_size: Images per step.
        epochs: Epochs to train.
        save_epochs: Epochs between snapshots.
        eval_interval: Epochs between validations.
        display_iters: Batches between lines of the log.
        max_snapshots_to_keep: Regular snapshots to keep.
        pytorch_cfg_updates: Changes of ``pytorch_config.yaml`` by dotted key, e.g.
            ``{"runner.optimizer.params.lr": 1e-3}``. Like the arguments above they are written to the file.
        weights: What the backbone begins with where there is no snapshot.
        amp: Half precision of the forward pass: ``auto`` uses it on CUDA.
        workers: Processes that load images.
        seed: Of everything random.
        resume: Whether to continue an earlier run; if not, its files are moved to a folder ``previous-1``.
        modelprefix: Folder above ``dlc-models-pytorch``, seldom used.

    Raises:
        RigposeError: One sentence that says what is wrong and what to do.
        KeyboardInterrupt: Ctrl-C; the state was saved.
    """
    loader = DLCLoader(config, trainset_index=trainingsetindex, shuffle=shuffle, modelprefix=modelprefix)
    changes = {
        "train_settings.batch_size": batch_size,
        "train_settings.epochs": epochs,
        "train_settings.display_iters": display_iters,
        "train_settings.seed": seed,
        "train_settings.dataloader_workers": workers,
        "runner.eval_interval": eval_interval,
        "runner.snapshots.save_epochs": save_epochs,
        "runner.snapshots.max_snapshots": max_snapshots_to_keep,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    loader.model_cfg = update(loader.model_cfg, given | dict(pytorch_cfg_updates or {}))
    snapshot = snapshot_path or loader.model_cfg.get("resume_training_from")
    start = Start(Path(snapshot) if snapshot else None, load_head_weights, weights, resume)
    return train(loader, start, Machine(device, amp, workers))


def train(loader: Loader, start: Start, machine: Machine) -> Path:
    """Train with a loader's images and configuration; see ``train_network``."""
    config, folder = loader.model_cfg, loader.model_folder
    runner, settings = read_runner(config)
    device = choose_device(machine.device, config, runner)
    precision = choose_precision(machine.amp, device)
    transform = build_transforms(config["data"]["train"])
    _check_images(loader, transform, settings)
    retention = _retention(folder, runner)
    try:
        write_pose_config(loader.model_config_path, config)
        if not start.resume:
            set_aside(folder, prefix=retention.prefix)
    except OSError as error:
        raise TrainingError(
            f"{folder}: cannot be written ({error.strerror}); correct its permissions, or copy the project."
        ) from error
    with text_log(folder):
        torch.manual_seed(settings.seed or 0)
        model = build_model(config).to(device)
        state = _new_state(model, config, runner, half=precision is torch.float16)
        epochs = begin(state, start, folder, runner, settings.epochs)
        if state.epoch >= epochs:
            LOGGER.info(
                "Already trained for %d epochs; give more epochs to go on, or resume=False to begin anew.",
                state.epoch,
            )
            return list_snapshots(folder, prefix=retention.prefix)[-1].path
        lesson = _lesson(loader, transform, model, _batching(settings, machine, device))
        plan = FitPlan(
            folder=folder,
            epochs=epochs,
            eval_interval=runner.eval_interval,
            save_epochs=retention.save_epochs,
            display_iters=settings.display_iters,
            autocast=precision,
            freeze_bn_stats=bool(config["model"]["backbone"].get("freeze_bn_stats", True)),
        )
        _announce(lesson, plan, device)
        try:
            fit(state, lesson, plan, SnapshotKeeper(retention, best_metric=state.best_metric))
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"{device} has too little memory for batches of {settings.batch_size}; train with a smaller "
                "batch_size or a smaller data.train.crop_sampling."
            ) from error
    return list_snapshots(folder, prefix=retention.prefix)[-1].path


def _check_images(loader: Loader, transform: Transform, settings: TrainSettings) -> None:
    """Find what would fail hours later, or in the first batch with a worse message."""
    images = loader.images("train")
    if not images:
        raise TrainingError(
            f"{loader.model_config_path}: its split has no training images; label some frames and create the "
            "training data set again."
        )
    sizes = sorted({image.size for image in images if image.size is not None})
    steps = transform.steps
    if settings.batch_size > 1 and len(sizes) > 1 and steps.crop_sampling is None and steps.resize is None:
        listed = ", ".join(f"{w} x {h}" for h, w in sizes[:4])
        raise TrainingError(
            f"{loader.model_config_path}: images of {listed} px do not fit into one batch; set "
            "data.train.crop_sampling, or train with batch_size 1."
        )
    crop = steps.crop_sampling
    if crop is not None and sizes and all(crop.height > h and crop.width > w for h, w in sizes):
        LOGGER.warning(
            "data.train.crop_sampling: %d x %d px is larger than every training image, so crops have a black border.",
            crop.width,
            crop.height,
        )


def _retention(folder: Path, runner: RunnerSection) -> Retention:
    return Retention(
        folder=folder,
        prefix=runner.snapshot_prefix or "snapshot",
        save_epochs=runner.snapshots.save_epochs,
        max_snapshots=runner.snapshots.max_snapshots,
        key_metric=runner.key_metric,
        ascending=runner.key_metric_asc,
        save_optimizer_state=runner.snapshots.save_optimizer_state,
    )


def _new_state(model: PoseModel, config: Mapping[str, Any], runner: RunnerSection, *, half: bool) -> TrainingState:
    if config["model"]["backbone"].get("freeze_bn_weights", False):
        freeze_bn_weights(model)
    optimizer = build_optimizer(runner.optimizer, model.parameters())
    return TrainingState(
        model=model,
        optimizer=optimizer,
        scheduler=build_scheduler(runner.scheduler, optimizer),
        scaler=torch.amp.GradScaler("cuda", enabled=half),
    )


def _batching(settings: TrainSettings, machine: Machine, device: torch.device) -> Batching:
    workers = machine.workers
    if workers is None:
        workers = settings.dataloader_workers
        if workers == 0 and device.type == "cuda":
            # DeepLabCut's configurations say 0, which leaves the GPU waiting for images.
            workers = min(8, max(1, (os.cpu_count() or 2) - 1))
    return Batching(
        batch_size=settings.batch_size,
        workers=workers,
        pin_memory=settings.dataloader_pin_memory or device.type == "cuda",
        seed=settings.seed or 0,
    )


def _lesson(loader: Loader, transform: Transform, model: PoseModel, batching: Batching) -> Lesson:
    config = loader.model_cfg
    objective = PoseObjective(read_objectives(config["model"]["heads"], model.strides))
    dataset = loader.create_dataset(transform, "train")
    dataset.seed = batching.seed
    prepare = build_transforms(config["data"]["inference"], where="data.inference")
    validation = Validation(
        dataset=loader.create_dataset(prepare, "test"),
        objective=objective,
        analyzer=torch_analyzer(model, config),
        batch_size=batching.batch_size,
    )
    return Lesson(TrainingBatches(dataset, batching), objective, validation)


def _announce(lesson: Lesson, plan: FitPlan, device: torch.device) -> None:
    precision = str(plan.autocast or torch.float32).removeprefix("torch.")
    batches = lesson.batches
    LOGGER.info(
        "Training on %d images in batches of %d, on %s in %s, with %d loading processes, until epoch %d.",
        len(batches.dataset),
        batches.batch_size,
        device,
        precision,
        batches.loader.num_workers,
        plan.epochs,
    )
