"""Everything that a training is at one moment, and the side file that brings it back exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from rigpose.errors import SnapshotError, TrainingError
from rigpose_training.engine.snapshots import load_weights, write_whole

RESUME_NAME = "resume.pt"


@dataclass
class TrainingState:
    """A training between two batches.

    Attributes:
        model: The network, where it trains.
        optimizer: Its optimiser.
        scheduler: Its learning rates, or none.
        scaler: Keeps half-precision gradients in range; switched off in other precisions.
        epoch: Epochs that are finished.
        batches: Batches of the next epoch that are finished.
        loss_sums: Sum of each loss term over those batches.
        best_metric: Of the best snapshot so far, or none.
        epochs: The epoch at which training is to end.
        started_from: The snapshot whose weights it began with, or nothing.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler | None
    scaler: torch.amp.GradScaler
    epoch: int = 0
    batches: int = 0
    loss_sums: dict[str, float] = field(default_factory=dict)
    best_metric: float | None = None
    epochs: int = 0
    started_from: str = ""

    def snapshot(self, *, metrics: dict[str, float], losses: dict[str, float]) -> dict[str, Any]:
        """The content of a DeepLabCut snapshot: plain numbers and tensors."""
        content: dict[str, Any] = {
            "metadata": {"epoch": self.epoch, "metrics": metrics, "losses": losses},
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.scheduler is not None:
            content["scheduler"] = self.scheduler.state_dict()
        return content

    def save(self, folder: Path) -> None:
        """Write ``resume.pt``, from which ``restore`` goes on as if nothing had happened."""
        progress = {
            "epoch": self.epoch,
            "batches": self.batches,
            "loss_sums": self.loss_sums,
            "best_metric": self.best_metric,
            "epochs": self.epochs,
            "started_from": self.started_from,
        }
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        random = {"torch": torch.get_rng_state(), "cuda": cuda}
        content = self.snapshot(metrics={}, losses={})
        content |= {"progress": progress, "random": random, "scaler": self.scaler.state_dict()}
        write_whole(content, folder / RESUME_NAME)

    def restore(self, content: dict[str, Any], *, source: Path) -> None:
        """Go back to the moment that a ``resume.pt`` holds.

        Raises:
            SnapshotError: Its weights do not fit the configuration.
            TrainingError: Its optimiser or schedule does not fit the configuration.
        """
        load_weights(self.model, content["model"], source=source)
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
        torch.set_rng_state(content["random"]["torch"])
        if len(content["random"]["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(content["random"]["cuda"])
        for name, value in content["progress"].items():
            setattr(self, name, value)


def read_resume(folder: Path) -> dict[str, Any] | None:
    """The content of a folder's ``resume.pt``, or none if there is no such file.

    Raises:
        SnapshotError: The file is damaged.
    """
    path = folder / RESUME_NAME
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise SnapshotError(
            f"{path}: is damaged; delete it and train again to go on from the newest snapshot."
        ) from error
