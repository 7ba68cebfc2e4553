"""Animals that walk about a box, as poses with known truth: crossings, dropouts, occlusions, false animals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.poses import Poses


@dataclass(frozen=True)
class Walk:
    """How they walk, and how badly they are found.

    Attributes:
        animals: How many.
        frames: How many.
        keypoints: Per animal, along its body and to its sides.
        length: Of a body [px].
        arena: Width and height of the box [px]; animals run into its walls and turn.
        speed: Typical way per frame [px].
        noise: Standard deviation of a found keypoint [px].
        dropout: Share of animals that are not found in a frame, each time anew.
        hidden: Share of frames that animals spend out of sight, for 20 frames at a time.
        missing: Share of keypoints that are not found.
        false: Expected false animals per frame.
    """

    animals: int = 5
    frames: int = 500
    keypoints: int = 12
    length: float = 60.0
    arena: float = 600.0
    speed: float = 6.0
    noise: float = 1.5
    dropout: float = 0.03
    hidden: float = 0.02
    missing: float = 0.1
    false: float = 0.05


@dataclass(frozen=True)
class Walked:
    """Frames, and for each the true animal of each row, -1 for a false one."""

    frames: list[Poses]
    truth: list[Array]


def walk(of: Walk, seed: int) -> Walked:
    """Draw a video's poses; rows are in random order in every frame."""
    rng = np.random.default_rng(seed)
    places = _places(of, rng)
    hidden = _hidden(of, rng)
    frames, truth = [], []
    for t in range(of.frames):
        here = np.flatnonzero(~hidden[t] & (rng.random(of.animals) >= of.dropout))
        false = rng.poisson(of.false)
        xy = np.concatenate(
            [places[t, here], _body(of, rng.uniform(0, of.arena, (false, 2)), rng.uniform(0, 7, false))]
        )
        xy = xy + rng.normal(0, of.noise, xy.shape)
        score = rng.uniform(0.6, 1.0, xy.shape[:2])
        lost = rng.random(xy.shape[:2]) < of.missing
        xy[lost], score[lost] = np.nan, np.nan
        order = rng.permutation(len(xy))
        frames.append(Poses(xy[order].astype(np.float32), score[order].astype(np.float32)))
        truth.append(np.concatenate([here, np.full(false, -1)])[order])
    return Walked(frames, truth)


def _places(of: Walk, rng: np.random.Generator) -> Floats:
    """(F, A, K, 2) true keypoints: persistent random walks with a heading that drifts."""
    place = rng.uniform(0.1 * of.arena, 0.9 * of.arena, (of.animals, 2))
    heading = rng.uniform(0, 2 * np.pi, of.animals)
    turn = np.zeros(of.animals)
    speed = of.speed * np.ones(of.animals)
    drawn = np.empty((of.frames, of.animals, of.keypoints, 2))
    for t in range(of.frames):
        turn = 0.8 * turn + rng.normal(0, 0.06, of.animals)
        speed = np.clip(0.9 * speed + 0.1 * of.speed * rng.gamma(1.0, 1.0, of.animals), 0, 3 * of.speed)
        heading = heading + turn
        place = place + speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        out = (place < 0) | (place > of.arena)
        inward = np.arctan2(*(of.arena / 2 - place).T[::-1])
        heading = np.where(out.any(axis=1), heading + 0.5 * np.sin(inward - heading), heading)
        place = np.clip(place, 0, of.arena)
        drawn[t] = _body(of, place, heading)
    return drawn


def _body(of: Walk, centre: Floats, heading: Floats) -> Floats:
    """(A, K, 2) keypoints on an egg that looks along its heading."""
    around = np.linspace(0, 2 * np.pi, of.keypoints, endpoint=False)
    along = of.length / 2 * np.cos(around)
    aside = of.length / 6 * np.sin(around) * (1 - 0.3 * np.cos(around))
    if of.keypoints == 1:
        along, aside = np.zeros(1), np.zeros(1)
    x, y = np.cos(heading)[:, None], np.sin(heading)[:, None]
    return centre[:, None] + np.stack([along * x - aside * y, along * y + aside * x], axis=2)


def _hidden(of: Walk, rng: np.random.Generator) -> Array:
    """(F, A) who is out of sight."""
    hidden = np.zeros((of.frames, of.animals), bool)
    for animal in range(of.animals):
        for start in np.flatnonzero(rng.random(of.frames) < of.hidden / 20):
            hidden[start : start + 20, animal] = True
    return hidden
