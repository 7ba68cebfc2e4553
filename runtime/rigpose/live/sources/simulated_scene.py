"""Drawn animals that walk about a textured ground, with known keypoints in every frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from rigpose.arrays import Floats, Frames
from rigpose.live.faults import LiveError

COLOURS = {
    "snout": (0, 0, 255),
    "left_ear": (0, 255, 255),
    "right_ear": (0, 255, 0),
    "centre": (255, 255, 0),
    "paw": (255, 0, 255),
    "tail_base": (255, 0, 0),
}
"""Keypoint -> BGR of its disc. Every channel is full or empty, and the ground lies between, so all of them differ from
it and from each other by half a channel at least."""
KEYPOINTS = tuple(COLOURS)
SKELETON = (
    ("snout", "left_ear"),
    ("snout", "right_ear"),
    ("left_ear", "centre"),
    ("right_ear", "centre"),
    ("centre", "paw"),
    ("centre", "tail_base"),
)
LEAST_SIDE = 96
"""On less ground the discs are too small to be seen [px]."""

_BODY = np.array([[0.5, 0.0], [0.28, -0.2], [0.28, 0.2], [0.0, 0.0], [0.0, 0.42], [-0.5, 0.0]])
"""(K, 2) where the keypoints lie: along the heading, and to its right [body lengths]."""
_PAW, _STEPS, _STRIDE = KEYPOINTS.index("paw"), 3.0, 0.12
"""The paw swings so often [Hz] so far [body lengths], as a walking animal's does."""
_GROUND = (95, 145)
"""Darkest and brightest value of the ground."""
_FRACTION = 6
"""Bits of a pixel's fraction that OpenCV is told of a disc's place."""


@dataclass(frozen=True)
class Figure:
    """How large animals are drawn: each has a strip of the ground for itself, so that they never hide each other.

    Attributes:
        strip: Width of a strip [px].
        length: Of a body [px].
        radius: Of a disc [px].
    """

    strip: float
    length: float
    radius: float

    @classmethod
    def of(cls, width: int, height: int, animals: int) -> Figure:
        """The figure for a frame of this size.

        Raises:
            LiveError: So many animals do not fit into it.
        """
        side = min(width / animals, height)
        if side < LEAST_SIDE:
            raise LiveError(
                f"simulated: {animals} animals do not fit into {width}x{height} px; give each {LEAST_SIDE} px of the "
                "width and the height, or ask for fewer."
            )
        return cls(strip=width / animals, length=0.3 * side, radius=0.032 * side)


class SimulatedScene:
    """Animals on their ways; the same for the same seed.

    Attributes:
        ground: (H, W, 3) uint8 BGR, without animals.
        figure: How large they are drawn.
    """

    def __init__(self, width: int, height: int, animals: int, seed: int) -> None:
        """Draw the ground and choose the ways.

        Raises:
            LiveError: So many animals do not fit.
        """
        rng = np.random.default_rng(seed)
        self.figure = Figure.of(width, height, animals)
        self.ground = _ground(width, height, rng)
        self._middle = np.stack([(np.arange(animals) + 0.5) * self.figure.strip, np.full(animals, height / 2)], axis=1)
        # Snout and tail stay inside whatever way the animal looks.
        room = self.figure.length / 2 + 2 * self.figure.radius
        self._reach = np.array([self.figure.strip / 2 - room, height / 2 - room])
        self._turns = rng.uniform(0.15, 0.25, animals) * rng.choice([-1, 1], animals)  # [Hz]
        self._sways = rng.uniform(0.07, 0.13, animals)  # [Hz]
        self._phase = rng.uniform(0, 2 * math.pi, (animals, 2))

    def truth(self, seconds: float) -> Floats:
        """(N, K, 2) where all keypoints are at this time [frame px]."""
        place = self._place(seconds)
        ahead = self._place(seconds + 0.001) - place
        along = ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
        right = np.stack([-along[:, 1], along[:, 0]], axis=1)
        body = np.repeat(_BODY[None], len(place), axis=0)
        body[:, _PAW, 0] += _STRIDE * np.sin(2 * math.pi * _STEPS * seconds + self._phase[:, 0])
        body *= self.figure.length
        return place[:, None] + body[..., :1] * along[:, None] + body[..., 1:] * right[:, None]

    def draw(self, truth: Floats) -> Frames:
        """(H, W, 3) uint8 BGR, a new picture of the ground with a disc at every keypoint (N, K, 2) [frame px]."""
        image = self.ground.copy()
        unit = 1 << _FRACTION
        # The first pixel covers 0..1 here, and has its middle at 0 for OpenCV.
        centres = np.rint((truth - 0.5) * unit).astype(int).tolist()
        radius = round(self.figure.radius * unit)
        for animal in centres:
            for centre, colour in zip(animal, COLOURS.values(), strict=True):
                cv2.circle(image, centre, radius, colour, cv2.FILLED, cv2.LINE_AA, _FRACTION)
        return image

    def _place(self, seconds: float) -> Floats:
        """(N, 2) the middles of the bodies, on rings that breathe: they never stop, so they always look somewhere."""
        around = 2 * math.pi * self._turns * seconds + self._phase[:, 0]
        wide = 0.75 + 0.25 * np.sin(2 * math.pi * self._sways * seconds + self._phase[:, 1])
        return self._middle + self._reach * (wide * np.stack([np.cos(around), np.sin(around)])).T


def _ground(width: int, height: int, rng: np.random.Generator) -> Frames:
    """Blotches and grain in grey, as of bedding."""
    blotches = rng.uniform(0, 1, (-(-height // 16) + 1, -(-width // 16) + 1)).astype(np.float32)
    smooth = cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC)
    grey = 0.7 * smooth + 0.3 * rng.uniform(0, 1, (height, width))
    values = _GROUND[0] + (_GROUND[1] - _GROUND[0]) * np.clip(grey, 0, 1)
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)
