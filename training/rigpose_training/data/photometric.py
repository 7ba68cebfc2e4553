"""What pixels look like: changes of an image that leave its keypoints where they are, or hide or bend them.

Each function takes a uint8 image (H, W, 3) and the random source, and returns a new image.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from scipy.special import ndtri

from rigpose.arrays import Floats, Frames

# Standard normal values at the middle of 256 equal chances: a random byte becomes noise by one look-up, ten
# times faster than drawing normal numbers, and grey levels are whole numbers anyway.
_QUANTILES = ndtri((np.arange(256) + 0.5) / 256)
_QUANTILES /= _QUANTILES.std()


def equalise(image: Frames) -> Frames:
    """Each channel with an even histogram."""
    return cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)])  # type: ignore[return-value]


def motion_blur(image: Frames, rng: Generator) -> Frames:
    """Blur along a line of 3 to 7 px. The line's centre of mass is the pixel itself, so keypoints stay true."""
    length = int(rng.choice([3, 5, 7]))
    angle = rng.uniform(0, np.pi)
    reach = (length - 1) / 2
    across, along = np.meshgrid(np.arange(length) - reach, np.arange(length) - reach)
    offset = np.abs(across * np.sin(angle) - along * np.cos(angle))
    kernel = np.clip(1 - offset, 0, None) * (np.hypot(across, along) <= reach + 0.5)
    return cv2.filter2D(image, -1, kernel / kernel.sum())  # type: ignore[return-value]


def cover(image: Frames, xy: Floats, rng: Generator) -> tuple[Frames, Floats]:
    """Ten black rectangles with sides of 1 to 5 % of the image's; keypoints below them become NaN."""
    height, width = image.shape[:2]
    image, xy = image.copy(), xy.copy()
    for _ in range(10):
        h = int(height * rng.uniform(0.01, 0.05))
        w = int(width * rng.uniform(0.01, 0.05))
        y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
        image[y : y + h, x : x + w] = 0
        hidden = np.all((xy >= (x, y)) & (xy < (x + w, y + h)), axis=-1)
        xy[hidden] = np.nan
    return image, xy


def bend(image: Frames, xy: Floats, rng: Generator) -> tuple[Frames, Floats]:
    """A smooth random displacement of pixels and keypoints (Simard et al. 2003; alpha 20, sigma 5 px)."""
    height, width = image.shape[:2]
    noise = rng.uniform(-1, 1, size=(height, width)).astype(np.float32)
    shift = 20 * cv2.GaussianBlur(noise, (17, 17), 5)  # (H, W) the same along x and y [px]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    bent = cv2.remap(image, columns + shift, rows + shift, cv2.INTER_CUBIC)
    return bent, _follow(xy, shift)  # type: ignore[return-value]


def _follow(xy: Floats, shift: Floats) -> Floats:
    """Where points go: the target ``p`` with ``p + shift(p) = xy``, found by repeated substitution."""
    known = ~np.isnan(xy).any(axis=-1)
    source = xy[known].astype(np.float32)
    target = source.copy()
    for _ in range(10 if len(source) else 0):
        there = cv2.remap(shift, target[:, 0], target[:, 1], cv2.INTER_LINEAR)
        target = source - np.asarray(there).reshape(-1, 1)
    moved = xy.copy()
    moved[known] = target
    return moved


def fade(image: Frames, rng: Generator) -> Frames:
    """Blend with the image in grey; the grey has a share of .5 to 1. Channels are RGB."""
    share = rng.uniform(0.5, 1.0)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, 1 - share, grey, share, 0)  # type: ignore[return-value]


def add_noise(image: Frames, rng: Generator, *, std: float) -> Frames:
    """Gaussian noise for each pixel and channel; its variance is drawn from 0 to ``std`` squared [grey levels]."""
    level = np.sqrt(rng.uniform(0, std**2))
    table = np.round(_QUANTILES * level)
    brighter, darker = (np.clip(side, 0, 255).astype(np.uint8) for side in (table, -table))
    chance = rng.integers(2**64, size=-(-image.size // 8), dtype=np.uint64).view(np.uint8)[: image.size]
    chance = chance.reshape(image.shape)
    # At each pixel one of the two is 0, so that the sum of both saturates as one step would.
    lit = cv2.add(image, cv2.LUT(chance, brighter))
    return cv2.subtract(lit, cv2.LUT(chance, darker))  # type: ignore[return-value]
