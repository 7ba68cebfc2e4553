"""What each keypoint candidate looks like: the identity head's maps, read where the candidates are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class IdentityPredictor:
    """``predictor`` of a ``type: IdentityPredictor``, with DeepLabCut's default.

    Attributes:
        apply_sigmoid: Whether the maps are logits.
    """

    type: str
    apply_sigmoid: bool = True


class IdentityReader(nn.Module):
    """DeepLabCut's identity scores without its full-resolution maps.

    It enlarges the maps to the input's size and reads the pixel nearest to each keypoint; a bilinear sample of the
    small maps at that pixel's centre is the same number.
    """

    def __init__(self, config: IdentityPredictor, stride: float) -> None:
        super().__init__()
        self.config = config
        self.stride = stride

    def forward(self, maps: Mapping[str, torch.Tensor], places: torch.Tensor) -> dict[str, torch.Tensor]:
        """Read a batch.

        Args:
            maps: ``heatmap`` (B, I, h, w), one per individual.
            places: (B, K, P, 2) x, y [input px] of keypoint candidates; NaN where there is none.

        Returns:
            ``identity`` (B, K, P, I): how much each candidate looks like each individual [0, 1], 0 where there is none.
        """
        heatmap = maps["heatmap"].float()
        batch, individuals, height, width = heatmap.shape
        keypoints, count = places.shape[1:3]
        found = places == places  # not NaN
        # DeepLabCut reads whole pixels, and numpy and torch both round halves to even.
        at = (torch.where(found, places, 0.0).round() + 0.5) / self.stride - 0.5
        x, y = at[..., 0].clamp(0, width - 1), at[..., 1].clamp(0, height - 1)
        left, top = x.floor(), y.floor()
        right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
        flat = heatmap.flatten(2)

        def read(column: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
            index = (row * width + column).long().reshape(batch, 1, -1).expand(-1, individuals, -1)
            return flat.gather(2, index).reshape(batch, individuals, keypoints, count)

        across, down = (x - left).unsqueeze(1), (y - top).unsqueeze(1)
        upper = read(left, top) * (1 - across) + read(right, top) * across
        lower = read(left, bottom) * (1 - across) + read(right, bottom) * across
        value = upper * (1 - down) + lower * down
        if self.config.apply_sigmoid:
            value = torch.sigmoid(value)
        return {"identity": torch.where(found.all(dim=3).unsqueeze(1), value, 0.0).permute(0, 2, 3, 1)}


def candidate_places(candidates: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(B, K, P, 2) x, y [input px] of the keypoint candidates of any family."""
    if "peaks" in candidates:
        return candidates["peaks"][..., :2]
    if "poses" in candidates:
        return candidates["poses"][..., :2].transpose(1, 2)
    return candidates["keypoints"][..., :2].unsqueeze(2)
