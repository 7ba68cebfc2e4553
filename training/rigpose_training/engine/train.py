"""Train a shuffle: from a DeepLabCut project to snapshots, with one call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rigpose.errors import ConfigError, TrainingError
from rigpose_training.data.loaders import DLCLoader, Loader
from rigpose_training.engine.beginning import Start
from rigpose_training.engine.fine_tuning import named_weights, with_first_weights
from rigpose_training.engine.launch import gpus_to_share, launch
from rigpose_training.engine.run import Machine, run
from rigpose_training.engine.runner_config import RunnerSection, choose_device, first_weights
from rigpose_training.engine.stages import detector_stage, pose_stage
from rigpose_training.engine.step import Amp
from rigpose_training.engine.team import joined
from rigpose_training.pose_config.files import update
from rigpose_training.pose_config.keypoint_map import KeypointMap, by_conversion_table
from rigpose_training.task import Task

__all__ = ["Machine", "train", "train_network"]


def train_network(  # noqa: PLR0913
    config: str | Path,
    shuffle: int = 1,
    trainingsetindex: int = 0,
    *,
    device: str = "auto",
    snapshot_path: str | Path | None = None,
    detector_path: str | Path | None = None,
    load_head_weights: bool = True,
    keypoint_map: KeypointMap | str | Path | None = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    save_epochs: int | None = None,
    detector_batch_size: int | None = None,
    detector_epochs: int | None = None,
    detector_save_epochs: int | None = None,
    eval_interval: int | None = None,
    display_iters: int | None = None,
    max_snapshots_to_keep: int | None = None,
    pytorch_cfg_updates: Mapping[str, Any] | None = None,
    weights: Literal["imagenet", "random"] = "imagenet",
    amp: Amp = "auto",
    workers: int | None = None,
    seed: int | None = None,
    resume: bool = True,
    options: Mapping[str, Any] | None = None,
    modelprefix: str = "",
) -> Path:
    """Train a shuffle of a project and return its best snapshot (the last one, if none was evaluated).

    The same call goes on after an interruption: epoch, optimiser, schedule and random numbers are as if nothing
    had happened. A finished training is not repeated; more ``epochs`` continue it.

    A top-down shuffle (``method: td``) trains its detector and then its pose network; the returned snapshot is the
    pose network's, unless ``epochs`` is 0.

    With several ``runner.gpus`` one process trains on each, and under ``torchrun`` this process is one of those that
    train together. ``batch_size`` is what each process sees in a step, and all of them read the same folder.

    Args:
        config: The project's ``config.yaml``.
        shuffle: Index of the shuffle.
        trainingsetindex: Which of the project's ``TrainingFraction``.
        device: ``auto`` (the configuration's, else the best there is), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        snapshot_path: A snapshot to begin with; ``epochs`` are then added to the epochs it has.
        detector_path: The same for the detector of a top-down shuffle.
        load_head_weights: Whether the heads begin with ``snapshot_path`` too.
        keypoint_map: Fine-tune ``snapshot_path``, the network of another project: bodypart -> the source's keypoint
            that it begins with (its name, its number or None), or a YAML or CSV file with such lines. A bodypart that
            is not listed begins with its namesake; ``{}`` is enough where both call them the same. Training begins at
            epoch 0, and the choice is written to ``train_settings.weight_init``.
        batch_size: Images per step.
        epochs: Epochs to train; 0 leaves the pose network as it is.
        save_epochs: Epochs between snapshots.
        detector_batch_size: Images per step of the detector; ignored, as the next two, where there is none.
        detector_epochs: Epochs to train the detector; 0 leaves it as it is.
        detector_save_epochs: Epochs between snapshots of the detector.
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
        options: More ways to train, by the names of ``TrainingOptions``, e.g. ``{"ema_decay": 0.999}``. A run that
            goes on keeps those it was begun with, unless they are given anew.
        modelprefix: Folder above ``dlc-models-pytorch``, seldom used.

    Raises:
        RigposeError: One sentence that says what is wrong and what to do.
        KeyboardInterrupt: Ctrl-C; the state was saved.
    """
    call = dict(locals())
    loader = DLCLoader(config, trainset_index=trainingsetindex, shuffle=shuffle, modelprefix=modelprefix)
    changes: dict[str, Any] = {
        "train_settings.batch_size": batch_size,
        "train_settings.epochs": epochs,
        "train_settings.display_iters": display_iters,
        "train_settings.seed": seed,
        "train_settings.dataloader_workers": workers,
        "runner.eval_interval": eval_interval,
        "runner.snapshots.save_epochs": save_epochs,
        "runner.snapshots.max_snapshots": max_snapshots_to_keep,
    }
    if loader.model_cfg.get("detector"):
        changes |= {
            "detector.train_settings.batch_size": detector_batch_size,
            "detector.train_settings.epochs": detector_epochs,
            "detector.train_settings.display_iters": display_iters,
            "detector.train_settings.dataloader_workers": workers,
            "detector.runner.eval_interval": eval_interval,
            "detector.runner.snapshots.save_epochs": detector_save_epochs,
            "detector.runner.snapshots.max_snapshots": max_snapshots_to_keep,
        }
    given = {key: value for key, value in changes.items() if value is not None}
    loader.model_cfg = update(loader.model_cfg, given | dict(pytorch_cfg_updates or {}))
    if gpus := gpus_to_share(loader.model_cfg, device):
        return launch(call, processes=len(gpus))
    snapshot = snapshot_path or loader.model_cfg.get("resume_training_from")
    _complete_first_weights(loader)
    if keypoint_map is not None:
        _fine_tune(loader, _path(snapshot), keypoint_map, heads=load_head_weights, resume=resume)
        snapshot = None  # not a run to go on with: its weights are first weights
    starts = {
        Task.DETECT: Start(_path(detector_path), weights=weights, resume=resume),
        Task(loader.model_cfg.get("method") or "bu"): Start(_path(snapshot), load_head_weights, weights, resume),
    }
    return _train_all(loader, starts, Machine(device, amp, workers), options or {})


def _complete_first_weights(loader: DLCLoader) -> None:
    """Put the numbers of the project's conversion table where ``weight_init`` only names a SuperAnimal."""
    first, project = first_weights(loader.model_cfg), loader.project_config
    complete = by_conversion_table(first, loader.bodyparts, project.conversion_tables, where=str(project.path))
    if complete != first:
        loader.model_cfg = with_first_weights(loader.model_cfg, complete)


def _fine_tune(
    loader: DLCLoader, snapshot: Path | None, keypoint_map: KeypointMap | str | Path, *, heads: bool, resume: bool
) -> None:
    """Write into the configuration that training begins with another network's weights."""
    if snapshot is None:
        raise ConfigError("keypoint_map: says nothing without the network that it is for; give snapshot_path too.")
    earlier = first_weights(loader.model_cfg)
    weights = named_weights(snapshot.expanduser().absolute(), keypoint_map, loader.bodyparts, earlier, heads=heads)
    files = pose_stage(loader).files(loader.model_folder, loader.model_cfg["runner"].get("snapshot_prefix"))
    if resume and weights != earlier and (files.snapshots() or files.resume.exists()):
        raise TrainingError(
            f"{files.folder}: holds a training that began otherwise; train with resume=False (--fresh) to set it "
            "aside, or without keypoint_map to go on with it."
        )
    loader.model_cfg = with_first_weights(loader.model_cfg, weights)


def train(
    loader: Loader,
    start: Start,
    machine: Machine,
    options: Mapping[str, Any] | None = None,
    *,
    detector: bool = False,
) -> Path:
    """Train one network with a loader's images and configuration; see ``train_network``.

    Args:
        loader: The images, and the configuration that is written back to its file.
        start: What to begin with.
        machine: What to train on.
        options: By the names of ``TrainingOptions``.
        detector: Whether the detector is trained, and not the pose network.
    """
    if gpus := gpus_to_share(loader.model_cfg, machine.device):
        raise TrainingError(
            f"runner.gpus: {gpus} need a process each; start this script with torchrun --nproc-per-node {len(gpus)}, "
            "or call train_network, which starts them."
        )
    stage = detector_stage(loader) if detector else pose_stage(loader)
    with joined(_device(loader, machine)) as team:
        return run(stage, start, machine, options or {}, team)


def _train_all(loader: Loader, starts: Mapping[Task, Start], machine: Machine, options: Mapping[str, Any]) -> Path:
    """The detector, if there is one to train, and then the pose network."""
    pose, config = pose_stage(loader), loader.model_cfg
    stages = []
    if pose.task is Task.TOP_DOWN and config.get("detector") and config["detector"]["train_settings"]["epochs"] != 0:
        stages.append(detector_stage(loader))
    if config["train_settings"]["epochs"] != 0:
        stages.append(pose)
    if not stages:
        raise TrainingError(f"{loader.model_config_path}: epochs are 0, so there is nothing to train; give epochs.")
    with joined(_device(loader, machine)) as team:
        return [run(stage, starts[stage.task], machine, options, team) for stage in stages][-1]


def _device(loader: Loader, machine: Machine) -> Any:
    return choose_device(
        machine.device, loader.model_cfg, RunnerSection({}, gpus=loader.model_cfg["runner"].get("gpus"))
    )


def _path(snapshot: str | Path | None) -> Path | None:
    return Path(snapshot) if snapshot else None
