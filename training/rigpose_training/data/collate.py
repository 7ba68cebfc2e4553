"""``data.train.collate``: the images of a batch, whatever their sizes, resized and cropped to one that is drawn.

The resizing happens on uint8 images, before they become network input, and what lies beside them is black.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.random import Generator

from rigpose.errors import ConfigError
from rigpose.geometry import ScaleShift
from rigpose.schema import parse, suggest
from rigpose_training.data.truth import Sample

Size: TypeAlias = tuple[int, int]
"""(h, w) [px]."""


@dataclass(frozen=True)
class ResizeFromDataSizeCollate:
    """All images get the shape of the batch's first one, scaled at random.

    Attributes:
        min_scale: Smallest scale of the first image's size.
        max_scale: Largest scale.
        min_short_side: Least length of the shorter side [px].
        max_short_side: Largest length of the shorter side [px].
        max_ratio: Largest longer / shorter side.
        multiple_of: Both sides are enlarged to a multiple of this.
        to_square: Squares with the shorter side instead of the image's shape.
        max_shift: Furthest that a crop may reach beyond the image [px].
        max_size: Longest side of an image after resizing [px]; black fills the rest.
        seed: Of the sizes, beside the training's.
    """

    min_scale: float
    max_scale: float
    min_short_side: int = 128
    max_short_side: int = 1152
    max_ratio: float = 2.0
    multiple_of: int | None = None
    to_square: bool = False
    max_shift: int = 10
    max_size: int = 2048
    seed: int = 0

    def target(self, first: Size, rng: Generator) -> Size:
        """Draw the batch's image size, given the size of its first image."""
        scale = rng.uniform(self.min_scale, self.max_scale)
        short = round(min(self.max_short_side, max(self.min_short_side, scale * min(first))))
        ratio = 1.0 if self.to_square else min(max(first) / min(first), self.max_ratio)
        short, long = self._rounded(short), self._rounded(int(ratio * short))
        return (short, long) if first[0] < first[1] else (long, short)

    def _rounded(self, side: int) -> int:
        multiple = self.multiple_of or 1
        return -(-side // multiple) * multiple


@dataclass(frozen=True)
class ResizeFromListCollate:
    """All images get one of some sizes.

    Attributes:
        scales: Sides of squares, or (h, w) [px].
        max_shift: Furthest that a crop may reach beyond the image [px].
        max_size: Longest side of an image after resizing [px]; black fills the rest.
        seed: Of the sizes, beside the training's.
    """

    scales: tuple[int | Size, ...]
    max_shift: int = 10
    max_size: int = 2048
    seed: int = 0

    def target(self, first: Size, rng: Generator) -> Size:  # noqa: ARG002  # the other section needs it
        """Draw the batch's image size."""
        chosen = self.scales[rng.integers(len(self.scales))]
        return chosen if isinstance(chosen, tuple) else (chosen, chosen)


BatchResize: TypeAlias = ResizeFromDataSizeCollate | ResizeFromListCollate
_SECTIONS: dict[str, type[BatchResize]] = {
    "ResizeFromDataSizeCollate": ResizeFromDataSizeCollate,
    "ResizeFromListCollate": ResizeFromListCollate,
}


def read_collate(section: Mapping[str, Any], *, where: str) -> BatchResize:
    """The resizing that a ``collate`` section asks for.

    Raises:
        ConfigError: An unknown type or key, or a size that is none.
    """
    name = section.get("type")
    if name not in _SECTIONS:
        raise ConfigError(f"{where}.type: {name!r} is none of {', '.join(_SECTIONS)}{suggest(name, [*_SECTIONS])}.")
    found = parse(_SECTIONS[name], section, where=where, ignored=("type",))
    if isinstance(found, ResizeFromListCollate):
        if not found.scales or min(np.min(scale) for scale in found.scales) < 1:
            raise ConfigError(f"{where}.scales: give at least one size, such as [448, 512] or [[480, 640]].")
    elif not 0 < found.min_scale <= found.max_scale or found.max_ratio < 1:
        raise ConfigError(
            f"{where}: needs 0 < min_scale <= max_scale and max_ratio of 1 or more, found {found.min_scale}, "
            f"{found.max_scale} and {found.max_ratio}."
        )
    return found


def resize_batch(samples: Sequence[Sample], spec: BatchResize, rng: Generator) -> list[Sample]:
    """Samples of one size."""
    target = spec.target(samples[0].image.shape[:2], rng)
    return [_resized(sample, target, spec, rng) for sample in samples]


def _resized(sample: Sample, target: Size, spec: BatchResize, rng: Generator) -> Sample:
    """Scale an image so that it covers ``target``, if ``max_size`` lets it, and crop that at a random place."""
    size = sample.image.shape[:2]
    h, w = _covering(size, target, spec.max_size)
    top, left = (_offset(have, want, spec.max_shift, rng) for have, want in zip((h, w), target, strict=True))
    # At less than half the size a linear look-up would skip pixels.
    how = cv2.INTER_AREA if 2 * h < size[0] else cv2.INTER_LINEAR
    scaled = cv2.resize(sample.image, (w, h), interpolation=how)
    image = np.zeros((*target, 3), np.uint8)
    seen = scaled[max(0, top) : top + target[0], max(0, left) : left + target[1]]
    image[max(0, -top) : h - top, max(0, -left) : w - left] = seen
    sx, sy = w / size[1], h / size[0]
    (fx, fy), (x, y) = sample.to_frame.scale, sample.to_frame.shift
    return Sample(
        image,
        sample.truth.moved(np.array([[sx, 0, -left], [0, sy, -top], [0, 0, 1]]), target),
        ScaleShift((fx / sx, fy / sy), (x + left * fx / sx, y + top * fy / sy)),
    )


def _covering(size: Size, target: Size, longest: int) -> Size:
    scale = max(target[0] / size[0], target[1] / size[1])
    scale = min(scale, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _offset(have: int, want: int, shift: int, rng: Generator) -> int:
    """First row or column of the crop; negative where black comes before the image."""
    low, high = min(0, have - want) - shift, max(0, have - want) + shift
    reach = min(have, want) // 2  # at least half of what can be seen is
    return int(rng.integers(max(low, -(want // 2)), min(high, max(0, have - want) + reach), endpoint=True))
