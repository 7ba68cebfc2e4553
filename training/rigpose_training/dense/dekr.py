"""DEKR: whole poses regressed at the centres of animals (Geng et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from rigpose.errors import ConfigError
from rigpose.models.model_spec import DekrGrouping
from rigpose_training.dense.peaks import best_cells, keep_peaks, read_cells

WINDOW = 5
"""A peak is the maximum of so many cells by so many."""


@dataclass(frozen=True)
class DEKRPredictor:
    """``predictor`` of a ``type: DEKRPredictor``, with DeepLabCut's defaults.

    Attributes:
        num_animals: Most animals of a frame, and the heatmap peaks of a part that a keypoint may move to.
        detection_threshold: Read and not used, as in DeepLabCut.
        apply_sigmoid: Whether the heatmaps are logits.
        clip_scores: Whether scores are limited to 0..1.
        use_heatmap: Whether keypoints move to the nearest peak of their heatmap.
        keypoint_score_type: The heatmap's value at the keypoint, the centre's score, or their product.
        max_absorb_distance: Keypoints move less far than this [cells].
        nms_threshold: Keypoints closer than this part of a pose's diagonal coincide.
        apply_pose_nms: Whether poses that coincide with a better one are dropped.
        poses_per_animal: How many poses the graph gives, times ``num_animals``. The grouping uses the best
            ``num_animals``; more leave room to raise that number at run time. Not a key of DeepLabCut's.
    """

    type: str
    num_animals: int
    detection_threshold: float = 0.01
    apply_sigmoid: bool = True
    clip_scores: bool = False
    use_heatmap: bool = True
    keypoint_score_type: Literal["combined", "heatmap", "center"] = "combined"
    max_absorb_distance: float = 75
    nms_threshold: float = 0.05
    apply_pose_nms: bool = True
    poses_per_animal: int = 2

    def __post_init__(self) -> None:
        if min(self.num_animals, self.poses_per_animal) < 1:
            raise ConfigError("predictor.num_animals, predictor.poses_per_animal: both must be at least 1.")

    def grouping(self) -> DekrGrouping:
        """What the sparse half does with the candidates."""
        return DekrGrouping(self.num_animals, nms_threshold=self.nms_threshold, apply_pose_nms=self.apply_pose_nms)


class DekrDecoder(nn.Module):
    """DeepLabCut's poses: the best centres, and the offsets of every keypoint there."""

    def __init__(self, config: DEKRPredictor, stride: float) -> None:
        super().__init__()
        self.config = config
        self.stride = stride
        self.poses = config.num_animals * config.poses_per_animal

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Decode a batch.

        Args:
            maps: ``heatmap`` (B, K + 1, h, w), the last for centres; ``offset`` (B, 2K, h, w), from a keypoint to the
                cell, x then y of each keypoint [cells].

        Returns:
            ``poses`` (B, P, K, 3): x, y [input px], score, in the order of the map's rows.
            ``center`` (B, P): the scores of their centres, 0 where a frame has fewer.
            float32 whatever the maps' precision.
        """
        heatmap = maps["heatmap"].float()
        if self.config.apply_sigmoid:
            heatmap = torch.sigmoid(heatmap)
        batch, channels, height, width = heatmap.shape
        keypoints = channels - 1
        heat = heatmap[:, :-1]  # (B, K, h, w)
        center = best_cells(keep_peaks(heatmap[:, -1:], WINDOW), self.poses)
        offset = read_cells(maps["offset"].float().reshape(batch, 1, 2 * keypoints, height, width), center.cell)
        here = torch.cat([center.column, center.row], dim=1).transpose(1, 2).float()  # (B, P, 2)
        xy = here.unsqueeze(2) - offset.reshape(batch, self.poses, keypoints, 2)  # (B, P, K, 2) [cells]
        if self.config.use_heatmap:
            # As in DeepLabCut, only peaks have a value afterwards: a keypoint that found none scores 0.
            heat = keep_peaks(heat, WINDOW)
            xy = self._refine(xy, heat)
        score = self._score(xy, heat, center.score.squeeze(1))
        if self.config.clip_scores:
            score = score.clamp(0.0, 1.0)
        xy = xy * self.stride + 0.5 * self.stride
        return {"poses": torch.cat([xy, score.unsqueeze(3)], dim=3), "center": center.score.squeeze(1)}

    def _refine(self, xy: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
        """Move keypoints (B, P, K, 2) to the nearest of their heatmap's best peaks (B, K, h, w), if near enough."""
        peaks = best_cells(heat, self.config.num_animals)
        place = torch.stack([peaks.column, peaks.row], dim=3).float().unsqueeze(1)  # (B, 1, K, N, 2)
        distance = (xy.unsqueeze(3) - place).square().sum(dim=4).sqrt()  # (B, P, K, N)
        # Where a map has fewer peaks DeepLabCut goes on with any cells; a keypoint does not move to one of those.
        distance = torch.where(peaks.score.unsqueeze(1) > 0, distance, torch.inf)
        nearest = distance.argmin(dim=3, keepdim=True)  # (B, P, K, 1)
        chosen = place.expand(-1, xy.shape[1], -1, -1, -1).gather(3, nearest.unsqueeze(4).expand(-1, -1, -1, -1, 2))
        near = distance.gather(3, nearest) < self.config.max_absorb_distance
        return torch.where(near, chosen.squeeze(3), xy)

    def _score(self, xy: torch.Tensor, heat: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
        """(B, P, K) scores of keypoints (B, P, K, 2) [cells]; outside of the map its border counts."""
        score = center.unsqueeze(2).expand(-1, -1, xy.shape[2])
        if self.config.keypoint_score_type == "center":
            return score
        height, width = heat.shape[2:]
        cell = xy.floor()
        column, row = cell[..., 0].clamp(0, width - 1), cell[..., 1].clamp(0, height - 1)
        there = (row * width + column).long().transpose(1, 2)  # (B, K, P)
        value = heat.flatten(2).gather(2, there).transpose(1, 2)
        return value if self.config.keypoint_score_type == "heatmap" else score * value
