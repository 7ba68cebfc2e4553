"""What a heatmap head should have said: heatmaps, offsets and their weights, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class HeatmapTarget:
    """``target_generator`` of a heatmap head, with DeepLabCut's names and defaults.

    Attributes:
        type: A bell around each keypoint, or a disc of ones.
        num_heatmaps: K, the keypoints (or the individuals, in INDIVIDUAL mode).
        pos_dist_thresh: Radius of the disc, and of the cells that learn offsets [input px].
        heatmap_mode: One map per keypoint, or one per individual (identity heads).
        gradient_masking: Whether keypoints without a label count for ``background_weight`` only.
        background_weight: See ``gradient_masking``.
        generate_locref: Whether there are offset maps.
        locref_std: Input px per unit of offset.
        label_keypoint_key: Which labels: ``keypoints``, or ``keypoints_unique``.
    """

    type: Literal["HeatmapGaussianGenerator", "HeatmapPlateauGenerator"]
    num_heatmaps: int
    pos_dist_thresh: float
    heatmap_mode: Literal["KEYPOINT", "INDIVIDUAL", "keypoint", "individual"] = "KEYPOINT"
    gradient_masking: bool = False
    background_weight: float = 0.1
    generate_locref: bool = True
    locref_std: float = 7.2801
    label_keypoint_key: Literal["keypoints", "keypoints_unique"] = "keypoints"


@dataclass(frozen=True)
class Target:
    """What one output map is compared with.

    Attributes:
        values: (B, C, h, w).
        weights: (B, C, h, w); 0 leaves a cell out of the loss.
    """

    values: torch.Tensor
    weights: torch.Tensor


def heatmap_targets(
    config: HeatmapTarget,
    maps: Mapping[str, torch.Tensor],
    annotations: Mapping[str, torch.Tensor],
    stride: float,
) -> dict[str, Target]:
    """Targets of a heatmap head, on the device of its output.

    Args:
        config: The ``target_generator`` section.
        maps: The head's output; only the size of ``heatmap`` (B, K, h, w) and its device are used.
        annotations: ``keypoints`` (B, N, K, 3) or ``keypoints_unique`` (B, U, 3): x, y [input px] and a visibility:
            2 labelled, 0 without a label, -1 not defined in this data set.
        stride: Input px per map cell.

    Returns:
        ``heatmap`` (B, K, h, w) and, if asked for, ``locref`` (B, 2K, h, w), x then y of each keypoint.
    """
    heatmap = maps["heatmap"]
    points = _by_heatmap(config, annotations[config.label_keypoint_key].to(heatmap.device))
    visible = points[..., 2] > 0  # (B, K, N)
    away = points[..., :2, None, None] - _cell_centres(heatmap, stride)  # (B, K, N, 2, h, w) [input px]
    distance = away.square().sum(dim=3)  # (B, K, N, h, w) squared
    near = (distance <= config.pos_dist_thresh**2) & visible[..., None, None]
    gaussian = config.type == "HeatmapGaussianGenerator"
    if gaussian:
        std = 2 * config.pos_dist_thresh / 3
        bells = torch.exp(-distance / (2 * std**2)) * visible[..., None, None]
        values = bells.amax(dim=2)
    else:
        values = near.any(dim=2).float()
    targets = {"heatmap": Target(values, _weights(config, points, values))}
    if config.generate_locref:
        # A bell defines an offset in every cell, a disc only inside itself.
        defined = visible[..., None, None].expand_as(near) if gaussian else near
        targets["locref"] = _offsets(away, defined, near, scale=1 / config.locref_std)
    return targets


def _by_heatmap(config: HeatmapTarget, points: torch.Tensor) -> torch.Tensor:
    """(B, K, N, 3): the points that share a heatmap, behind each other."""
    if points.ndim == 3:
        points = points[:, None]  # unique body parts: one "animal"
    return points if config.heatmap_mode.upper() == "INDIVIDUAL" else points.transpose(1, 2)


def _cell_centres(heatmap: torch.Tensor, stride: float) -> torch.Tensor:
    """(2, h, w) x, y [input px].

    DeepLabCut keeps the centres in an array of integers, so an odd stride loses its half; matched, because
    snapshots of either program then mean the same.
    """
    height, width = heatmap.shape[-2:]
    x, y = (
        torch.floor(torch.arange(n, device=heatmap.device, dtype=torch.float32) * stride + stride / 2)
        for n in (width, height)
    )
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])


def _weights(config: HeatmapTarget, points: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(B, K, h, w): 1, or less where a keypoint has no label or no meaning."""
    visibility = points[..., 2]
    weights = torch.ones(visibility.shape[:2], device=values.device)  # (B, K)
    if config.gradient_masking:
        weights = weights.masked_fill((visibility == 0).any(dim=2), config.background_weight)
    weights = weights.masked_fill((visibility == -1).any(dim=2), 0.0)
    return weights[..., None, None].expand_as(values)


def _offsets(away: torch.Tensor, defined: torch.Tensor, near: torch.Tensor, *, scale: float) -> Target:
    """Offsets from cell centres to the keypoint; where several animals define one, the last animal's holds."""
    batch, keypoints, animals, _, height, width = away.shape
    rank = torch.arange(1, animals + 1, device=away.device).reshape(1, 1, -1, 1, 1)
    last = (defined * rank).amax(dim=2)  # (B, K, h, w); 0 where none
    index = (last - 1).clamp(min=0)[:, :, None, None].expand(-1, -1, 1, 2, -1, -1)
    chosen = away.gather(2, index).squeeze(2) * scale  # (B, K, 2, h, w)
    values = torch.where((last > 0)[:, :, None], chosen, 0.0)
    weights = near.any(dim=2)[:, :, None].expand_as(values)
    shape = (batch, 2 * keypoints, height, width)
    return Target(values.reshape(shape), weights.reshape(shape).float())
