"""What a network is trained for. The training loop knows this protocol and nothing of poses or boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from torch import nn

from rigpose_training.losses import HeadObjective, loss_terms
from rigpose_training.models.detectors import Detector


class Objective(Protocol):
    """How a batch becomes a loss, in two steps: the first may run in half precision, the second never does."""

    def forward(self, network: nn.Module, batch: Mapping[str, Any]) -> Any:
        """Run the network on a batch that lies on its device."""
        ...

    def terms(self, outputs: Any, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Loss terms by DeepLabCut's names, each a scalar; ``total_loss`` is the one to follow downhill."""
        ...


class PoseObjective:
    """Every head's targets and criteria, for images whose keypoints are labelled."""

    def __init__(self, heads: Mapping[str, HeadObjective]) -> None:
        self.heads = heads

    def forward(self, network: nn.Module, batch: Mapping[str, Any]) -> dict[str, dict[str, torch.Tensor]]:
        """The maps of every head; a conditional network is told the rough poses that it starts from."""
        if "conditions" in batch:
            return network(batch["image"], batch["conditions"])
        return network(batch["image"])

    def terms(
        self, outputs: Mapping[str, Mapping[str, torch.Tensor]], batch: Mapping[str, Any]
    ) -> dict[str, torch.Tensor]:
        """See ``loss_terms``."""
        return loss_terms(self.heads, outputs, batch["annotations"])


class DetectorObjective:
    """The detector's own losses, for images whose animals have boxes."""

    def forward(self, network: nn.Module, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The losses by torchvision's names; they come with the forward pass and exist in training mode only."""
        return cast(Detector, network).losses(batch["image"], batch["annotations"])

    def terms(self, outputs: Mapping[str, torch.Tensor], batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:  # noqa: ARG002
        """Those losses and their sum."""
        losses = {name: loss.float() for name, loss in outputs.items()}
        return losses | {"total_loss": torch.stack(list(losses.values())).sum()}
