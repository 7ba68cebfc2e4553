"""Image and labels in, what the network learns from out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

from rigpose.arrays import Array, Floats, Frames
from rigpose.geometry import ScaleShift
from rigpose_training.data import photometric
from rigpose_training.data.augmentation import Augmentation, AutoPadding, Chance, read_augmentation
from rigpose_training.data.top_down import Aim, cut, plan_around, seen_through
from rigpose_training.data.truth import Sample, Truth, inside
from rigpose_training.data.warp import sample_warp
from rigpose_training.pose_graph import IMAGENET_MEAN, IMAGENET_STD


class Transform:
    """The steps of one section. It holds no random state: the caller's generator decides everything."""

    def __init__(self, steps: Augmentation) -> None:
        self.steps = steps

    def __repr__(self) -> str:
        return f"Transform({self.steps})"

    def __call__(self, image: Frames, truth: Truth, rng: Generator) -> Sample:
        """Augment one image (H, W, 3), uint8 RGB; ``rng`` is the source of every draw."""
        warp = sample_warp(self.steps, (image.shape[0], image.shape[1]), truth.keypoints, rng)
        return self._seen(Sample(warp.image(image), warp.truth(truth)), rng)

    def crop(self, image: Frames, truth: Truth, aim: Aim, rng: Generator) -> Sample:
        """Augment one image and cut the crop around one of its animals, both in one warp.

        Without a change of geometry the pixels are those that the rig cuts.

        Args:
            image: (H, W, 3) uint8 RGB.
            truth: Its labels.
            aim: Where the animal is.
            rng: The source of every draw.
        """
        warp = sample_warp(self.steps, (image.shape[0], image.shape[1]), truth.keypoints, rng)
        crop = plan_around(aim, warp, rng)
        view = Sample(cut(image, warp, crop), seen_through(warp, crop).truth(truth), crop.to_frame)
        return self._seen(view, rng)

    def to_network(self, image: Frames, out: Floats | None = None) -> Floats:
        """(h, w, 3) uint8 RGB -> (3, h, w) float32, scaled as the section asks; in ``out`` if it is given."""
        if out is None:
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

    def _seen(self, view: Sample, rng: Generator) -> Sample:
        """The sample with another look, and padded."""
        truth = view.truth
        xy = np.concatenate([truth.keypoints.reshape(-1, 2), truth.unique])
        image, xy = self._photometric(view.image, xy, rng)
        animals, parts = truth.keypoints.shape[:2]
        keypoints, unique = xy[: animals * parts].reshape(animals, parts, 2), xy[animals * parts :]
        view = replace(view, image=image, truth=replace(truth, keypoints=keypoints, unique=unique))
        if self.steps.auto_padding is not None:
            view = _padded(view, self.steps.auto_padding, rng)
        return view

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
            xy = inside(xy, (image.shape[0], image.shape[1]))
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


def _padded(view: Sample, padding: AutoPadding, rng: Generator) -> Sample:
    height, width = view.image.shape[:2]
    down = _missing(height, padding.min_height, padding.pad_height_divisor)
    across = _missing(width, padding.min_width, padding.pad_width_divisor)
    if not (down or across):
        return view
    top, left = _before(padding.position, down, across, rng)
    mirrored = padding.border_mode == "reflect_101"
    border = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_CONSTANT
    padded: Array = cv2.copyMakeBorder(
        view.image, top, down - top, left, across - left, border, value=[padding.border_value or 0.0] * 3
    )
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], float)
    (sx, sy), (x, y) = view.to_frame.scale, view.to_frame.shift
    return Sample(
        padded,
        view.truth.moved(shift, (height + down, width + across)),
        ScaleShift((sx, sy), (x - left * sx, y - top * sy)),
    )


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
