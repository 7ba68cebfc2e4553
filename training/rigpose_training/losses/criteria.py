"""Every criterion: one output map and its target -> one number.

All of them work in float32 whatever the precision of the output: half precision overflows when a map is summed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch.nn import functional

from rigpose_training.targets import Target

_DIFFERENCES = {
    "WeightedMSECriterion": functional.mse_loss,
    "WeightedHuberCriterion": functional.huber_loss,
    "WeightedBCECriterion": functional.binary_cross_entropy_with_logits,
}


class Criterion(Protocol):
    """The parameters of one ``criterion`` entry, called with an output and its target."""

    def __call__(self, output: torch.Tensor, target: Target) -> torch.Tensor:
        """The loss, a scalar."""
        ...


@dataclass(frozen=True)
class WeightedCriterion:
    """Squared, Huber (delta 1) or binary cross-entropy (of logits) difference, averaged over the cells that count."""

    type: Literal["WeightedMSECriterion", "WeightedHuberCriterion", "WeightedBCECriterion"]

    def __call__(self, output: torch.Tensor, target: Target) -> torch.Tensor:
        """See ``_weighted_mean``."""
        return _weighted_mean(_DIFFERENCES[self.type](output.float(), target.values, reduction="none"), target.weights)


@dataclass(frozen=True)
class DEKRHeatmapCriterion:
    """Weighted squared difference over all cells, whatever their weight (Geng et al. 2021)."""

    type: Literal["DEKRHeatmapLoss"]

    def __call__(self, output: torch.Tensor, target: Target) -> torch.Tensor:
        """(B, C, h, w) -> scalar."""
        return functional.mse_loss(output.float(), target.values, reduction="none").mul_(target.weights).mean()


@dataclass(frozen=True)
class DEKROffsetCriterion:
    """Weighted smooth L1 difference, averaged over the cells that count (Geng et al. 2021).

    Attributes:
        type: The criterion's name.
        beta: Difference at which the square turns into a line [cells].
    """

    type: Literal["DEKROffsetLoss"]
    beta: float = 1 / 9

    def __call__(self, output: torch.Tensor, target: Target) -> torch.Tensor:
        """See ``_weighted_mean``."""
        each = functional.smooth_l1_loss(output.float(), target.values, reduction="none", beta=self.beta)
        return _weighted_mean(each, target.weights)


@dataclass(frozen=True)
class KLDiscreteCriterion:
    """Kullback-Leibler divergence between label and prediction over the bins of one axis (Li et al. 2022).

    Attributes:
        type: The criterion's name.
        beta: Factor on the logits before their softmax.
        label_softmax: Whether the labels go through a softmax too.
        label_beta: Factor on the labels before theirs.
        use_target_weight: Whether keypoints without a label are left out.
        mask: Keypoint numbers that count ``mask_weight``.
        mask_weight: See ``mask``.
    """

    type: Literal["KLDiscreteLoss"]
    beta: float = 1.0
    label_softmax: bool = False
    label_beta: float = 10.0
    use_target_weight: bool = True
    mask: tuple[int, ...] | None = None
    mask_weight: float = 1.0

    def __call__(self, output: torch.Tensor, target: Target) -> torch.Tensor:
        """(B, K, bins) -> scalar: per keypoint the mean over the bins, then the sum over the images / K."""
        predicted = functional.log_softmax(output.float() * self.beta, dim=-1)
        labels = functional.softmax(target.values * self.label_beta, dim=-1) if self.label_softmax else target.values
        each = functional.kl_div(predicted, labels, reduction="none").mean(dim=-1)  # (B, K)
        if self.use_target_weight:
            each = each * target.weights[..., 0]
        if self.mask is not None:
            factors = torch.ones(each.shape[1], device=each.device)
            factors[list(self.mask)] = self.mask_weight
            each = each * factors
        # Not divided by the batch, as in DeepLabCut, whose learning rates are tuned to it: the loss, and so the step
        # of plain SGD, grows with the batch size.
        return each.sum() / each.shape[1]


CRITERIA: dict[str, type[Any]] = {
    "WeightedMSECriterion": WeightedCriterion,
    "WeightedHuberCriterion": WeightedCriterion,
    "WeightedBCECriterion": WeightedCriterion,
    "DEKRHeatmapLoss": DEKRHeatmapCriterion,
    "DEKROffsetLoss": DEKROffsetCriterion,
    "KLDiscreteLoss": KLDiscreteCriterion,
}


def _weighted_mean(each: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted sum over the number of cells whose weight is not zero (at least one).

    ``each`` is fresh and no gradient needs its values, so it is weighed in place: full-resolution maps are large.
    """
    cells = torch.count_nonzero(weights) * (each.numel() // max(1, weights.numel()))
    return each.mul_(weights).sum() / cells.clamp(min=1)
