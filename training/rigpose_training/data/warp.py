"""Where pixels and points go: resize, flip, affine, crop and pad as ONE matrix, sampled once.

Sampling makes a ``Warp`` and no random number is drawn afterwards, so the image and its keypoints cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from rigpose.arrays import Array, Floats, Frames
from rigpose.models.preprocess import InputSpec, plan
from rigpose_training.data.augmentation import Affine, Augmentation, CropSampling, HorizontalFlip
from rigpose_training.data.truth import Truth, inside, place


@dataclass(frozen=True)
class Warp:
    """A change of frame for pixels and points.

    Attributes:
        pixels: (3, 3) source pixel index -> target pixel index.
        points: (3, 3) source label -> target label [px]. It differs from ``pixels`` after a resize only: the rig
            resizes with cv2, whose pixel ``i`` lands at ``(i + .5) * scale - .5``, and takes poses back by the
            scale alone, so the labels are scaled alone too and the way back is exact.
        size: (h, w) of the target.
        order: (K,) body part that each row holds, or none: mirrored animals exchange left and right.
    """

    pixels: Floats
    points: Floats
    size: tuple[int, int]
    order: Array | None = None

    @classmethod
    def nothing(cls, size: tuple[int, int]) -> Warp:
        """The frame as it is."""
        return cls(np.eye(3), np.eye(3), size)

    def then(self, matrix: Floats, size: tuple[int, int]) -> Warp:
        """This warp and afterwards one that moves pixels and points alike."""
        return Warp(matrix @ self.pixels, matrix @ self.points, size, self.order)

    @property
    def still(self) -> bool:
        """Whether every pixel stays where it is."""
        return np.array_equal(self.pixels, np.eye(3))

    def image(self, image: Frames) -> Frames:
        """(H, W, 3) -> (h, w, 3); black where the source ends."""
        h, w = self.size
        if image.shape[:2] == (h, w) and self.still:
            return image
        if self._whole_pixels:
            return _shifted(image, self.pixels, self.size)
        return cv2.warpAffine(image, self.pixels[:2], (w, h), flags=cv2.INTER_LINEAR)  # type: ignore[return-value]

    @property
    def _whole_pixels(self) -> bool:
        """Whether pixels move by whole numbers, and perhaps in a mirror."""
        turn, shift = np.abs(self.pixels[:2, :2]), self.pixels[:2, 2]
        return self.pixels[1, 1] == 1 and np.array_equal(turn, np.eye(2)) and np.array_equal(shift, np.round(shift))

    def truth(self, truth: Truth) -> Truth:
        """The labels in the target's frame; those that left it are lost."""
        return truth.moved(self.points, self.size, self.order)


def _shifted(image: Frames, pixels: Floats, size: tuple[int, int]) -> Frames:
    """What ``cv2.warpAffine`` gives for whole pixels, many times faster."""
    h, w = size
    left, top = int(pixels[0, 2]), int(pixels[1, 2])
    if pixels[0, 0] < 0:
        image, left = np.flip(image, axis=1), left - (image.shape[1] - 1)
    seen = image[max(0, -top) : max(0, h - top), max(0, -left) : max(0, w - left)]
    out = np.zeros((h, w, 3), np.uint8)
    top, left = max(0, top), max(0, left)
    out[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
    return out


def sample_warp(steps: Augmentation, size: tuple[int, int], xy: Floats, rng: Generator) -> Warp:
    """Draw the geometry of one image.

    Args:
        steps: What may happen.
        size: (H, W) of the image.
        xy: (N, K, 2) its keypoints, NaN missing [image px]; a crop may look for them.
        rng: The source of every draw.
    """
    warp = Warp.nothing(size)
    if steps.resize is not None:
        warp = _resized(warp, InputSpec(resize=steps.resize))
    if steps.longest_max_size is not None:
        warp = _resized(warp, InputSpec(longest_side=steps.longest_max_size))
    if steps.hflip is not None and rng.random() < steps.hflip.p:
        warp = _flipped(warp, steps.hflip, parts=xy.shape[1])
    if steps.affine is not None and rng.random() < steps.affine.p:
        warp = warp.then(_affine(steps.affine, warp.size, rng), warp.size)
    if steps.crop_sampling is not None:
        warp = _cropped(warp, steps.crop_sampling, xy, rng)
    return warp


def _resized(warp: Warp, spec: InputSpec) -> Warp:
    """The rig's own plan, so that training sees the sizes that the rig makes."""
    steps = plan(spec, *warp.size)
    (height, width), (h, w) = steps.frame_size, steps.content_size
    sx, sy = w / width, h / height
    index = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
    return Warp(index @ warp.pixels, np.diag([sx, sy, 1.0]) @ warp.points, steps.input_size)


def _flipped(warp: Warp, flip: HorizontalFlip, *, parts: int) -> Warp:
    h, w = warp.size
    order = np.arange(parts)
    for left, right in flip.symmetries:
        order[left], order[right] = right, left
    mirror = np.array([[-1, 0, w - 1], [0, 1, 0], [0, 0, 1]], float)
    mirrored = warp.then(mirror, (h, w))
    return Warp(mirrored.pixels, mirrored.points, mirrored.size, order)


def _affine(affine: Affine, size: tuple[int, int], rng: Generator) -> Floats:
    """(3, 3) rotation and scale about the centre pixel, then a translation by whole pixels."""
    low, high = _range(affine.scaling)
    scale = rng.uniform(low, high)
    angle = np.deg2rad(rng.uniform(-1, 1) * (affine.rotation or 0.0))
    reach = affine.translation or 0
    shift = rng.integers(-reach, reach, size=2, endpoint=True)
    centre = (np.array(size[::-1]) - 1) / 2
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = centre + shift - turn @ centre
    return matrix


def _range(scaling: tuple[float, float] | float | None) -> tuple[float, float]:
    if scaling is None:
        return 1.0, 1.0
    return scaling if isinstance(scaling, tuple) else (scaling, scaling)


def _cropped(warp: Warp, crop: CropSampling, xy: Floats, rng: Generator) -> Warp:
    """Pad evenly where the image is smaller than the crop, then cut the crop; both are one shift by whole pixels."""
    size = np.array([crop.width, crop.height])
    image = np.array(warp.size[::-1])
    spare = image - size  # negative where the image must be padded
    start = np.floor(rng.random(2) * (np.maximum(spare, 0) + 1))
    method = crop.method
    if method == "hybrid":
        method = ("uniform", "density")[rng.integers(2)]
    points = inside(place(xy, warp.points), warp.size).reshape(-1, 2)
    points = points[~np.isnan(points).any(axis=1)]
    if method != "uniform" and len(points):
        chosen = points[rng.choice(len(points), p=_weights(points, method, radius=0.1 * image.min()))]
        reach = min(max(crop.max_shift, 0.0), 0.4) * size
        centre = chosen + rng.uniform(-1, 1, size=2) * reach
        start = np.round(np.clip(centre - size / 2, 0, np.maximum(spare, 0)))
    start = np.where(spare < 0, np.floor(spare / 2), start)
    matrix = np.eye(3)
    matrix[:2, 2] = -start
    return warp.then(matrix, (crop.height, crop.width))


def _weights(points: Floats, method: str, *, radius: float) -> Floats:
    """(M,) chance of each keypoint [0, 1]: all alike, or in proportion to the keypoints within ``radius`` of it."""
    if method == "keypoints":
        return np.full(len(points), 1 / len(points))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    crowd = (distance <= radius).sum(axis=1)
    return crowd / crowd.sum()
