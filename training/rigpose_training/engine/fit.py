"""The training loop: epochs, batches, validation, snapshots."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from rigpose.errors import TrainingError
from rigpose.progress import Advance, progress, silent
from rigpose_training.data.batches import TrainingBatches
from rigpose_training.engine.files import RunFiles
from rigpose_training.engine.journal import Journal
from rigpose_training.engine.log import LOGGER
from rigpose_training.engine.schedule import step_schedule
from rigpose_training.engine.snapshots import SnapshotKeeper
from rigpose_training.engine.state import TrainingState
from rigpose_training.engine.step import Step, training_mode
from rigpose_training.engine.team import Team
from rigpose_training.engine.validate import Validate


@dataclass(frozen=True)
class FitPlan:
    """When what happens.

    Attributes:
        files: Where snapshots, ``resume.pt`` and the logs go.
        epochs: The epoch at which training ends.
        eval_interval: Epochs between validations.
        save_epochs: Epochs between regular snapshots.
        display_iters: Batches between two lines of the log within an epoch.
        patience: Tests in a row without gain after which training ends; 0 is no end.
        team: The processes that train together.
    """

    files: RunFiles
    epochs: int
    eval_interval: int
    save_epochs: int
    display_iters: int
    patience: int
    team: Team

    def over(self, state: TrainingState) -> bool:
        """Whether a state needs no more training."""
        return state.epoch >= self.epochs or 0 < self.patience <= state.tests_without_gain


@dataclass(frozen=True)
class Lesson:
    """What is learnt.

    Attributes:
        batches: The training data.
        step: What is done with a batch.
        validate: Losses and metrics on the test images.
    """

    batches: TrainingBatches
    step: Step
    validate: Validate


def fit(state: TrainingState, lesson: Lesson, plan: FitPlan, keeper: SnapshotKeeper, journal: Journal) -> None:
    """Train from ``state.epoch`` to ``plan.epochs``, or until patience ends.

    Ctrl-C finishes the batch, saves ``resume.pt`` and raises ``KeyboardInterrupt``; a second one does not wait.

    Raises:
        TrainingError: The loss is no number any more.
        KeyboardInterrupt: The user stopped it; the state is saved.
    """
    team = plan.team
    images = (plan.epochs - state.epoch) * len(lesson.batches.dataset)
    state.epochs = plan.epochs
    show = progress if team.leads else silent
    with show("training", images, "images") as advance, _asked_to_stop(team) as stop:
        pace = _Pace(advance, stop)
        while not plan.over(state):
            losses = _train_epoch(state, lesson, plan, pace)
            epoch = state.epoch + 1
            tested = epoch % plan.eval_interval == 0
            metrics: dict[str, float] = {}
            if tested:
                eval_losses, metrics = team.from_leader(lambda: lesson.validate(state.kept))
                losses |= {f"eval.{name}": value for name, value in eval_losses.items()}
            step_schedule(state.scheduler, keeper.key_metric(metrics))
            _end_epoch(state, gain=keeper.improves(metrics), measured=not math.isnan(keeper.key_metric(metrics)))
            _log_epoch(state, losses, metrics)
            values = {f"losses/{name}": value for name, value in losses.items()} | metrics
            journal.add(epoch, values, tested=tested)
            last = plan.over(state)
            keeper.keep(state.snapshot(metrics=metrics, losses=losses), last=last)
            state.best_metric = keeper.best_metric
            if last or epoch % plan.save_epochs == 0:
                state.save(plan.files.resume, team)
            if not last and team.any(stop.is_set()):
                _stop(state, plan)
    if state.epoch < plan.epochs:
        LOGGER.info("Stopped early after epoch %d: %d tests brought no gain.", state.epoch, state.tests_without_gain)


class _Pace:
    """What training tells the outside, and hears from it."""

    def __init__(self, advance: Advance, stop: threading.Event) -> None:
        self._advance = advance
        self.stop = stop
        self._loss: float | None = None

    def report(self, images: int, loss: float | None) -> None:
        """Show that so many more images are through, beside a running mean of the loss."""
        if loss is not None:
            self._loss = loss if self._loss is None else 0.95 * self._loss + 0.05 * loss
        self._advance(images, note="" if self._loss is None else f"loss {self._loss:.5f}")


def _train_epoch(state: TrainingState, lesson: Lesson, plan: FitPlan, pace: _Pace) -> dict[str, float]:
    """One epoch, or the rest of one that was interrupted; return the mean of every loss term."""
    epoch, team, of = state.epoch + 1, plan.team, len(lesson.batches)
    training_mode(state.model)
    watch = _LossWatch(epoch, state.loss_sums)
    for batch in lesson.batches.epoch(epoch, skip=state.batches):
        terms = lesson.step(batch, of=of)
        watch.add(terms, batch["path"])
        state.batches += 1
        pace.report(len(batch["path"]) * team.size, watch.looked_at())
        if state.batches % plan.display_iters == 0:
            rate = state.optimizer.param_groups[0]["lr"]
            LOGGER.info("Number of iterations: %d, loss: %.5f, lr: %g", state.batches, watch.newest(), rate)
        if lesson.step.closes(of) and state.batches < of and team.any(pace.stop.is_set()):
            state.loss_sums = team.mean(watch.sums())
            _stop(state, plan)
    return {f"train.{name}": total / max(1, state.batches) for name, total in team.mean(watch.sums()).items()}


def _end_epoch(state: TrainingState, *, gain: bool, measured: bool) -> None:
    state.epoch, state.batches, state.loss_sums = state.epoch + 1, 0, {}
    if measured:
        state.tests_without_gain = 0 if gain else state.tests_without_gain + 1


class _LossWatch:
    """Sums loss terms and stops when one is no number.

    Each batch is looked at when the next one is under way: by then a GPU has it ready, and training never waits.
    """

    def __init__(self, epoch: int, sums: Mapping[str, float]) -> None:
        self._epoch = epoch
        self._sums = dict(sums)
        self._waiting: tuple[dict[str, torch.Tensor], list[str]] | None = None
        self._looked_at: float | None = None

    def add(self, terms: dict[str, torch.Tensor], paths: list[str]) -> None:
        """Take in a batch."""
        self._look()
        self._waiting = (terms, paths)

    def sums(self) -> dict[str, float]:
        """The sum of each term over all batches so far."""
        self._look()
        return dict(self._sums)

    def looked_at(self) -> float | None:
        """The total loss of the last batch but one, which costs no waiting; none before the second batch."""
        return self._looked_at

    def newest(self) -> float:
        """The total loss of the last batch."""
        return float(self._waiting[0]["total_loss"]) if self._waiting else math.nan

    def _look(self) -> None:
        if self._waiting is None:
            return
        (terms, paths), self._waiting = self._waiting, None
        values = dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))
        if not math.isfinite(values["total_loss"]):
            raise TrainingError(
                f"The loss became {values['total_loss']} in epoch {self._epoch} on {_listed(paths)}; lower the "
                "learning rate (runner.optimizer.params.lr), train with amp off, or look at those labels; the last "
                "snapshot is from before."
            )
        self._looked_at = values["total_loss"]
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value


def _listed(paths: list[str]) -> str:
    rest = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + rest


def _log_epoch(state: TrainingState, losses: Mapping[str, float], metrics: Mapping[str, float]) -> None:
    line = f"Epoch {state.epoch}/{state.epochs} (lr={state.optimizer.param_groups[0]['lr']:g})"
    line += f", train loss {losses['train.total_loss']:.5f}"
    if "eval.total_loss" in losses:
        line += f", valid loss {losses['eval.total_loss']:.5f}"
    LOGGER.info(line)
    for name, value in metrics.items():
        LOGGER.info("  %-28s %8.2f", f"{name}:", value)


def _stop(state: TrainingState, plan: FitPlan) -> None:
    state.save(plan.files.resume, plan.team)
    LOGGER.info(
        "Stopped in epoch %d of %d; everything is saved, and the same command goes on from here.",
        state.epoch + 1,
        plan.epochs,
    )
    raise KeyboardInterrupt


@contextmanager
def _asked_to_stop(team: Team) -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that no batch is cut in half.

    A second Ctrl-C raises at once, but not in a team: there one Ctrl-C comes twice, from the terminal and from the
    launcher.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread only
        return

    def ask(_signal: int, _frame: object) -> None:
        if stop.is_set() and team.size == 1:
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
