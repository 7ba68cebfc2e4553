"""What a DEKR head should have said: heatmaps with the animals' centres, and offsets around each centre.

Geng et al., Bottom-Up Human Pose Estimation via Disentangled Keypoint Regression, CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from rigpose.errors import ConfigError
from rigpose_training.targets.target import Target


@dataclass(frozen=True)
class DEKRTarget:
    """``target_generator`` of a DEKR head, with DeepLabCut's names and defaults.

    Attributes:
        type: The generator's name.
        num_joints: K keypoints; the centre is not among them.
        pos_dist_thresh: Standard deviation of a centre's bell, twice that of a keypoint's, and half the side of the
            square around a centre in which offsets are learnt [input px].
        bg_weight: What cells far from every keypoint count in the heatmap's loss.
    """

    type: Literal["DEKRGenerator"]
    num_joints: int
    pos_dist_thresh: float
    bg_weight: float = 0.1


def with_centres(keypoints: torch.Tensor) -> torch.Tensor:
    """(B, N, K + 1, 3): behind its keypoints, each animal's centre.

    That is the mean of its labelled keypoints (B, N, K, 3) as they lie in the image, so after augmentation, with
    visibility 2; an animal without any has none.
    """
    labelled = keypoints[..., 2:] > 0
    count = labelled.sum(dim=2)  # (B, N, 1)
    centres = torch.where(labelled, keypoints[..., :2], 0.0).sum(dim=2) / count.clamp(min=1)
    visibility = torch.where(count > 0, 2.0, 0.0).to(centres)
    return torch.cat([keypoints, torch.cat([centres, visibility], dim=-1)[:, :, None]], dim=2)


def dekr_targets(
    config: DEKRTarget,
    maps: Mapping[str, torch.Tensor],
    annotations: Mapping[str, torch.Tensor],
    stride: float,
) -> dict[str, Target]:
    """Targets of a DEKR head, on the device of its output.

    Cells are measured from their centres. As in DeepLabCut, a keypoint within half a cell of the image's left or top
    edge is not drawn, the square of offsets lies around the centre's whole pixel, and where squares overlap the
    smaller animal's offsets hold (see ``_claimed``).

    Args:
        config: The ``target_generator`` section.
        maps: The head's output; only the size of ``heatmap`` (B, K + 1, h, w) and its device are used.
        annotations: ``keypoints`` (B, N, K, 3) x, y [input px], visibility; ``area`` (B, N) of the animals' boxes
            [input px squared].
        stride: Input px per map cell.

    Returns:
        ``heatmap`` (B, K + 1, h, w), the centres last; ``offset`` (B, 2K, h, w), x then y of each keypoint: from the
        keypoint to the cell [cells].

    Raises:
        ConfigError: The labels have another number of keypoints than the head.
    """
    height, width = maps["heatmap"].shape[-2:]
    device = maps["heatmap"].device
    if annotations["keypoints"].shape[2] != config.num_joints:
        raise ConfigError(
            f"target_generator.num_joints: is {config.num_joints}, but the labels have "
            f"{annotations['keypoints'].shape[2]} keypoints; create the training data set again or correct the number."
        )
    keypoints = with_centres(annotations["keypoints"].to(device).float())
    canvas = _Canvas(config, len(keypoints), (height, width), stride, device)
    for animal, area in zip(keypoints.unbind(dim=1), annotations["area"].to(device).float().unbind(dim=1), strict=True):
        canvas.draw(animal, area[:, None, None, None])
    flat = (len(keypoints), 2 * config.num_joints, height, width)
    offset_weights = canvas.offset_weights[:, :, None].expand_as(canvas.offsets).reshape(flat)
    return {
        "heatmap": Target(canvas.heatmap, canvas.heatmap_weights),
        "offset": Target(canvas.offsets.reshape(flat), offset_weights),
    }


class _Canvas:
    """The maps of a batch, filled one animal at a time."""

    def __init__(
        self, config: DEKRTarget, batch: int, size: tuple[int, int], stride: float, device: torch.device
    ) -> None:
        joints = config.num_joints
        self.stride = stride
        self.size = torch.tensor([size[1], size[0]], device=device)  # w, h
        self.radius = config.pos_dist_thresh / stride  # [cells]
        self.sigma = torch.full((joints + 1,), self.radius / 2, device=device)  # [cells]
        self.sigma[joints] = self.radius
        self.columns, self.rows = (torch.arange(cells, device=device) for cells in (size[1], size[0]))
        self.heatmap = torch.zeros((batch, joints + 1, *size), device=device)
        self.heatmap_weights = torch.full((batch, joints + 1, *size), config.bg_weight, device=device)
        self.offsets = torch.zeros((batch, joints, 2, *size), device=device)
        self.offset_weights = torch.zeros((batch, joints, *size), device=device)
        self.area = torch.zeros((batch, 1, *size), device=device)

    def draw(self, animal: torch.Tensor, area: torch.Tensor) -> None:
        """Add one animal of every image: ``animal`` (B, K + 1, 3), the centre last; ``area`` (B, 1, 1, 1)."""
        cells = self._to_cells(animal[..., :2])  # (B, K + 1, 2)
        inside = ((cells >= 0) & (cells < self.size)).all(dim=-1) & (animal[..., 2] > 0)  # (B, K + 1)
        dx, dy = self.columns - cells[..., :1], self.rows - cells[..., 1:]  # (B, K + 1, w), (B, K + 1, h)
        self._draw_bells(cells, dx, dy, inside, undefined=animal[..., 2] == -1)
        square = self._square(animal[:, -1, :2])
        claimed = self._claimed(inside[:, :-1, None, None] & square, area)  # (B, K, h, w)
        for axis, away in enumerate((dx[:, :-1, None], dy[:, :-1, :, None])):
            self.offsets[:, :, axis] = torch.where(claimed, away, self.offsets[:, :, axis])
        self.offset_weights = torch.where(claimed, area.rsqrt(), self.offset_weights)
        self.area = torch.where(claimed.any(dim=1, keepdim=True), area, self.area)

    def _to_cells(self, xy: torch.Tensor) -> torch.Tensor:
        return (xy - self.stride / 2) / self.stride

    def _draw_bells(
        self, cells: torch.Tensor, dx: torch.Tensor, dy: torch.Tensor, inside: torch.Tensor, *, undefined: torch.Tensor
    ) -> None:
        reach = 3 * self.sigma[:, None]
        first, last = torch.floor(cells - reach - 1), torch.ceil(cells + reach + 2)  # (B, K + 1, 2), last excluded
        x_near = (self.columns >= first[..., :1]) & (self.columns < last[..., :1]) & inside[..., None]
        y_near = (self.rows >= first[..., 1:]) & (self.rows < last[..., 1:])
        x_bell, y_bell = (
            torch.where(near, torch.exp(-away.square() / (2 * self.sigma[:, None] ** 2)), 0.0)
            for near, away in ((x_near, dx), (y_near, dy))
        )
        self.heatmap = torch.maximum(self.heatmap, x_bell[:, :, None] * y_bell[..., None])
        self.heatmap_weights = self.heatmap_weights.masked_fill(undefined[..., None, None], 0.0)
        self.heatmap_weights = self.heatmap_weights.masked_fill(x_near[:, :, None] & y_near[..., None], 1.0)

    def _square(self, centre: torch.Tensor) -> torch.Tensor:
        """(B, 1, h, w): the cells around a centre (B, 2) [input px] that learn its animal's offsets."""
        middle = self._to_cells(torch.trunc(centre))
        first, last = torch.trunc(middle - self.radius), torch.trunc(middle + self.radius)  # last excluded
        x_near = (self.columns >= first[:, :1]) & (self.columns < last[:, :1])
        y_near = (self.rows >= first[:, 1:]) & (self.rows < last[:, 1:])
        return (x_near[:, None] & y_near[..., None])[:, None]

    def _claimed(self, wanted: torch.Tensor, area: torch.Tensor) -> torch.Tensor:
        """(B, K, h, w): the cells among ``wanted`` whose offsets become this animal's.

        A larger animal gives way where a smaller one has an offset already. DeepLabCut remembers one area per cell,
        not one per keypoint: once the larger animal has drawn a keypoint that the smaller one lacks, it also takes the
        keypoints after that. Matched.
        """
        free = wanted & (self.offsets == 0).all(dim=2)
        smaller_there = self.area < area
        return wanted & (~smaller_there | (free.cumsum(dim=1, dtype=torch.int32) > 0))
