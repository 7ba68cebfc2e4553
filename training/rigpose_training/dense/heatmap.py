"""One place per keypoint: the best heatmap cell, moved by the offset predicted there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class HeatmapPredictor:
    """``predictor`` of a ``type: HeatmapPredictor``, with DeepLabCut's defaults.

    Attributes:
        apply_sigmoid: Whether the heatmaps are logits.
        clip_scores: Whether scores are limited to 0..1.
        location_refinement: Whether ``locref`` offsets are added.
        locref_std: Input px per unit of ``locref``.
    """

    type: str
    apply_sigmoid: bool = True
    clip_scores: bool = False
    location_refinement: bool = True
    locref_std: float = 7.2801


class HeatmapDecoder(nn.Module):
    """DeepLabCut's single-animal decoding: argmax, cell centre, plus the offset at that cell.

    The first of equal maxima in row order wins. There is no threshold.
    """

    def __init__(self, config: HeatmapPredictor, stride: float) -> None:
        super().__init__()
        self.config = config
        self.stride = stride

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Decode a batch.

        Args:
            maps: ``heatmap`` (B, K, h, w) and, with location refinement, ``locref`` (B, 2K, h, w), x then y of
                each keypoint.

        Returns:
            ``keypoints`` (B, K, 3): x, y [input px], score; float32 whatever the maps' precision.
        """
        heatmap = maps["heatmap"].float()
        if self.config.apply_sigmoid:
            # Before the maximum, as in DeepLabCut: saturated cells are equal, and then the first one wins.
            heatmap = torch.sigmoid(heatmap)
        batch, keypoints, height, width = heatmap.shape
        flat = heatmap.reshape(batch, keypoints, height * width)
        best = flat.argmax(dim=2, keepdim=True)  # (B, K, 1)
        score = flat.gather(2, best)
        row = torch.div(best, width, rounding_mode="floor")
        cell = torch.cat([best - row * width, row], dim=2).float()  # (B, K, 2) column, row
        xy = (cell + 0.5) * self.stride
        if self.config.location_refinement:
            offsets = maps["locref"].float().reshape(batch, keypoints, 2, height * width)
            there = best.unsqueeze(2).expand(batch, keypoints, 2, 1)
            xy = xy + offsets.gather(3, there).squeeze(3) * self.config.locref_std
        if self.config.clip_scores:
            score = score.clamp(0.0, 1.0)
        return {"keypoints": torch.cat([xy, score], dim=2)}
