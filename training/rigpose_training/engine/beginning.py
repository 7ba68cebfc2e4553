"""Where a training begins: at an interruption, at a snapshot, or at first weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from rigpose.errors import TrainingError
from rigpose_training.engine.log import CSV_NAME, LOGGER
from rigpose_training.engine.runner_config import RunnerSection
from rigpose_training.engine.snapshots import load_backbone, load_weights, read_snapshot
from rigpose_training.engine.state import RESUME_NAME, TrainingState, read_resume
from rigpose_training.models import PoseModel
from rigpose_training.models.weights import initialise
from rigpose_training.project.shuffle import list_snapshots


@dataclass(frozen=True)
class Start:
    """What the user wants to begin with.

    Attributes:
        snapshot: Weights to begin with, or none.
        load_head_weights: Whether the heads begin with that snapshot too.
        weights: Without a snapshot: ImageNet's or random ones for the backbone.
        resume: Whether an earlier run in the same folder goes on.
    """

    snapshot: Path | None = None
    load_head_weights: bool = True
    weights: Literal["imagenet", "random"] = "imagenet"
    resume: bool = True


def begin(state: TrainingState, start: Start, folder: Path, runner: RunnerSection, epochs: int) -> int:
    """Bring ``state`` to where training begins, and return the epoch at which it ends.

    ``epochs`` is that end, except after ``start.snapshot``: there they are added, as in DeepLabCut.
    """
    saved = read_resume(folder)
    if saved is not None and _goes_on(saved["progress"], start):
        state.restore(saved, source=folder / RESUME_NAME)
        LOGGER.info("Going on after epoch %d, as if nothing had happened.", state.epoch)
        return state.epochs if start.snapshot else epochs
    if start.snapshot is not None:
        _load(state, start.snapshot, runner, heads=start.load_head_weights)
        state.started_from = str(start.snapshot)
        LOGGER.info("Starting from %s, trained for %d epochs.", start.snapshot, state.epoch)
        return state.epoch + epochs
    earlier = list_snapshots(folder, prefix=runner.snapshot_prefix or "snapshot")
    if earlier:
        newest = max(earlier, key=lambda snapshot: snapshot.epoch)
        _load(state, newest.path, runner, heads=True)
        LOGGER.info(
            "Going on from %s: there is no %s, so random numbers (and the optimiser, unless the snapshot has it) "
            "start anew; train with resume=False to begin from first weights.",
            newest.path.name,
            RESUME_NAME,
        )
        return epochs
    LOGGER.info(initialise(cast(PoseModel, state.model), weights=start.weights))
    return epochs


def set_aside(folder: Path, *, prefix: str) -> None:
    """Move the files of an earlier run to a folder ``previous-N``, so that a new one does not mix with them."""
    files = [snapshot.path for snapshot in list_snapshots(folder, prefix=prefix)]
    files += [path for name in (RESUME_NAME, CSV_NAME) if (path := folder / name).exists()]
    if not files:
        return
    number = 1
    while (folder / f"previous-{number}").exists():
        number += 1
    (folder / f"previous-{number}").mkdir()
    for path in files:
        path.replace(folder / f"previous-{number}" / path.name)


def _goes_on(progress: Mapping[str, Any], start: Start) -> bool:
    """Whether the saved run is the one that the user wants.

    With a snapshot, a run that was finished is not: the same command trains for as many epochs again.
    """
    if start.snapshot is None:
        return True
    unfinished = progress["epoch"] < progress["epochs"]
    return unfinished and progress["started_from"] == str(start.snapshot)


def _load(state: TrainingState, path: Path, runner: RunnerSection, *, heads: bool) -> None:
    content = read_snapshot(path)
    load = load_weights if heads else load_backbone
    load(state.model, content["model"], source=path)
    state.epoch = int(content["metadata"].get("epoch") or 0)
    if heads and "optimizer" in content:
        try:
            state.optimizer.load_state_dict(content["optimizer"])
        except (KeyError, ValueError) as error:
            raise TrainingError(
                f"{path}: its optimiser state does not fit runner.optimizer ({error}); restore that section, or give "
                "a snapshot without an optimiser state."
            ) from error
    _set_schedule(state, content.get("scheduler") if runner.load_scheduler_state_dict else None)


def _set_schedule(state: TrainingState, saved: Mapping[str, Any] | None) -> None:
    """Put the learning rates where they are after ``state.epoch`` epochs."""
    if state.scheduler is None:
        return
    if saved is not None:
        state.scheduler.load_state_dict(dict(saved))
        for group, rate in zip(state.optimizer.param_groups, state.scheduler.get_last_lr(), strict=True):
            group["lr"] = rate
        return
    with warnings.catch_warnings():
        # torch warns that the optimiser has made no step yet; it made them in the run that is continued.
        warnings.simplefilter("ignore", UserWarning)
        for _ in range(state.epoch):
            state.scheduler.step()
