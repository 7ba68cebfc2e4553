"""What a heatmap head should have said: heatmaps, offsets and their weights, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from rigpose.errors import ConfigError
from rigpose_training.targets.target import Target, cell_centres, placed, row_groups


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

    @property
    def by_individual(self) -> bool:
        """Whether all keypoints of an animal share one map."""
        return self.heatmap_mode.upper() == "INDIVIDUAL"


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
            2 labelled, 0 without a label, -1 not defined in this data set. INDIVIDUAL mode also needs
            ``individual_ids`` (B, N), -1 where there is no animal.
        stride: Input px per map cell.

    Returns:
        ``heatmap`` (B, K, h, w) and, if asked for, ``locref`` (B, 2K, h, w), x then y of each keypoint.

    Raises:
        ConfigError: The labels have another number of keypoints than the head has maps.
    """
    height, width = maps["heatmap"].shape[-2:]
    points = _by_map(config, annotations, maps["heatmap"].device)  # (B, K, S, 3): the S points that share a map
    batch, keypoints = points.shape[:2]
    if keypoints != config.num_heatmaps:
        raise ConfigError(
            f"target_generator.num_heatmaps: is {config.num_heatmaps}, but the labels have {keypoints} "
            f"{config.label_keypoint_key}; create the training data set again or correct the number."
        )
    canvas = _Canvas(config, batch * keypoints, (height, width), stride, points.device)
    rows = placed(points).flatten(0, 1)
    for group in row_groups(batch * keypoints, height * width, points.device):
        for place in rows[group].unbind(dim=1):
            canvas.draw(group, place)
    targets = {"heatmap": Target(canvas.heatmap.reshape(batch, keypoints, height, width), _weights(config, points))}
    if config.generate_locref:
        shape = (batch, 2 * keypoints, height, width)
        near = canvas.near[:, None].expand_as(canvas.offsets)
        targets["locref"] = Target(canvas.offsets.reshape(shape), near.reshape(shape).float())
    return targets


class _Canvas:
    """The maps of all keypoints and images behind each other, filled one animal at a time."""

    def __init__(
        self, config: HeatmapTarget, rows: int, size: tuple[int, int], stride: float, device: torch.device
    ) -> None:
        self.config = config
        self.y, self.x = (cell_centres(cells, stride, device) for cells in size)
        self.heatmap = torch.zeros((rows, *size), device=device)
        offsets = rows if config.generate_locref else 0
        self.offsets = torch.zeros((offsets, 2, *size), device=device)
        self.near = torch.zeros((offsets, *size), dtype=torch.bool, device=device)

    def draw(self, group: slice, place: torch.Tensor) -> None:
        """Add a point to each map of a group; ``place`` (rows, 2) [input px] is infinite where there is none."""
        dx = place[:, :1] - self.x  # (rows, w)
        dy = place[:, 1:] - self.y  # (rows, h)
        square = dx.square()[:, None] + dy.square()[:, :, None]  # (rows, h, w)
        near = square <= self.config.pos_dist_thresh**2
        gaussian = self.config.type == "HeatmapGaussianGenerator"
        std = 2 * self.config.pos_dist_thresh / 3
        bell = square.mul_(-1 / (2 * std**2)).exp_() if gaussian else near.float()
        self.heatmap[group] = torch.maximum(self.heatmap[group], bell)
        if not self.config.generate_locref:
            return
        # A bell defines an offset in every cell, a disc only inside itself; the last animal's offset holds.
        defined = torch.isfinite(place[:, :1, None]) if gaussian else near
        scale = 1 / self.config.locref_std
        for axis, away in enumerate((dx[:, None] * scale, dy[:, :, None] * scale)):
            self.offsets[group, axis] = torch.where(defined, away, self.offsets[group, axis])
        self.near[group] |= near


def _by_map(config: HeatmapTarget, annotations: Mapping[str, torch.Tensor], device: torch.device) -> torch.Tensor:
    """(B, K, S, 3): the points that share a heatmap, behind each other."""
    points = annotations[config.label_keypoint_key].to(device)
    if points.ndim == 3:
        points = points[:, None]  # unique body parts: one "animal"
    if not config.by_individual:
        return points.transpose(1, 2)
    # An individual that is not in the image is not defined there: its map is left out of the loss, not background.
    ids = annotations["individual_ids"].to(device)  # (B, N)
    batch, _, keypoints, _ = points.shape
    ordered = points.new_full((batch, config.num_heatmaps + 1, keypoints, 3), -1)
    # The extra row, cut off again, takes the animals without an identity.
    slots = torch.where((ids >= 0) & (ids < config.num_heatmaps), ids, config.num_heatmaps)
    ordered.scatter_(1, slots[:, :, None, None].expand_as(points), points)
    return ordered[:, :-1]


def _weights(config: HeatmapTarget, points: torch.Tensor) -> torch.Tensor:
    """(B, K, 1, 1): 1, or less where a keypoint has no label or no meaning.

    A keypoint that is not defined weighs 0 whatever the other animals say. (DeepLabCut lets the last animal decide,
    which with ``gradient_masking`` lets the padding of an image with few animals bring an undefined keypoint back.)
    """
    visibility = points[..., 2]
    weights = torch.ones(visibility.shape[:2], device=points.device)
    if config.gradient_masking:
        weights = weights.masked_fill((visibility == 0).any(dim=2), config.background_weight)
    return weights.masked_fill((visibility == -1).any(dim=2), 0.0)[..., None, None]
