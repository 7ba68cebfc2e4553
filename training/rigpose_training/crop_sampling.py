"""The crops around boxes, cut inside a graph: pixel for pixel those that ``rigpose.models.crops`` cuts on the host.

OpenCV resizes bytes in whole numbers: shares of two pixels in 2048ths, and sums from which bits are dropped twice.
Here are the same numbers in float32, none of which has more than its 24 bits, so nothing is rounded on the way. Each
crop pixel reads the four frame pixels around it, which is one reading of the frame for all of its crops; the frame
itself is never repeated.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import grid_sample

from rigpose.models.crops import CropSpec

ONE = 2048
"""A whole share in OpenCV's weights of bytes, 11 bits."""


class CropSampler(nn.Module):
    """Frames and boxes -> what a pose network sees of each box, and the way back.

    Args:
        spec: How crops are cut.
    """

    def __init__(self, spec: CropSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, frames: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut the crops of a batch.

        Args:
            frames: (B, H, W, 3) uint8.
            boxes: (B, N, 4) x, y, x, y [frame px], all of them finite.

        Returns:
            Crops (B, N, height, width, 3), whole grey levels in float32, and the windows that they show (B, N, 4) x, y,
            x, y [frame px], of which the second corner is outside.
        """
        sides = torch.stack([boxes.new_full((), side) for side in (frames.shape[2], frames.shape[1])])
        window, content = plan_crops(boxes, sides, self.spec)
        return cut_crops(frames, sides, window, content, self.spec), window


def plan_crops(boxes: torch.Tensor, sides: torch.Tensor, spec: CropSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """The arithmetic of ``rigpose.models.crops.plan_crop``, for all boxes at once and in float32, as the rig has them.

    Args:
        boxes: (B, N, 4) x, y, x, y [frame px].
        sides: (2,) width and height of the frame [px].
        spec: How to cut.

    Returns:
        ``window`` and ``content`` of each crop, (B, N, 4) each, whole numbers.
    """
    corner, size = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
    centre, size = corner + size * 0.5, size + 2 * spec.margin
    if spec.with_context:
        size = _grown(size, spec)
    low, high = torch.round(centre - size * 0.5), torch.round(centre + size * 0.5)  # half to even, as Python's
    if spec.with_context:
        high = torch.maximum(high, low + 1)
    content = torch.cat([low.clamp(min=0), torch.minimum(high, sides)], dim=-1)
    if not spec.with_context:
        low, high = _padded(low, high, content, spec)
    return torch.cat([low, high], dim=-1), content


def _grown(size: torch.Tensor, spec: CropSpec) -> torch.Tensor:
    """Width and height (..., 2), one of them longer, so that they have the input's proportions."""
    # A tensor, because torch multiplies by the reciprocal of a number on a GPU.
    ratio = size.new_full((), spec.width / spec.height)
    w, h = size[..., 0], size[..., 1]
    wide = (w > 0) & ((h == 0) | (w / h > ratio))
    tall = (h > 0) & (w / h < ratio)
    return torch.stack([torch.where(tall, h * ratio, w), torch.where(wide, w / ratio, h)], dim=-1)


def _padded(
    low: torch.Tensor, high: torch.Tensor, content: torch.Tensor, spec: CropSpec
) -> tuple[torch.Tensor, torch.Tensor]:
    """The window's corners with black on two sides; see ``rigpose.models.crops`` for what is odd about it."""
    w, h = content[..., 2] - content[..., 0], content[..., 3] - content[..., 1]
    # h - w / ratio and w - h * ratio over a common denominator, so that whole numbers stay whole.
    lacking = h * spec.width - w * spec.height
    across = torch.where((w >= 0) & (lacking > 0), lacking / w.new_full((), spec.width), 0.0)
    down = torch.where(lacking < 0, -lacking / w.new_full((), spec.height), 0.0)
    black = torch.where((h > 0).unsqueeze(-1), torch.floor(torch.stack([across, down], dim=-1) * 0.5), 0.0)
    low, high = low - black, high + black
    return low, torch.maximum(high, low + 1)


def cut_crops(
    frames: torch.Tensor, sides: torch.Tensor, window: torch.Tensor, content: torch.Tensor, spec: CropSpec
) -> torch.Tensor:
    """The numbers of ``rigpose.models.crops.Crop.write``, (B, N, height, width, 3) float32.

    Args:
        frames: (B, H, W, 3) uint8.
        sides: (2,) width and height of the frame [px].
        window: (B, N, 4) what fills the crops [frame px].
        content: (B, N, 4) what of it shows the frame; the rest is black.
        spec: The crops' size.
    """
    count, width, height = window.shape[1], spec.width, spec.height
    columns, across = _pixels_and_shares(window[..., 0::2], content[..., 0::2], width)  # (B, N, 2, width) each
    rows, down = _pixels_and_shares(window[..., 1::2], content[..., 1::2], height)
    shape = (-1, count, 2 * height, 2 * width)
    x = ((2 * columns.flatten(2) + 1) / sides[0] - 1).unsqueeze(2).expand(shape)
    y = ((2 * rows.flatten(2) + 1) / sides[1] - 1).unsqueeze(3).expand(shape)
    # Cast first: inference engines take uint8 into a cast and nothing else.
    images = frames.float().permute(0, 3, 1, 2)
    # Places are centres of pixels, so that float32, good for 0.001 px of 8192, never picks another one.
    places = torch.stack([x, y], dim=-1).flatten(1, 2)  # (B, N * 2 * height, 2 * width, 2)
    pixels = grid_sample(images, places, mode="nearest", padding_mode="border", align_corners=False)
    pixels = pixels.unflatten(3, (2, width)).unflatten(2, (count, 2 * height))
    shares = across.reshape(-1, 1, count, 1, 2, width)
    lines = torch.floor((pixels * (shares / 16)).sum(dim=4))  # (B, 3, N, 2 * height, width), four bits dropped
    mixed = _dropping_16_bits(lines.unflatten(3, (2, height)), down.reshape(-1, 1, count, 2, height, 1)).sum(dim=3)
    return torch.floor(mixed * 0.25 + 0.5).permute(0, 2, 3, 4, 1)


def _pixels_and_shares(window: torch.Tensor, content: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Along one axis, the two frame pixels that each of ``size`` crop pixels lies between, and their shares.

    Args:
        window: (B, N, 2) where it begins and ends [frame px].
        content: (B, N, 2) the same of what shows the frame.
        size: Of the crop [px].

    Returns:
        (B, N, 2, size) frame pixels, and their shares of ``ONE``; the share of a black one is 0.
    """
    start, length = window[..., :1], window[..., 1:] - window[..., :1]
    middle = 2 * torch.arange(size, device=window.device).to(window) + 1
    # (i + 0.5) * length / size - 0.5, from whole numbers and rounded once, as OpenCV's double is to float.
    place = (middle * length - size) / window.new_full((), 2 * size)
    before = torch.floor(place)
    after = place - before
    shares = torch.round(torch.stack([1 - after, after], dim=2) * ONE)
    inside = torch.stack([before, before + 1], dim=2).clamp(min=0)
    pixels = start.unsqueeze(2) + torch.minimum(inside, length.unsqueeze(2) - 1)
    shown = (pixels >= content[..., :1].unsqueeze(2)) & (pixels < content[..., 1:].unsqueeze(2))
    return pixels, torch.where(shown, shares, 0.0)


def _dropping_16_bits(values: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """``(values * shares) >> 16`` of whole numbers of 15 and 12 bits, whose products do not fit into float32.

    The shares are cut in two: 32 of them at a time fit, and so does the rest.
    """
    coarse = torch.floor(shares / 32)
    rest = torch.floor(values * (shares / 32 - coarse))
    return torch.floor(values * (coarse / ONE) + rest / ONE)
