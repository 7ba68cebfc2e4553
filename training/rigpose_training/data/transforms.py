"""Image and labels in, what the network learns from out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

from rigpose.arrays import Floats, Frames
from rigpose_training.data import photometric
from rigpose_training.data.augmentation import Augmentation, AutoPadding, Chance, read_augmentation
from rigpose_training.data.warp import inside, sample_warp
from rigpose_training.pose_graph import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True)
class Transformed:
    """An image and its labels in the network's frame.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        keypoints: (N, K, 2) x, y [image px], NaN missing or outside.
        unique: (U, 2) x, y [image px] of keypoints that exist once, NaN missing or outside.
    """

    image: Frames
    keypoints: Floats
    unique: Floats


class Transform:
    """The steps of one section. It holds no random state: the caller's generator decides everything."""

    def __init__(self, steps: Augmentation) -> None:
        self.steps = steps

    def __repr__(self) -> str:
        return f"Transform({self.steps})"

    def __call__(
        self, image: Frames, keypoints: Floats, rng: Generator, *, unique: Floats | None = None
    ) -> Transformed:
        """Augment one image.

        Args:
            image: (H, W, 3) uint8 RGB.
            keypoints: (N, K, 2) x, y [image px], NaN missing.
            rng: The source of every draw.
            unique: (U, 2) x, y [image px], NaN missing.
        """
        animals, parts = keypoints.shape[:2]
        once = np.empty((0, 2), np.float32) if unique is None else unique
        warp = sample_warp(self.steps, (image.shape[0], image.shape[1]), keypoints, rng)
        moved = warp.keypoints(keypoints).reshape(-1, 2)
        xy = np.concatenate([moved, _once(warp.points, once, warp.size)])
        image, xy = self._photometric(warp.image(image), xy, rng)
        if self.steps.auto_padding is not None:
            image, xy = _padded(image, xy, self.steps.auto_padding, rng)
        xy = inside(xy, (image.shape[0], image.shape[1]))
        return Transformed(image, xy[: animals * parts].reshape(animals, parts, 2), xy[animals * parts :])

    def to_network(self, image: Frames) -> Floats:
        """(h, w, 3) uint8 RGB -> (3, h, w) float32, scaled as the section asks."""
        out = np.empty((3, *image.shape[:2]), np.float32)
        for channel, plane in enumerate(cv2.split(image)):
            scale, shift = self._scaling(channel)
            np.multiply(plane, np.float32(scale), out=out[channel])
            out[channel] += np.float32(shift)
        return out

    def _scaling(self, channel: int) -> tuple[float, float]:
        if self.steps.normalize_images:
            mean, std = IMAGENET_MEAN[channel], IMAGENET_STD[channel]
            return 1 / (255 * std), -mean / std
        return (1 / 255 if self.steps.scale_to_unit_range else 1.0), 0.0

    def _photometric(self, image: Frames, xy: Floats, rng: Generator) -> tuple[Frames, Floats]:
        steps = self.steps
        if _happens(steps.hist_eq, rng):
            image = photometric.equalise(image)
        if _happens(steps.motion_blur, rng):
            image = photometric.motion_blur(image, rng)
        if _happens(steps.covering, rng):
            image, xy = photometric.cover(image, xy, rng)
        if _happens(steps.elastic_transform, rng):
            image, xy = photometric.bend(image, xy, rng)
        if _happens(steps.grayscale, rng):
            image = photometric.fade(image, rng)
        if steps.gaussian_noise is not None and rng.random() < 0.5:
            image = photometric.add_noise(image, rng, std=steps.gaussian_noise)
        return image, xy


def build_transforms(section: Mapping[str, Any], *, where: str = "data.train") -> Transform:
    """The transform that a ``data.train`` or ``data.inference`` section describes.

    Raises:
        ConfigError: An unknown key (the nearest known one is named), or a value out of range.
    """
    return Transform(read_augmentation(section, where=where))


def _happens(chance: Chance | None, rng: Generator) -> bool:
    return chance is not None and rng.random() < chance.p


def _once(points: Floats, unique: Floats, size: tuple[int, int]) -> Floats:
    """Keypoints that exist once move like the others and take no part in left and right."""
    moved = unique @ points[:2, :2].T + points[:2, 2]
    return inside(moved.astype(np.float32), size)


def _padded(image: Frames, xy: Floats, padding: AutoPadding, rng: Generator) -> tuple[Frames, Floats]:
    height, width = image.shape[:2]
    down = _missing(height, padding.min_height, padding.pad_height_divisor)
    across = _missing(width, padding.min_width, padding.pad_width_divisor)
    if not (down or across):
        return image, xy
    top, left = _before(padding.position, down, across, rng)
    mirrored = padding.border_mode == "reflect_101"
    border = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_CONSTANT
    padded = cv2.copyMakeBorder(
        image, top, down - top, left, across - left, border, value=[padding.border_value or 0.0] * 3
    )
    return padded, xy + np.array([left, top], xy.dtype)  # type: ignore[return-value]


def _missing(side: int, least: int | None, divisor: int | None) -> int:
    if least is not None:
        return max(0, least - side)
    return -side % (divisor or 1)


def _before(position: str, down: int, across: int, rng: Generator) -> tuple[int, int]:
    """(top, left) rows and columns to add; ``position`` names the corner where the image stays."""
    if position == "random":
        return int(rng.integers(down + 1)), int(rng.integers(across + 1))
    if position == "center":
        return down // 2, across // 2
    return (down if "bottom" in position else 0), (across if "right" in position else 0)
