"""A drawn world with known truth: mice that walk over bedding and over each other, for tests and the demonstration.

No file is needed, and the truth is exact to a fraction of a pixel, which no human label is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from rigpose.arrays import Array, Floats, Frames
from rigpose_training.scene.drawing import (
    REACH,
    Look,
    Posture,
    anatomy,
    draw_animal,
    draw_ground,
    limbs,
    silhouette,
)
from rigpose_training.scene.furniture import Landmark, Shelter
from rigpose_training.scene.occlusion import Crossing, cover, find_crossings, overlapping, visible_points

KEYPOINTS = ("snout", "leftear", "rightear", "spine", "tailbase", "tailtip")
SKELETON = (
    ("snout", "leftear"),
    ("snout", "rightear"),
    ("leftear", "spine"),
    ("rightear", "spine"),
    ("spine", "tailbase"),
    ("tailbase", "tailtip"),
)


LANDMARK = "landmark"
# BGR of livestock markers, easily told apart; the eleventh animal would wear the first one's again.
DYES = (
    (60, 60, 225),
    (215, 120, 40),
    (70, 190, 70),
    (40, 205, 235),
    (190, 70, 175),
    (225, 215, 60),
    (30, 130, 245),
    (235, 235, 235),
    (40, 30, 35),
    (160, 150, 245),
)


@dataclass(frozen=True)
class Staging:
    """What a scene shows besides animals that look alike.

    Attributes:
        marked: Every animal wears dye of its own colour, so that it can be told from the others.
        shelter: A roof on posts, under which animals disappear for a while.
        landmark: A plate in the ground, a keypoint that exists once per frame; animals walk over it.
    """

    marked: bool = False
    shelter: bool = False
    landmark: bool = False


@dataclass(frozen=True)
class SceneTruth:
    """What is where in one picture; of a recording, with a leading axis F.

    Attributes:
        xy: (N, K, 2) x, y [frame px, the first pixel's centre is 0, as in labels], of hidden keypoints, too.
        visible: (N, K) bool, whether neither another animal nor the shelter covers the keypoint.
        overlaps: (N, N) bool, whose bodies overlap whose; a tail alone does not count.
        unique: (U, 2) x, y [frame px] of the landmark, if there is one.
        unique_visible: (U,) bool.
    """

    xy: Floats
    visible: Array
    overlaps: Array
    unique: Floats
    unique_visible: Array

    @property
    def labels(self) -> tuple[Floats, Floats]:
        """``xy`` and ``unique`` as a person labels them: NaN where nothing is seen."""
        return (
            np.where(self.visible[..., None], self.xy, np.nan),
            np.where(self.unique_visible[..., None], self.unique, np.nan),
        )


class Scene:
    """Animals on a ground, as a camera sees them from above; the same arguments give the same pictures.

    An animal lies above those before it, so that the last one is never hidden by another.

    Args:
        seed: Where the animals walk, and which part of the ground the camera sees.
        size: (H, W) of the pictures; the animals grow with the shorter side, and more than two are smaller.
        animals: How many.
        world: Which ground. Two scenes of one world share their bedding as two recordings of one lab do.
        look: Colours of the animals.
        staging: What is there besides.
    """

    def __init__(
        self,
        seed: int,
        *,
        size: tuple[int, int] = (256, 256),
        animals: int = 1,
        world: int = 0,
        look: Look | None = None,
        staging: Staging | None = None,
    ) -> None:
        self.size = size
        self.animals = animals
        staging = staging or Staging()
        dyes = [DYES[i % len(DYES)] if staging.marked else None for i in range(animals)]
        self._looks = [replace(look or Look(), dye=dye) for dye in dyes]
        self._seed = seed
        # An animal is about 100 px long in 256; more than two of them share the area that two have.
        self._scale = 1.1 * min(size) / 256 * min(1.0, (2 / max(animals, 1)) ** 0.5)
        rng = np.random.default_rng([seed, 1])
        self._ground = _view(size, world, rng)
        self._noise = _noise(size, rng)
        self._walks = [_Walk(np.random.default_rng([seed, 2, i]), size, self._scale) for i in range(animals)]
        furniture = np.random.default_rng([seed, 4])
        self._shelter = Shelter.draw(furniture, size, self._scale) if staging.shelter else None
        # A laboratory's landmark does not move between recordings.
        self._landmark = Landmark.draw(np.random.default_rng([world, 5]), size, self._scale)
        self._unique = self._landmark.centre[None] if staging.landmark else np.empty((0, 2))
        if staging.landmark:
            self._landmark.paint(self._ground)

    def frame(self, t: int) -> tuple[Frames, Floats]:
        """Picture number ``t`` and where the animals are in it.

        Returns:
            (H, W, 3) BGR uint8, and (N, K, 2) x, y [frame px, the first pixel's centre is 0, as in labels].
        """
        picture = self._ground.copy()
        truth = np.empty((self.animals, len(KEYPOINTS), 2))
        for i, (walk, look) in enumerate(zip(self._walks, self._looks, strict=True)):
            posture = walk.posture(t)
            body = anatomy(posture)
            draw_animal(picture, body, posture, look)
            truth[i] = body.keypoints
        if self._shelter is not None:
            self._shelter.paint(picture)
        return self._photograph(picture, t), truth

    def truth(self, t: int) -> Floats:
        """Where the animals are in picture ``t``, without drawing it, (N, K, 2) [frame px]."""
        return np.stack([anatomy(walk.posture(t)).keypoints for walk in self._walks])

    def full_truth(self, t: int) -> SceneTruth:
        """What is where in picture ``t``, and what of it can be seen, without drawing the picture."""
        postures = [walk.posture(t) for walk in self._walks]
        bodies = [anatomy(posture) for posture in postures]
        trunks = cover([silhouette(body, self._scale) for body in bodies], self.size)
        layers = trunks | cover([limbs(*pair) for pair in zip(bodies, postures, strict=True)], self.size)
        if self._shelter is not None:
            layers = np.concatenate([layers, cover([[self._shelter.outline()]], self.size)])
        xy = np.stack([body.keypoints for body in bodies])
        return SceneTruth(
            xy=xy,
            visible=visible_points(xy, layers, above=range(1, self.animals + 1)),
            overlaps=overlapping(trunks),
            unique=self._unique,
            unique_visible=visible_points(self._unique[None], layers, above=[0])[0],
        )

    def crossings(self, frames: int) -> tuple[Crossing, ...]:
        """Which animals cross, and when, in the first ``frames`` pictures."""
        return find_crossings(np.stack([self.full_truth(t).overlaps for t in range(frames)]))

    def _photograph(self, picture: Frames, t: int) -> Frames:
        """What the camera makes of the light: flicker, a soft lens, noise."""
        rng = np.random.default_rng([self._seed, 3, t])
        gain = 1.0 + 0.05 * np.sin(t / 11.0) + rng.normal(0, 0.015)
        lit = cv2.convertScaleAbs(picture, alpha=gain)
        lit = cv2.GaussianBlur(lit, (3, 3), 0.6)
        height, width = self.size
        y, x = rng.integers(0, height), rng.integers(0, width)
        noise = self._noise[y : y + height, x : x + width]
        return np.asarray(cv2.add(lit, noise, dtype=cv2.CV_8U), np.uint8)


def _view(size: tuple[int, int], world: int, rng: np.random.Generator) -> Frames:
    """The part of the world's ground that the camera sees, darker towards the corners."""
    height, width = size
    ground = draw_ground((2 * height, 2 * width), world)
    top, left = int(rng.integers(0, height)), int(rng.integers(0, width))
    seen = ground[top : top + height, left : left + width]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 1.06 - 0.13 * (x * x + y * y)
    return np.clip(seen * light[..., None], 0, 255).astype(np.uint8)


def _noise(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Sensor noise to cut pieces from, (2H, 2W, 3) int16: drawing it per frame would cost more than the frame."""
    return np.round(rng.normal(0, 4.0, (2 * size[0], 2 * size[1], 3))).astype(np.int16)


@dataclass(frozen=True)
class _Waves:
    """A smooth random function of time between -1 and 1: three waves of incommensurate length."""

    rates: Floats
    phases: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, period: float) -> _Waves:
        """Waves around ``period`` frames long."""
        rates = 2 * np.pi / (period * rng.uniform(0.7, 1.4, 3) * [1.0, 0.58, 1.9])
        return cls(rates=rates, phases=rng.uniform(0, 2 * np.pi, 3))

    def __call__(self, t: float) -> float:
        return float(np.sin(self.rates * t + self.phases) @ [0.45, 0.25, 0.30])


class _Walk:
    """Where one animal is: simulated step by step from the start and remembered."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], scale: float) -> None:
        height, width = size
        self._scale = scale
        room = REACH * scale + 1.0
        self._low = np.array([room, room])
        self._high = np.array([width - 1 - room, height - 1 - room])
        self._pace, self._turn = _Waves.draw(rng, 70), _Waves.draw(rng, 60)
        self._look, self._wag = _Waves.draw(rng, 50), _Waves.draw(rng, 60)
        place = rng.uniform(self._low, self._high)
        # x, y, heading, turn per frame, distance walked
        self._states = [(*map(float, place), float(rng.uniform(0, 2 * np.pi)), 0.0, 0.0)]

    def posture(self, t: int) -> Posture:
        """The animal at frame ``t``."""
        while len(self._states) <= t:
            self._states.append(self._step(len(self._states)))
        x, y, heading, turn, walked = self._states[t]
        return Posture(
            centre=(x, y),
            heading=heading,
            bend=float(np.clip(11.0 * turn, -1.0, 1.0)),
            head=0.45 * self._look(t),
            wag=1.0 * self._wag(t),
            stride=walked / (5.0 * self._scale),
            scale=self._scale,
        )

    def _step(self, t: int) -> tuple[float, float, float, float, float]:
        x, y, heading, turn, walked = self._states[-1]
        middle = (self._low + self._high) / 2
        half = np.maximum((self._high - self._low) / 2, 1.0)
        away = np.array([x, y]) - middle
        # Near a wall the animal turns to the middle, the more the nearer.
        nearness = float(np.max(np.abs(away) / half)) ** 3
        inward = np.arctan2(-away[1], -away[0])
        wanted = 0.10 * self._turn(t) + 0.10 * nearness * np.sin(inward - heading)
        turn = float(0.85 * turn + 0.15 * wanted)
        heading += turn
        pace = self._scale * max(0.0, 1.5 + 1.9 * self._pace(t))
        step = pace * np.array([np.cos(heading), np.sin(heading)])
        place = np.clip([x + step[0], y + step[1]], self._low, self._high)
        return (float(place[0]), float(place[1]), heading, turn, walked + pace)
