"""How good a network is on the test images while it trains: its losses, and its poses through the rig's analyzer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from rigpose.analyzer import Analyzer
from rigpose.progress import silent
from rigpose_training.data.batches import collate, on_device
from rigpose_training.data.dataset import PoseDataset
from rigpose_training.evaluation.evaluate import evaluate_model
from rigpose_training.objectives import Objective

PCUTOFF = 0.6  # DeepLabCut's while it trains, whatever the project says


@dataclass(frozen=True)
class Validation:
    """Test images and how to judge them.

    Attributes:
        dataset: The test images, prepared as for inference.
        objective: How a batch becomes a loss.
        analyzer: Over the network that trains.
        batch_size: Frames per call of the analyzer.
    """

    dataset: PoseDataset
    objective: Objective
    analyzer: Analyzer
    batch_size: int

    def __call__(self, model: nn.Module) -> tuple[dict[str, float], dict[str, float]]:
        """Mean loss terms and metrics by DeepLabCut's names; both empty without test images."""
        if not len(self.dataset):
            return {}, {}
        return self._losses(model), self._metrics()

    def _losses(self, model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        sums: dict[str, float] = {}
        model.eval()
        with torch.no_grad():
            for index in range(len(self.dataset)):
                batch = on_device(collate([self.dataset[index]]), device)
                terms = self.objective.terms(self.objective.forward(model, batch), batch)
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + float(value)
        return {name: total / len(self.dataset) for name, total in sums.items()}

    def _metrics(self) -> dict[str, float]:
        _, found = evaluate_model(
            self.analyzer, self.dataset.images, pcutoff=PCUTOFF, batch=self.batch_size, show=silent
        )
        return {
            "metrics/test.rmse": float(found.rmse),
            "metrics/test.rmse_pcutoff": float(found.rmse_pcutoff),
            "metrics/test.mAP": float(found.mAP),
            "metrics/test.mAR": float(found.mAR),
        }
