"""Faster R-CNN: proposals from a pyramid of maps, each looked at again (Ren et al. 2015; Lin et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign

from rigpose_training.dense_boxes.geometry import grid_anchors, move_boxes, shortest_side, take
from rigpose_training.dense_boxes.suppression import best_boxes, suppress
from rigpose_training.sampling import align_regions

NEVER = -1e9
"""Below every logit."""

# Constants inside torchvision's RoIHeads [px] and LevelMapper [octaves].
SMALLEST_DETECTION = 1e-2
TOLERANCE = 1e-6


def faster_rcnn_boxes(
    model: FasterRCNN, pyramid: FeaturePyramid, images: torch.Tensor, size: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes (B, D, 4) [image px] and scores (B, D), the best first; a score of 0 is no box.

    Only the animal's class is looked at. D is torchvision's ``detections_per_img``. All proposals go through the box
    head, 1000 by default, also where torchvision would have dropped most of them; that is the price of one shape.

    Args:
        model: In evaluation mode.
        pyramid: Of its backbone.
        images: (B, 3, H, W), normalised, with sides that are multiples of 32.
        size: (2,) width and height of the part of ``images`` that is not padding [px].
    """
    maps = pyramid(images)
    limits = torch.cat([size, size])
    rpn: Any = model.rpn
    proposals, valid = region_proposals(rpn, images, list(maps.values()), limits)
    heads: Any = model.roi_heads
    boxes, scores = classify_regions(heads, maps, pyramid.strides, proposals)
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    fits = valid & (scores > heads.score_thresh) & (shortest_side(boxes) >= SMALLEST_DETECTION)
    scores, index = torch.topk(torch.where(fits, scores, 0.0), scores.shape[1], dim=1)
    count = min(heads.detections_per_img, scores.shape[1])
    return best_boxes(take(boxes, index), scores, heads.nms_thresh, count=count)


class FeaturePyramid(nn.Module):
    """Images (B, 3, H, W) -> maps (B, C, h, w) by name, the finest first: torchvision's ``BackboneWithFPN``.

    Coarse maps are repeated cell by cell. torchvision resizes them to the sides of the finer ones, and TensorRT builds
    no such resize where these sides depend on the frame's.

    Args:
        backbone: Of the detector, whose modules are shared.
        strides: Of the maps that have features of their own [px]; the sides of images are multiples of the largest.
    """

    def __init__(self, backbone: Any, strides: Sequence[int]) -> None:
        super().__init__()
        self.body = backbone.body
        self.fpn = backbone.fpn
        self.strides = tuple(strides)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """The maps."""
        features = self.body(images)
        inner = [block(values) for block, values in zip(self.fpn.inner_blocks, features.values(), strict=True)]
        for level in reversed(range(len(inner) - 1)):
            times = self.strides[level + 1] // self.strides[level]
            inner[level] = inner[level] + _repeated(inner[level + 1], inner[level], times)
        maps = [block(values) for block, values in zip(self.fpn.layer_blocks, inner, strict=True)]
        maps, names = self.fpn.extra_blocks(maps, list(features.values()), list(features))
        return dict(zip(names, maps, strict=True))


def _repeated(coarse: torch.Tensor, fine: torch.Tensor, times: int) -> torch.Tensor:
    """Every row and column of (B, C, h, w) as often as the sides of ``fine`` have it."""
    if times == 1:
        return coarse
    for axis in (2, 3):
        cell = torch.arange(fine.shape[axis], device=coarse.device)
        coarse = coarse.index_select(axis, torch.div(cell, times, rounding_mode="trunc"))
    return coarse


def region_proposals(
    rpn: RegionProposalNetwork, images: torch.Tensor, maps: list[torch.Tensor], limits: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where something may be.

    Args:
        rpn: In evaluation mode.
        images: Only their sides are used.
        maps: (B, C, h, w) each.
        limits: (4,) what x, y, x, y are cut off at [px].

    Returns:
        Boxes (B, P, 4) [px] and whether each is one, (B, P); the best first.
    """
    count = rpn.pre_nms_top_n()
    logits, deltas, anchors, real = [], [], [], []
    cells: Any = rpn.anchor_generator.cell_anchors
    for level, (logit, delta) in enumerate(zip(*rpn.head(maps), strict=True)):
        grid = (logit.shape[2], logit.shape[3])
        stride = (images.shape[2] // grid[0], images.shape[3] // grid[1])
        boxes = grid_anchors(cells[level].to(images), grid, stride)
        flat = logit.permute(0, 2, 3, 1).flatten(1)
        # Filled up, so that a small map has as many candidates as the others.
        best, index = torch.topk(pad(flat, (0, count), value=NEVER), count, dim=1)
        index = index.clamp(max=flat.shape[1] - 1)
        logits.append(best)
        deltas.append(take(delta.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3), index))
        anchors.append(boxes[index])
        real.append(best > NEVER)
    boxes = move_boxes(torch.stack(anchors, 1), torch.stack(deltas, 1), rpn.box_coder)  # (B, levels, count, 4)
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    scores = torch.stack(logits, 1).sigmoid()
    fits = torch.stack(real, 1) & (scores >= rpn.score_thresh) & (shortest_side(boxes) >= rpn.min_size)
    keep = suppress(boxes, fits, rpn.nms_thresh)
    # A saturated score is 0 and a proposal all the same.
    ranked = torch.where(keep > 0, scores, -1.0).flatten(1)
    ranked, index = torch.topk(ranked, min(rpn.post_nms_top_n(), ranked.shape[1]), dim=1)
    return take(boxes.flatten(1, 2), index), ranked >= 0


def classify_regions(
    heads: RoIHeads, maps: dict[str, torch.Tensor], strides: Sequence[int], proposals: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the box head sees in the proposals (B, P, 4): the animal's boxes (B, P, 4) [px] and scores (B, P)."""
    pool: Any = heads.box_roi_pool
    batch, count = proposals.shape[:2]
    pooled = pool_regions(pool, [maps[name] for name in pool.featmap_names if name in maps], strides, proposals)
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    scores = logits.softmax(dim=-1)[:, 1].reshape(batch, count)
    return move_boxes(proposals, deltas[:, 4:8].reshape(batch, count, 4), heads.box_coder), scores


def pool_regions(
    pool: MultiScaleRoIAlign, maps: Sequence[torch.Tensor], strides: Sequence[int], regions: torch.Tensor
) -> torch.Tensor:
    """The maps under each region (B, P, 4) x, y, x, y [px]: (B P, C, 7, 7).

    Every region is read from every map and the one that fits its size is chosen: as many readings as maps, which cost
    little beside the box head that follows. As in torchvision, a map of the same stride as the one before it is not
    read; a MobileNet's second map is such.
    """
    size: Any = pool.output_size
    side = (regions[..., 2:] - regions[..., :2]).prod(dim=-1).sqrt().reshape(-1, 1, 1, 1)
    pooled = torch.zeros((), device=regions.device)
    for level, (values, stride) in enumerate(zip(maps, strides, strict=True)):
        if level and stride == strides[level - 1]:
            continue
        here = align_regions(values, regions, size=tuple(size), stride=stride, samples=pool.sampling_ratio)
        # Regions of side 224 belong to the map of stride 16, those of twice the side to the next.
        least = pool.canonical_scale * 2 ** (-TOLERANCE - pool.canonical_level) * stride
        pooled = torch.where(side >= least, here, pooled) if level else here
    return pooled
