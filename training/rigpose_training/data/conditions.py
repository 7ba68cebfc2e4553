"""Poses as a bottom-up model would get them wrong: the conditions that a conditional top-down network learns from.

The kinds of error and their shares are those of PoseFix (Moon et al. 2019) as BUCTD uses them (Zhou et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from rigpose.arrays import Array, Floats
from rigpose.errors import ConfigError
from rigpose_training.data.boxes import overlapping
from rigpose_training.data.truth import Truth

TRIES = 200


@dataclass(frozen=True)
class GenSampling:
    """``data.gen_sampling``: how often a keypoint of a condition is wrong, and by how much.

    Attributes:
        keypoint_sigmas: Of the keypoint similarity, one for all or one per keypoint; the larger, the further off.
        keypoints_symmetry: Pairs of keypoint indices that are confused with each other; none confuses any two.
        jitter_prob: Share of keypoints that are slightly off.
        swap_prob: Share that lie on another animal.
        inv_prob: Share that lie on another keypoint of the same animal.
        miss_prob: Share that are far off.
    """

    keypoint_sigmas: float | tuple[float, ...] = 0.1
    keypoints_symmetry: tuple[tuple[int, int], ...] | None = None
    jitter_prob: float = 0.16
    swap_prob: float = 0.08
    inv_prob: float = 0.03
    miss_prob: float = 0.10


@dataclass(frozen=True)
class _Places:
    """Where one keypoint may be thought to be, (..., 2) x, y [px] each.

    Attributes:
        truth: (1, 2) the keypoint.
        swapped: (M, 2) the same keypoint of other animals.
        inverted: (0 or 1, 2) the keypoint's partner.
        swapped_inverted: (M, 2) the partner of other animals.
    """

    truth: Floats
    swapped: Floats
    inverted: Floats
    swapped_inverted: Floats


class ConditionSampler:
    """Corrupts labelled poses.

    Args:
        spec: How often and how much.
        keypoints: K.

    Raises:
        ConfigError: Shares or sigmas that make no sense.
    """

    def __init__(self, spec: GenSampling, keypoints: int) -> None:
        shares = (spec.jitter_prob, spec.miss_prob, spec.inv_prob, spec.swap_prob)
        if min(shares) < 0 or sum(shares) > 1:
            raise ConfigError("data.gen_sampling: the four shares of errors must be 0 or more and 1 at most together.")
        sigmas = np.atleast_1d(np.asarray(spec.keypoint_sigmas, np.float64))
        if len(sigmas) not in (1, keypoints) or (sigmas < 0).any():
            raise ConfigError(
                f"data.gen_sampling.keypoint_sigmas: give one number above 0, or one for each of {keypoints} keypoints."
            )
        self.spec = spec
        self.sigmas = np.broadcast_to(sigmas, keypoints)
        self.shares = {
            _jittered: spec.jitter_prob,
            _missed: spec.miss_prob,
            _inverted: spec.inv_prob,
            _swapped: spec.swap_prob,
            _good: 1 - sum(shares),
        }

    def of_animal(self, truth: Truth, animal: int, size: tuple[int, int], rng: Generator) -> Floats:
        """The condition of one animal of an image of ``size`` (H, W): (K, 2) x, y inside the image, NaN missing."""
        box = truth.boxes[animal]
        near = overlapping(box, truth.boxes)
        near[animal] = False
        drawn = self(truth.keypoints[animal], truth.keypoints[near], float(box[2] * box[3]), rng)
        return np.clip(drawn, 0, np.array(size[::-1], np.float32) - 1)

    def __call__(self, pose: Floats, neighbours: Floats, area: float, rng: Generator) -> Floats:
        """Draw the condition of one animal.

        Args:
            pose: (K, 2) x, y [image px], NaN missing.
            neighbours: (M, K, 2) the animals whose boxes overlap its own.
            area: Of the animal's box [px squared].
            rng: The source of every draw.

        Returns:
            (K, 2) x, y [image px], NaN for keypoints that are not labelled.
        """
        condition = np.full(pose.shape, np.nan, np.float32)
        for keypoint in np.flatnonzero(~np.isnan(pose).any(axis=1)):
            places = _places(pose, neighbours, int(keypoint), self._partner(int(keypoint), len(pose), rng))
            radii = _Radii.of(float(self.sigmas[keypoint]), area)
            found = self._wrong(places, radii, rng)
            if found is not None:
                condition[keypoint] = found
        return condition

    def _partner(self, keypoint: int, keypoints: int, rng: Generator) -> int | None:
        """The keypoint that this one may be confused with: its pair, or any other by chance."""
        if self.spec.keypoints_symmetry:
            pairs = dict(self.spec.keypoints_symmetry)
            return (pairs | {right: left for left, right in pairs.items()}).get(keypoint)
        # Of an odd number, one is left over when all pair up.
        if keypoints < 2 or (keypoints % 2 and rng.random() * keypoints < 1):
            return None
        return int((keypoint + rng.integers(1, keypoints)) % keypoints)

    def _wrong(self, places: _Places, radii: _Radii, rng: Generator) -> Floats | None:
        """A place that one kind of error leads to; kinds that lead nowhere are drawn again among the others."""
        shares = dict(self.shares)
        while total := sum(shares.values()):
            kinds = list(shares)
            kind = kinds[rng.choice(len(kinds), p=np.array([*shares.values()]) / total)]
            candidates = kind(places, radii, rng)
            if len(candidates):
                return candidates[rng.integers(len(candidates))]
            del shares[kind]
        return None


@dataclass(frozen=True)
class _Radii:
    """Distances from a keypoint at which the keypoint similarity falls to .85, .5 and .1 [px]."""

    good: float
    near: float
    far: float

    @classmethod
    def of(cls, sigma: float, area: float) -> _Radii:
        good, near, far = (float(np.sqrt(-2 * area * (2 * sigma) ** 2 * np.log(ks))) for ks in (0.85, 0.5, 0.1))
        return cls(good, near, far)


def _places(pose: Floats, neighbours: Floats, keypoint: int, partner: int | None) -> _Places:
    nowhere = np.empty((0, 2), pose.dtype)
    return _Places(
        truth=pose[[keypoint]],
        swapped=_known(neighbours[:, keypoint]),
        inverted=nowhere if partner is None else _known(pose[[partner]]),
        swapped_inverted=nowhere if partner is None else _known(neighbours[:, partner]),
    )


def _known(points: Floats) -> Floats:
    return points[~np.isnan(points).any(axis=1)]


def _good(places: _Places, radii: _Radii, rng: Generator) -> Floats:
    """Nearly right, and nearer to the truth than to any other place."""
    return _around(places.truth[0], (0, radii.good), _others(places), None, rng)


def _jittered(places: _Places, radii: _Radii, rng: Generator) -> Floats:
    """Slightly off, and nearer to the truth than to any other place."""
    return _around(places.truth[0], (radii.good, radii.near), _others(places), None, rng)


def _inverted(places: _Places, radii: _Radii, rng: Generator) -> Floats:
    """On the partner, and nearer to it than to any other place."""
    if not len(places.inverted):
        return places.inverted
    others = np.concatenate([places.truth, places.swapped, places.swapped_inverted])
    return _around(places.inverted[0], (0, radii.near), others, None, rng)


def _swapped(places: _Places, radii: _Radii, rng: Generator) -> Floats:
    """On another animal, and nearer to that place than to this animal's own."""
    own = np.concatenate([places.truth, places.inverted])
    found = [
        _around(place, (0, radii.near), own, None, rng)
        for place in np.concatenate([places.swapped, places.swapped_inverted])
    ]
    return np.concatenate([np.empty((0, 2)), *found])


def _missed(places: _Places, radii: _Radii, rng: Generator) -> Floats:
    """Far from one place, four times as often the truth as another one, and not near any other."""
    everywhere = np.concatenate([places.truth, _others(places)])
    found = []
    for i, place in enumerate(everywhere):
        around = _around(place, (radii.near, radii.far), np.delete(everywhere, i, axis=0), radii.near, rng)
        found.append(around if i == 0 else around[: len(around) // 4])
    return np.concatenate(found)


def _others(places: _Places) -> Floats:
    return np.concatenate([places.swapped, places.inverted, places.swapped_inverted])


def _around(place: Floats, distance: tuple[float, float], others: Floats, away: float | None, rng: Generator) -> Floats:
    """Points at a distance from ``place`` that are further than ``away`` from each of ``others``.

    Without ``away``, they are further from the others than from ``place``.
    """
    angle, radius = rng.uniform(0, 2 * np.pi, TRIES), rng.uniform(*distance, TRIES)
    points: Array = place + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    gaps = np.linalg.norm(points[:, None] - others[None], axis=2)
    return points[(gaps > (radius[:, None] if away is None else away)).all(axis=1)]
