"""One training of one network, from its configuration to its best snapshot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch.optim.lr_scheduler import ReduceLROnPlateau

from rigpose.errors import ConfigError, TrainingError
from rigpose_training.data.batches import Batching, TrainingBatches
from rigpose_training.data.transforms import Transform, build_transforms
from rigpose_training.engine.beginning import Beginning, Start, begin, goes_on
from rigpose_training.engine.files import RunFiles
from rigpose_training.engine.fit import FitPlan, Lesson, fit
from rigpose_training.engine.journal import Journal, LoggerSection, open_journal, read_logger
from rigpose_training.engine.log import LOGGER, text_log
from rigpose_training.engine.options import TrainingOptions, choose_options
from rigpose_training.engine.runner_config import RunnerSection, TrainSettings, choose_device, read_runner
from rigpose_training.engine.schedule import build_optimizer, build_scheduler
from rigpose_training.engine.snapshots import Retention, SnapshotKeeper
from rigpose_training.engine.stages import Stage
from rigpose_training.engine.state import TrainingState, read_resume
from rigpose_training.engine.step import Amp, Step, choose_precision, freeze_bn_weights, share_batch_norm, wrap
from rigpose_training.engine.team import Team
from rigpose_training.pose_config.files import write_pose_config
from rigpose_training.task import Task

CROPPED = (Task.TOP_DOWN, Task.COND_TOP_DOWN)
"""Tasks whose network sees one animal at a time, in crops of one size."""


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


@dataclass(frozen=True)
class _Run:
    """Everything that is settled before work begins."""

    stage: Stage
    start: Start
    team: Team
    files: RunFiles
    runner: RunnerSection
    settings: TrainSettings
    logger: LoggerSection | None
    device: torch.device
    precision: torch.dtype | None
    transform: Transform
    batching: Batching


def run(stage: Stage, start: Start, machine: Machine, given: Mapping[str, Any], team: Team) -> Path:
    """Train a stage's network and return its best snapshot.

    Args:
        stage: What is trained.
        start: What it begins with.
        machine: What it trains on.
        given: Training options by name.
        team: The processes that train together.
    """
    plan = _settle(stage, start, machine, team)
    _check_images(plan)
    team.from_leader(lambda: _take_the_folder(plan))
    with text_log(plan.files.folder) if team.leads else nullcontext():
        saved = read_resume(plan.files.resume)
        saved = saved if goes_on(saved, start) else None
        options = choose_options(given, saved["options"] if saved else None)
        _check_options(options, plan)
        _train(plan, options, saved)
    kept = plan.files.snapshots()
    if not kept:
        raise TrainingError(
            f"{plan.files.folder}: training stopped before it kept a snapshot; give more epochs to go on, or "
            "resume=False to begin anew."
        )
    return kept[-1].path


def _settle(stage: Stage, start: Start, machine: Machine, team: Team) -> _Run:
    config = stage.config
    runner, settings = read_runner(config, where=stage.where)
    device = choose_device(machine.device, config, runner)
    if device.type == "mps" and stage.task is Task.DETECT:
        device = torch.device("cpu")  # torchvision's detectors do not train on Metal
    return _Run(
        stage=stage,
        start=start,
        team=team,
        files=stage.files(stage.loader.model_folder, runner.snapshot_prefix),
        runner=runner,
        settings=settings,
        logger=read_logger(config.get("logger")),
        device=device,
        precision=choose_precision(machine.amp, device),
        transform=build_transforms(config["data"]["train"], where=f"{stage.where}data.train"),
        batching=_batching(settings, machine, device, team),
    )


def _batching(settings: TrainSettings, machine: Machine, device: torch.device, team: Team) -> Batching:
    workers = machine.workers
    if workers is None:
        cores = (os.cpu_count() or 2) // team.size
        # More processes than cores only fight for them.
        workers = min(settings.dataloader_workers, cores)
        if workers == 0 and device.type == "cuda":
            # DeepLabCut's configurations say 0, which leaves the GPU waiting for images.
            workers = min(8, max(1, cores - 1))
    return Batching(
        batch_size=settings.batch_size,
        workers=workers,
        pin_memory=settings.dataloader_pin_memory or device.type == "cuda",
        seed=settings.seed or 0,
        rank=team.rank,
        processes=team.size,
    )


def _check_images(plan: _Run) -> None:
    """Find what would fail hours later, or in the first batch with a worse message."""
    loader, steps = plan.stage.loader, plan.transform.steps
    images = loader.images("train")
    if not images:
        raise TrainingError(
            f"{loader.model_config_path}: its split has no training images; label some frames and create the "
            "training data set again."
        )
    sizes = sorted({image.size for image in images if image.size is not None})
    several = plan.settings.batch_size > 1 and len(sizes) > 1
    if several and not _makes_one_size(plan):
        listed = ", ".join(f"{w} x {h}" for h, w in sizes[:4])
        raise TrainingError(
            f"{loader.model_config_path}: images of {listed} px do not fit into one batch; set "
            f"{plan.stage.where}data.train.crop_sampling, or train with batch_size 1."
        )
    crop = steps.crop_sampling
    if crop is not None and sizes and all(crop.height > h and crop.width > w for h, w in sizes):
        LOGGER.warning(
            "data.train.crop_sampling: %d x %d px is larger than every training image, so crops have a black border.",
            crop.width,
            crop.height,
        )


def _makes_one_size(plan: _Run) -> bool:
    if plan.stage.task in CROPPED:
        return True
    steps = plan.transform.steps
    return any(section is not None for section in (steps.crop_sampling, steps.resize, steps.collate))


def _check_options(options: TrainingOptions, plan: _Run) -> None:
    if options.patience and (plan.runner.key_metric is None or not plan.stage.loader.images("test")):
        raise ConfigError("patience: needs test images and runner.key_metric to see a gain; train without it.")


def _take_the_folder(plan: _Run) -> None:
    loader = plan.stage.loader
    try:
        write_pose_config(loader.model_config_path, loader.model_cfg)
        if not plan.start.resume:
            plan.files.set_aside()
    except OSError as error:
        raise TrainingError(
            f"{plan.files.folder}: cannot be written ({error.strerror}); correct its permissions, or copy the project."
        ) from error


def _train(plan: _Run, options: TrainingOptions, saved: Mapping[str, Any] | None) -> None:
    stage, team, runner = plan.stage, plan.team, plan.runner
    state = _new_state(plan, options)
    beginning = Beginning(
        start=plan.start,
        saved=saved,
        files=plan.files,
        schedule_too=runner.load_scheduler_state_dict,
        initialise=lambda: stage.initialise(state.model, plan.start.weights),
        bodyparts=() if stage.task is Task.DETECT else stage.loader.bodyparts,
    )
    end = begin(state, beginning, team, plan.settings.epochs)
    fit_plan = FitPlan(
        files=plan.files,
        epochs=end,
        eval_interval=runner.eval_interval,
        save_epochs=runner.snapshots.save_epochs,
        display_iters=plan.settings.display_iters,
        patience=options.patience,
        team=team,
    )
    if fit_plan.over(state):
        _say_why_over(state, fit_plan)
        return
    lesson = _lesson(plan, options, state)
    journal = Journal()
    if team.leads:
        until = state.epoch
        journal = open_journal(plan.files, stage.config, plan.logger, until_epoch=until, board=options.tensorboard)
    _announce(plan, options, lesson, end)
    try:
        fit(state, lesson, fit_plan, _keeper(plan, state), journal)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"{plan.device} has too little memory for batches of {plan.settings.batch_size}; train with a smaller "
            "batch_size or a smaller data.train.crop_sampling."
        ) from error
    finally:
        journal.close()


def _new_state(plan: _Run, options: TrainingOptions) -> TrainingState:
    torch.manual_seed(plan.batching.seed)
    model = share_batch_norm(plan.stage.build().to(plan.device), plan.device, plan.team)
    if plan.team.rank:
        torch.manual_seed(plan.batching.seed + plan.team.rank)  # the same network, but other dropout
    if options.channels_last:
        model = model.to(memory_format=torch.channels_last)
    freeze_bn_weights(model)
    where = f"{plan.stage.where}runner"
    optimizer = build_optimizer(plan.runner.optimizer, model.parameters(), where=f"{where}.optimizer")
    scheduler = build_scheduler(plan.runner.scheduler, optimizer, where=f"{where}.scheduler")
    if isinstance(scheduler, ReduceLROnPlateau) and (scheduler.mode == "max") is not plan.runner.key_metric_asc:
        mode = "max" if plan.runner.key_metric_asc else "min"
        raise ConfigError(f"{where}.scheduler.params.mode: must be {mode} for {where}.key_metric; write mode: {mode}.")
    return TrainingState(
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=torch.amp.GradScaler("cuda", enabled=plan.precision is torch.float16),
        images_per_step=plan.batching.batch_size * plan.team.size * options.accumulate,
        averaged=ModelEmaV3(model, decay=options.ema_decay, use_warmup=True) if options.ema_decay else None,
        options=asdict(options),
    )


def _keeper(plan: _Run, state: TrainingState) -> SnapshotKeeper:
    runner = plan.runner
    retention = Retention(
        folder=plan.files.folder,
        prefix=plan.files.prefix,
        save_epochs=runner.snapshots.save_epochs,
        max_snapshots=runner.snapshots.max_snapshots,
        key_metric=runner.key_metric,
        ascending=runner.key_metric_asc,
        save_optimizer_state=runner.snapshots.save_optimizer_state,
    )
    return SnapshotKeeper(retention, best_metric=state.best_metric, writes=plan.team.leads)


def _lesson(plan: _Run, options: TrainingOptions, state: TrainingState) -> Lesson:
    stage = plan.stage
    objective = stage.objective(state.model)
    dataset = stage.loader.create_dataset(plan.transform, "train", stage.task)
    dataset.seed = plan.batching.seed
    step = Step(state, objective, wrap(state.model, objective, options), plan.precision, options)
    validate = stage.validation(state.kept, objective, plan.batching.batch_size)
    return Lesson(TrainingBatches(dataset, plan.batching), step, validate)


def _announce(plan: _Run, options: TrainingOptions, lesson: Lesson, end: int) -> None:
    precision = str(plan.precision or torch.float32).removeprefix("torch.")
    batches = lesson.batches
    LOGGER.info(
        "Training on %d %s in batches of %d, on %s in %s, with %d loading processes, until epoch %d.",
        len(batches.dataset),
        "animals" if plan.stage.task in CROPPED else "images",
        batches.batch_size,
        plan.device,
        precision,
        batches.loader.num_workers,
        end,
    )
    if plan.team.size > 1:
        LOGGER.info("%d processes train together, each on batches of its own.", plan.team.size)
    chosen = {name: value for name, value in asdict(options).items() if value != getattr(TrainingOptions(), name)}
    if chosen:
        LOGGER.info("Options: %s.", ", ".join(f"{name} {value}" for name, value in chosen.items()))
    if options.compile_model and plan.stage.task is Task.DETECT:
        LOGGER.info("The detector trains without torch.compile, for its shapes change with what it finds.")


def _say_why_over(state: TrainingState, plan: FitPlan) -> None:
    if state.epoch < plan.epochs:
        LOGGER.info(
            "Stopped early after epoch %d, because %d tests brought no gain; give more patience (or 0) to go on.",
            state.epoch,
            state.tests_without_gain,
        )
        return
    LOGGER.info("Already trained for %d epochs; give more epochs to go on, or resume=False to begin anew.", state.epoch)
