"""What a part affinity field should have said: along every edge, the direction from its first keypoint to its second.

Cao et al., Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields, CVPR 2017; as DeepLabCut draws them,
a field fades linearly to the sides of its edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from rigpose_training.targets.target import Target, cell_centres, row_groups


@dataclass(frozen=True)
class PartAffinityFieldTarget:
    """``target_generator`` of part affinity fields, with DeepLabCut's names.

    Attributes:
        type: The generator's name.
        graph: E pairs of keypoint numbers, in the order of the field's channels.
        width: Distance to the side of an edge at which its field has faded to nothing [input px].
    """

    type: Literal["PartAffinityFieldGenerator"]
    graph: tuple[tuple[int, int], ...]
    width: float


def paf_targets(
    config: PartAffinityFieldTarget,
    maps: Mapping[str, torch.Tensor],
    annotations: Mapping[str, torch.Tensor],
    stride: float,
) -> dict[str, Target]:
    """Targets of the part affinity fields, on the device of the output.

    Args:
        config: The ``target_generator`` section.
        maps: The head's output; only the size of ``paf`` (B, 2E, h, w) and its device are used.
        annotations: ``keypoints`` (B, N, K, 3) x, y [input px], visibility.
        stride: Input px per map cell.

    Returns:
        ``paf`` (B, 2E, h, w), x then y of each edge. Where edges of two animals overlap the later animal's holds, as
        in DeepLabCut. Every cell counts.
    """
    height, width = maps["paf"].shape[-2:]
    device = maps["paf"].device
    keypoints = annotations["keypoints"].to(device)
    batch, edges = len(keypoints), len(config.graph)
    limbs = _limbs(config, keypoints)  # (B * E, N, 5)
    x, y = (cell_centres(cells, stride, device) for cells in (width, height))
    field = torch.zeros((batch * edges, 2, height, width), device=device)
    for group in row_groups(batch * edges, height * width, device):
        for limb in limbs[group].unbind(dim=1):
            mid_x, mid_y, half, ux, uy = limb[..., None].unbind(dim=1)  # (rows, 1) each
            dx, dy = x - mid_x, y - mid_y  # (rows, w), (rows, h)
            along = (ux * dx)[:, None] + (uy * dy)[:, :, None]  # (rows, h, w)
            across = (ux * dy)[:, :, None] - (uy * dx)[:, None]
            strength = across.abs_().mul_(-1 / config.width).add_(1)
            inside = (along.abs_() <= half[..., None]) & (strength >= 0)
            for axis, direction in enumerate((ux, uy)):
                drawn = direction[..., None] * strength
                field[group, axis] = torch.where(inside, drawn, field[group, axis])
    values = field.reshape(batch, 2 * edges, height, width)
    return {"paf": Target(values, torch.ones((1, 1, 1, 1), device=device))}


def _limbs(config: PartAffinityFieldTarget, keypoints: torch.Tensor) -> torch.Tensor:
    """(B * E, N, 5): middle x, y and half the length [input px], direction x, y; length -1 where there is no edge."""
    graph = torch.tensor(config.graph, device=keypoints.device, dtype=torch.int64).reshape(-1, 2)
    first, second = (keypoints.index_select(2, graph[:, end]).transpose(1, 2).flatten(0, 1) for end in (0, 1))
    labelled = (first[..., 2:] > 0) & (second[..., 2:] > 0)  # (B * E, N, 1)
    start, stop = (torch.where(labelled, point[..., :2], 0.0) for point in (first, second))
    vector = stop - start
    length = vector.square().sum(dim=-1, keepdim=True).sqrt()
    exists = labelled & (length > 0)
    direction = vector / torch.where(exists, length, 1.0)
    half = torch.where(exists, length / 2, -1.0)
    return torch.cat([(start + stop) / 2, half, direction], dim=-1)
