"""The ``data.train`` section of ``pytorch_config.yaml`` as dataclasses, with DeepLabCut's names and defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rigpose.errors import ConfigError
from rigpose.models.crops import CropSpec
from rigpose.models.preprocess import Resize
from rigpose.schema import parse
from rigpose_training.data.collate import BatchResize, read_collate

NOISE_STD = 0.05 * 255
BBOX_MARGIN = 25
"""Between keypoints and the edge of their box [px], where the configuration says nothing: DeepLabCut's."""


@dataclass(frozen=True)
class Chance:
    """An augmentation without parameters of its own, applied with probability ``p``."""

    p: float = 0.5


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror left and right; ``symmetries`` are pairs of body part indices that change their names with it."""

    p: float = 0.5
    symmetries: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Affine:
    """Rotation [+-deg], scaling [low, high] and translation [+-px] about the image's centre."""

    p: float = 0.9
    rotation: float | None = None
    scaling: tuple[float, float] | float | None = None
    translation: int | None = None


@dataclass(frozen=True)
class RandomBBoxTransform:
    """Jitter of an animal's box before its crop is cut; see ``rigpose_training.data.box_jitter``.

    Attributes:
        shift_factor: Largest shift of the centre, as a share of the box's sides.
        shift_prob: Chance of a shift.
        scale_factor: Least and largest factor of each side.
        scale_prob: Chance of a change of size.
        p: Chance of any of it.
    """

    shift_factor: float = 0.1
    shift_prob: float = 0.25
    scale_factor: tuple[float, float] = (0.75, 1.25)
    scale_prob: float = 1.0
    p: float = 1.0


@dataclass(frozen=True)
class CropSampling:
    """A crop of fixed size.

    Attributes:
        width: Of the crop [px].
        height: Of the crop [px].
        max_shift: Largest distance of the crop's centre from the chosen keypoint, as a share of the crop's size; at
            most 0.4, so that the keypoint stays inside.
        method: Where the centre lies: anywhere, at a keypoint, at a keypoint with crowded ones preferred, or
            (hybrid) anywhere and crowded by turns.
    """

    width: int
    height: int
    max_shift: float = 0.4
    method: Literal["uniform", "keypoints", "density", "hybrid"] = "hybrid"


@dataclass(frozen=True)
class AutoPadding:
    """Padding to a least size, or to multiples of a divisor."""

    min_height: int | None = None
    min_width: int | None = None
    pad_height_divisor: int | None = None
    pad_width_divisor: int | None = None
    position: Literal["random", "center", "top_left", "top_right", "bottom_left", "bottom_right"] = "random"
    border_mode: Literal["reflect_101", "constant"] = "reflect_101"
    border_value: float | None = None
    border_mask_value: float | None = None


@dataclass(frozen=True)
class TopDownCrop:
    """The crop around an animal, in DeepLabCut's words.

    Where the file does not mention the context, conditional networks see none: so does DeepLabCut's inference.
    """

    width: int = 256
    height: int = 256
    margin: int = 0
    crop_with_context: bool | None = None

    def spec(self, *, conditional: bool) -> CropSpec:
        """The same for the rig."""
        context = not conditional if self.crop_with_context is None else self.crop_with_context
        return CropSpec(self.width, self.height, self.margin, context)


@dataclass(frozen=True)
class _Section:
    """The section as it stands in the file."""

    resize: Resize | None = None
    longest_max_size: int | None = None
    hflip: bool | float | HorizontalFlip | None = None
    affine: Affine | None = None
    random_bbox_transform: RandomBBoxTransform | None = None
    crop_sampling: CropSampling | None = None
    hist_eq: bool | Chance | None = None
    motion_blur: bool | Chance | None = None
    covering: bool | Chance | None = None
    elastic_transform: bool | Chance | None = None
    grayscale: bool | Chance | None = None
    gaussian_noise: bool | float | None = None
    auto_padding: AutoPadding | None = None
    normalize_images: bool | None = None
    scale_to_unit_range: bool | None = None
    top_down_crop: TopDownCrop | None = None
    collate: dict[str, Any] | None = None


@dataclass(frozen=True)
class Augmentation:
    """Every step of a transform, in DeepLabCut's order; none means that the step is left out.

    ``gaussian_noise`` is the largest standard deviation [grey levels]. ``top_down_crop`` and
    ``random_bbox_transform`` are for the crops of top-down models alone, ``collate`` is for batches.
    """

    resize: Resize | None = None
    longest_max_size: int | None = None
    hflip: HorizontalFlip | None = None
    affine: Affine | None = None
    random_bbox_transform: RandomBBoxTransform | None = None
    crop_sampling: CropSampling | None = None
    hist_eq: Chance | None = None
    motion_blur: Chance | None = None
    covering: Chance | None = None
    elastic_transform: Chance | None = None
    grayscale: Chance | None = None
    gaussian_noise: float | None = None
    auto_padding: AutoPadding | None = None
    normalize_images: bool = False
    scale_to_unit_range: bool = False
    top_down_crop: TopDownCrop | None = None
    collate: BatchResize | None = None


def read_augmentation(section: Mapping[str, Any], *, where: str = "data.train") -> Augmentation:
    """The steps that a section asks for.

    Raises:
        ConfigError: An unknown key (the nearest known one is named), or a value out of range.
    """
    given = parse(_Section, section, where=where)
    found = Augmentation(
        resize=given.resize,
        longest_max_size=given.longest_max_size,
        hflip=_flip(given.hflip),
        affine=given.affine,
        random_bbox_transform=given.random_bbox_transform,
        crop_sampling=given.crop_sampling,
        hist_eq=_chance(given.hist_eq),
        motion_blur=_chance(given.motion_blur),
        covering=_chance(given.covering),
        elastic_transform=_chance(given.elastic_transform),
        grayscale=_chance(given.grayscale),
        gaussian_noise=NOISE_STD if given.gaussian_noise is True else given.gaussian_noise or None,
        auto_padding=given.auto_padding,
        normalize_images=bool(given.normalize_images),
        scale_to_unit_range=bool(given.scale_to_unit_range),
        top_down_crop=given.top_down_crop,
        collate=read_collate(given.collate, where=f"{where}.collate") if given.collate else None,
    )
    _check(found, where)
    return found


def _chance(value: bool | Chance | None) -> Chance | None:  # noqa: FBT001
    if isinstance(value, Chance):
        return value
    return Chance() if value else None


def _flip(value: bool | float | HorizontalFlip | None) -> HorizontalFlip | None:  # noqa: FBT001
    if isinstance(value, HorizontalFlip):
        return value
    if not value:
        return None
    return HorizontalFlip() if value is True else HorizontalFlip(p=float(value))


def _check(found: Augmentation, where: str) -> None:
    crop, scaling, padding = found.crop_sampling, found.affine and found.affine.scaling, found.auto_padding
    if crop is not None and min(crop.width, crop.height) < 1:
        raise ConfigError(f"{where}.crop_sampling: {crop.width} x {crop.height} px is no size; give at least 1 x 1.")
    low = scaling[0] if isinstance(scaling, tuple) else scaling
    if low is not None and not (low > 0 and math.isfinite(low)):
        raise ConfigError(f"{where}.affine.scaling: {scaling} is no scale; give numbers above 0, such as [0.5, 1.25].")
    if padding is not None and (
        (padding.min_height and padding.pad_height_divisor) or (padding.min_width and padding.pad_width_divisor)
    ):
        raise ConfigError(f"{where}.auto_padding: give a least size or a divisor for each side, not both.")
