"""Where a training begins: at an interruption, at a snapshot, or at first weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch.optim.lr_scheduler import ReduceLROnPlateau

from rigpose.errors import TrainingError
from rigpose_training.engine.files import RunFiles
from rigpose_training.engine.fine_tuning import source_names
from rigpose_training.engine.log import LOGGER
from rigpose_training.engine.snapshots import load_backbone, load_weights, read_snapshot
from rigpose_training.engine.state import TrainingState
from rigpose_training.engine.team import Team


@dataclass(frozen=True)
class Start:
    """What the user wants to begin with.

    Attributes:
        snapshot: A run to go on with, or none.
        load_head_weights: Whether the heads begin with that snapshot too.
        weights: Without a snapshot, here or in ``weight_init``: ImageNet's or random ones for the backbone.
        resume: Whether an earlier run in the same folder goes on.
    """

    snapshot: Path | None = None
    load_head_weights: bool = True
    weights: Literal["imagenet", "random"] = "imagenet"
    resume: bool = True


@dataclass(frozen=True)
class Beginning:
    """What training can begin with.

    Attributes:
        start: What the user wants.
        saved: The content of ``resume.pt``, if the run that it holds is to go on.
        files: Where everything lies.
        schedule_too: Whether the learning rates go on with a snapshot too, where it holds them.
        initialise: Gives the network its first weights, and says in a sentence which.
        bodyparts: What the outputs of a pose network are called.
    """

    start: Start
    saved: Mapping[str, Any] | None
    files: RunFiles
    schedule_too: bool
    initialise: Callable[[], str]
    bodyparts: tuple[str, ...] = ()


def begin(state: TrainingState, beginning: Beginning, team: Team, epochs: int) -> int:
    """Bring ``state`` to where training begins, and return the epoch at which it ends.

    ``epochs`` is that end, except after ``start.snapshot``: there they are added, as in DeepLabCut.
    """
    start = beginning.start
    if beginning.saved is not None:
        state.restore(dict(beginning.saved), team, source=beginning.files.resume)
        LOGGER.info("Going on after epoch %d, as if nothing had happened.", state.epoch)
        return state.epochs if start.snapshot else epochs
    end = epochs
    if start.snapshot is not None:
        _load(state, start.snapshot, beginning, heads=start.load_head_weights)
        state.started_from = str(start.snapshot)
        LOGGER.info("Starting from %s, trained for %d epochs.", start.snapshot, state.epoch)
        _compare_names(start.snapshot, beginning.bodyparts)
        end = state.epoch + epochs
    elif earlier := beginning.files.snapshots():
        newest = max(earlier, key=lambda snapshot: snapshot.epoch)
        _load(state, newest.path, beginning, heads=True)
        LOGGER.info(
            "Going on from %s: there is no %s, so random numbers (and the optimiser, unless the snapshot has it) "
            "start anew; train with resume=False to begin from first weights.",
            newest.path.name,
            beginning.files.resume.name,
        )
    else:
        LOGGER.info(beginning.initialise())
    if state.averaged is not None:
        state.averaged.set(state.model)
    return end


def goes_on(saved: Mapping[str, Any] | None, start: Start) -> bool:
    """Whether the run that a ``resume.pt`` holds is the one that the user wants.

    With a snapshot, a run that was finished is not: the same command trains for as many epochs again.
    """
    if saved is None or start.snapshot is None:
        return saved is not None
    progress = saved["progress"]
    unfinished = progress["epoch"] < progress["epochs"]
    return unfinished and progress["started_from"] == str(start.snapshot)


def _load(state: TrainingState, path: Path, beginning: Beginning, *, heads: bool) -> None:
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
    _set_schedule(state, content.get("scheduler") if beginning.schedule_too else None)


def _compare_names(snapshot: Path, bodyparts: tuple[str, ...]) -> None:
    names = source_names(snapshot).bodyparts
    if bodyparts and names and names != bodyparts:
        LOGGER.warning(
            "%s was trained for %s, and its outputs go on as %s, in this order; give keypoint_map (--keypoint-map) to "
            "begin by name.",
            snapshot,
            ", ".join(names),
            ", ".join(bodyparts),
        )


def _set_schedule(state: TrainingState, saved: Mapping[str, Any] | None) -> None:
    """Put the learning rates where they are after ``state.epoch`` epochs."""
    if state.scheduler is None:
        return
    if saved is not None:
        state.scheduler.load_state_dict(dict(saved))
        for group, rate in zip(state.optimizer.param_groups, state.scheduler.get_last_lr(), strict=True):
            group["lr"] = rate
        return
    if isinstance(state.scheduler, ReduceLROnPlateau):
        return  # what it would have measured is not known
    with warnings.catch_warnings():
        # torch warns that the optimiser has made no step yet; it made them in the run that is continued.
        warnings.simplefilter("ignore", UserWarning)
        for _ in range(state.epoch):
            state.scheduler.step()
