"""Everything that a training is at one moment, and the side file that brings it back exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from rigpose.errors import SnapshotError, TrainingError
from rigpose_training.engine.log import LOGGER
from rigpose_training.engine.snapshots import load_weights, write_whole
from rigpose_training.engine.team import Team


@dataclass
class TrainingState:
    """A training between two batches.

    Attributes:
        model: The network, where it trains.
        optimizer: Its optimiser.
        scheduler: Its learning rates, or none.
        scaler: Keeps half-precision gradients in range; switched off in other precisions.
        images_per_step: Images that all processes see in one step of the optimiser.
        averaged: The running mean of its weights, or none.
        options: The training options that are no part of the configuration, to be saved beside it.
        epoch: Epochs that are finished.
        batches: Batches of the next epoch that are finished.
        updates: Steps of the optimiser.
        loss_sums: Sum of each loss term over those batches.
        best_metric: Of the best snapshot so far, or none.
        tests_without_gain: Tests in a row that were not better.
        epochs: The epoch at which training is to end.
        started_from: The snapshot whose weights it began with, or nothing.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler | None
    scaler: torch.amp.GradScaler
    images_per_step: int = 1
    averaged: ModelEmaV3 | None = None
    options: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    batches: int = 0
    updates: int = 0
    loss_sums: dict[str, float] = field(default_factory=dict)
    best_metric: float | None = None
    tests_without_gain: int = 0
    epochs: int = 0
    started_from: str = ""

    @property
    def kept(self) -> nn.Module:
        """The network that is tested and saved: the averaged one where there is one."""
        return self.model if self.averaged is None else self.averaged.module

    @property
    def device(self) -> torch.device:
        """Where the network trains."""
        return next(self.model.parameters()).device

    def snapshot(self, *, metrics: dict[str, float], losses: dict[str, float]) -> dict[str, Any]:
        """The content of a DeepLabCut snapshot: plain numbers and tensors."""
        content: dict[str, Any] = {
            "metadata": {"epoch": self.epoch, "metrics": metrics, "losses": losses},
            "model": self.kept.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.scheduler is not None:
            content["scheduler"] = self.scheduler.state_dict()
        return content

    def save(self, path: Path, team: Team) -> None:
        """Write ``resume.pt``, from which ``restore`` goes on as if nothing had happened; the team's leader writes."""
        progress = {
            "epoch": self.epoch,
            "batches": self.batches,
            "updates": self.updates,
            "loss_sums": self.loss_sums,
            "best_metric": self.best_metric,
            "tests_without_gain": self.tests_without_gain,
            "epochs": self.epochs,
            "started_from": self.started_from,
            "images_per_step": self.images_per_step,
        }
        random = team.gather(self._random_numbers())
        if team.leads:
            content = self.snapshot(metrics={}, losses={}) | {"model": self.model.state_dict()}
            content |= {"progress": progress, "random": random, "scaler": self.scaler.state_dict()}
            content |= {"options": self.options}
            if self.averaged is not None:
                content["averaged"] = self.averaged.module.state_dict()
            write_whole(content, path)
        team.wait()

    def restore(self, content: dict[str, Any], team: Team, *, source: Path) -> None:
        """Go back to the moment that a ``resume.pt`` holds.

        Raises:
            SnapshotError: Its weights do not fit the configuration.
            TrainingError: Its optimiser or schedule does not fit the configuration.
        """
        load_weights(self.model, content["model"], source=source)
        if self.averaged is not None:
            load_weights(self.averaged.module, content.get("averaged", content["model"]), source=source)
        try:
            self.optimizer.load_state_dict(content["optimizer"])
            if self.scheduler is not None and "scheduler" in content:
                self.scheduler.load_state_dict(content["scheduler"])
        except (KeyError, ValueError) as error:
            raise TrainingError(
                f"{source}: its optimiser or schedule does not fit pytorch_config.yaml ({error}); restore those "
                "settings, or train with resume=False to begin anew."
            ) from error
        if content["scaler"]:
            self.scaler.load_state_dict(content["scaler"])
        if len(content["random"]) == team.size:
            self._set_random_numbers(content["random"][team.rank])
        else:
            LOGGER.info(
                "%d processes go on with what %d began, so random numbers start anew.",
                team.size,
                len(content["random"]),
            )
        self._restore_progress(dict(content["progress"]))

    def _restore_progress(self, progress: dict[str, Any]) -> None:
        images_per_step = progress.pop("images_per_step")
        if progress["batches"] and images_per_step != self.images_per_step:
            LOGGER.info(
                "A step has %d images now and had %d, so epoch %d, which was under way, starts again.",
                self.images_per_step,
                images_per_step,
                progress["epoch"] + 1,
            )
            progress |= {"batches": 0, "loss_sums": {}}
        for name, value in progress.items():
            setattr(self, name, value)

    def _random_numbers(self) -> dict[str, torch.Tensor]:
        """The state of torch's generators that this process draws from."""
        found = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            found["cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def _set_random_numbers(self, saved: dict[str, torch.Tensor]) -> None:
        torch.set_rng_state(saved["cpu"])
        if "cuda" in saved and self.device.type == "cuda":
            torch.cuda.set_rng_state(saved["cuda"], self.device)


def read_resume(path: Path) -> dict[str, Any] | None:
    """The content of a ``resume.pt``, or none if there is no such file.

    Raises:
        SnapshotError: The file is damaged.
    """
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise SnapshotError(
            f"{path}: is damaged; delete it and train again to go on from the newest snapshot."
        ) from error
