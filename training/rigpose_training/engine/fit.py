"""The training loop: epochs, batches, validation, snapshots."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from rigpose.errors import TrainingError
from rigpose.progress import Advance, progress
from rigpose_training.data.batches import TrainingBatches, on_device
from rigpose_training.engine.log import LOGGER, LearningStats
from rigpose_training.engine.snapshots import SnapshotKeeper
from rigpose_training.engine.state import TrainingState
from rigpose_training.objectives import Objective

Amp: TypeAlias = Literal["auto", "bf16", "fp16", "off"]
Validate: TypeAlias = Callable[[nn.Module], tuple[dict[str, float], dict[str, float]]]
"""Called after an epoch with the model; returns mean loss terms and metrics by DeepLabCut's names."""


@dataclass(frozen=True)
class FitPlan:
    """How to train.

    Attributes:
        folder: Where snapshots, ``resume.pt`` and the logs go.
        epochs: The epoch at which training ends.
        eval_interval: Epochs between validations.
        save_epochs: Epochs between regular snapshots.
        display_iters: Batches between two lines of the log within an epoch.
        autocast: Half precision of the forward pass, or none for float32.
        freeze_bn_stats: Whether the backbone's batch normalisation keeps its running statistics.
    """

    folder: Path
    epochs: int
    eval_interval: int
    save_epochs: int
    display_iters: int
    autocast: torch.dtype | None
    freeze_bn_stats: bool


@dataclass(frozen=True)
class Lesson:
    """What is learnt.

    Attributes:
        batches: The training data.
        objective: How a batch becomes a loss.
        validate: Losses and metrics on the test images.
    """

    batches: TrainingBatches
    objective: Objective
    validate: Validate


def fit(state: TrainingState, lesson: Lesson, plan: FitPlan, keeper: SnapshotKeeper) -> None:
    """Train from ``state.epoch`` to ``plan.epochs``.

    Ctrl-C finishes the batch, saves ``resume.pt`` and raises ``KeyboardInterrupt``; a second one does not wait.

    Raises:
        TrainingError: The loss is no number any more.
        KeyboardInterrupt: The user stopped it; the state is saved.
    """
    stats = LearningStats(plan.folder / "learning_stats.csv", until_epoch=state.epoch)
    images = (plan.epochs - state.epoch) * len(lesson.batches.dataset)
    state.epochs = plan.epochs
    with progress("training", images, "images") as advance, _asked_to_stop() as stop:
        pace = _Pace(advance, stop)
        for epoch in range(state.epoch + 1, plan.epochs + 1):
            losses = _train_epoch(state, lesson, plan, pace)
            if state.scheduler is not None:
                state.scheduler.step()
            metrics: dict[str, float] = {}
            if epoch % plan.eval_interval == 0:
                state.model.eval()
                eval_losses, metrics = lesson.validate(state.model)
                losses |= {f"eval.{name}": value for name, value in eval_losses.items()}
            state.epoch, state.batches, state.loss_sums = epoch, 0, {}
            _log_epoch(state, losses, metrics)
            stats.add(epoch, {f"losses/{name}": value for name, value in losses.items()} | metrics)
            last = epoch == plan.epochs
            keeper.keep(state.snapshot(metrics=metrics, losses=losses), last=last)
            state.best_metric = keeper.best_metric
            if last or epoch % plan.save_epochs == 0:
                state.save(plan.folder)
            if stop.is_set() and not last:
                _stop(state, plan)


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
    epoch = state.epoch + 1
    training_mode(state.model, freeze_bn_stats=plan.freeze_bn_stats)
    watch = _LossWatch(epoch, state.loss_sums)
    for batch in lesson.batches.epoch(epoch, skip=state.batches):
        terms = _step(state, lesson.objective, batch, autocast=plan.autocast)
        watch.add(terms, batch["path"])
        state.batches += 1
        pace.report(len(batch["path"]), watch.looked_at())
        if state.batches % plan.display_iters == 0:
            rate = state.optimizer.param_groups[0]["lr"]
            LOGGER.info("Number of iterations: %d, loss: %.5f, lr: %g", state.batches, watch.newest(), rate)
        if pace.stop.is_set() and state.batches < len(lesson.batches):
            state.loss_sums = watch.sums()
            _stop(state, plan)
    return {f"train.{name}": total / max(1, state.batches) for name, total in watch.sums().items()}


def _step(
    state: TrainingState,
    objective: Objective,
    batch: Mapping[str, Any],
    *,
    autocast: torch.dtype | None,
) -> dict[str, torch.Tensor]:
    """One step of the optimiser; return the loss terms, still on the device."""
    device = next(state.model.parameters()).device
    batch = on_device(batch, device)
    state.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
        outputs = objective.forward(state.model, batch)
    terms = objective.terms(outputs, batch)
    state.scaler.scale(terms["total_loss"]).backward()
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return {name: term.detach() for name, term in terms.items()}


def training_mode(model: nn.Module, *, freeze_bn_stats: bool) -> None:
    """Training mode, except that frozen batch normalisation of the backbone goes on using its running statistics."""
    model.train()
    if freeze_bn_stats:
        for module in model.get_submodule("backbone").modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def freeze_bn_weights(model: nn.Module) -> None:
    """Keep the scale and shift of the backbone's batch normalisation as they are."""
    for module in model.get_submodule("backbone").modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            module.weight.requires_grad = False
            module.bias.requires_grad = False


def choose_precision(amp: Amp, device: torch.device) -> torch.dtype | None:
    """Half precision of the forward pass, or none for float32.

    ``auto`` is half precision on a CUDA device (bfloat16 where it has it) and float32 elsewhere.

    Raises:
        TrainingError: ``fp16`` without a CUDA device.
    """
    if amp == "fp16" and device.type != "cuda":
        raise TrainingError(f"amp fp16: needs a CUDA device and this is {device}; give amp bf16, auto or off.")
    if amp == "auto":
        if device.type != "cuda":
            return None
        amp = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "off": None}[amp]


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
    state.save(plan.folder)
    LOGGER.info(
        "Stopped in epoch %d of %d; everything is saved, and the same command goes on from here.",
        state.epoch + 1,
        plan.epochs,
    )
    raise KeyboardInterrupt


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that no batch is cut in half; a second Ctrl-C raises at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread only
        return

    def ask(_signal: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
