"""Kalman filters of all keypoints of all animals at once, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Array, Floats

REST = 0.2
"""A keypoint that is seen for the first time counts as one that was at rest so long ago [s]: its velocity may be
whatever it can have become since, by its own noise."""


@dataclass(frozen=True)
class Limits:
    """What is taken in, and for how long something is said about what is not seen.

    Attributes:
        least_score: A keypoint that scores less counts as not seen.
        gate: A measurement further from where it is expected than this many standard deviations is not taken in at
            once. If the model holds, 5 turns away one measurement in 270,000: exp(-gate**2 / 2) in two dimensions.
        restart_after: So many such measurements in a row are no slip: the keypoint is there now.
        coast: Longest time for which a keypoint that is not seen is predicted [s].
    """

    least_score: float = 0.6
    gate: float = 5.0
    restart_after: int = 3
    coast: float = 0.2


class MotionFilter:
    """One filter (Kalman 1960) per keypoint, with position, velocity and acceleration, driven by white noise.

    Noise in the acceleration makes the model of constant velocity: the state's own acceleration then stays 0. Noise in
    the jerk makes that of constant acceleration. Both are discretised exactly (Bar-Shalom, Li and Kirubarajan 2001,
    sections 6.2.2 and 6.2.3), so frames may come at any distance in time. x and y have the same noise and do not know
    of each other, so one covariance serves both and the only thing to divide by is a number.

    Attributes:
        mean: (3, 2, A, K) position [px], velocity [px/s], acceleration [px/s²], each in x and in y; NaN for keypoints
            that are not known.
        unseen: (A, K) since a measurement was last taken in [s]; infinite for keypoints that are not known.
    """

    def __init__(self, animals: int, *, limits: Limits, noise: Floats, density: Floats) -> None:
        """Know nothing yet.

        Args:
            animals: A.
            limits: What is taken in.
            noise: (K,) or (A, K) standard deviation of a measurement, per coordinate [px].
            density: (2, K) or (2, A, K) spectral density of the acceleration's [px²/s³] and of the jerk's white noise
                [px²/s⁵].
        """
        self._limits = limits
        self._variance = np.square(noise)
        self._density = density
        self._know_nothing(animals, noise.shape[-1])

    def advance(self, seconds: float) -> None:
        """Go on to the time of the next frame; what was not seen for too long is forgotten."""
        self.mean = (_mean_step(seconds) @ self.mean.reshape(3, -1)).reshape(self.mean.shape)
        self._covariance[:6] = self._spread(seconds)
        self.unseen += seconds
        late = self.unseen > self._limits.coast
        if late.any():
            self._forget(late)

    def correct(self, measured: Floats) -> None:
        """Take in a frame's measurements.

        Args:
            measured: (A, K, 2) [px]; NaN for what is not seen.
        """
        measured = measured.transpose(2, 0, 1)
        covariance, first = self._covariance, self._covariance[:3].copy()
        variance = first[0] + self._variance
        surprise = measured - self.mean[0]
        # NaN, for what is not seen or not known, compares as false.
        taken = surprise[0] ** 2 + surprise[1] ** 2 <= self._limits.gate**2 * variance
        passed_over = ~taken
        np.copyto(surprise, 0.0, where=passed_over)
        # Element (i, j) loses the gain of i times element (0, j). For i = 0 that is a product, which stays exact where
        # a keypoint is far less sure than a measurement.
        kept = self._variance / variance
        np.copyto(kept, 1.0, where=passed_over)
        np.copyto(variance, np.inf, where=passed_over)
        gain = first / variance
        self.mean += gain[:, None] * surprise
        covariance[:3] *= kept
        covariance[3:5] -= gain[1] * first[1:]
        covariance[5] -= gain[2] * first[2]
        np.copyto(self.unseen, 0.0, where=taken)
        np.copyto(self._rejected, 0, where=taken)
        turned_away = passed_over & ~np.isnan(measured[0])
        if turned_away.any():
            self._rejected += turned_away
            self._begin(
                turned_away & (np.isinf(self.unseen) | (self._rejected >= self._limits.restart_after)), measured
            )

    def ahead(self, seconds: float) -> tuple[Floats, Floats]:
        """Where everything will be.

        Returns:
            (A, K, 2) position [px], and (A, K) its standard deviation per coordinate [px], without a measurement's
            own noise; NaN for keypoints that are not known.
        """
        place = _mean_step(seconds)[0] @ self.mean.reshape(3, -1)
        return place.reshape(self.mean.shape[1:]).transpose(1, 2, 0), np.sqrt(self._spread(seconds, elements=1)[0])

    def take(self, animals: Array) -> None:
        """Go on with these animals, in this order; noise must be the same for all of them.

        Args:
            animals: (A',) their rows now, -1 for one of which nothing is known.
        """
        kept, rows = np.flatnonzero(animals >= 0), animals[animals >= 0]
        mean, covariance, unseen, rejected = self.mean, self._covariance, self.unseen, self._rejected
        self._know_nothing(len(animals), unseen.shape[1])
        self.mean[:, :, kept] = mean[:, :, rows]
        self._covariance[:6, kept] = covariance[:6, rows]
        self.unseen[kept] = unseen[rows]
        self._rejected[kept] = rejected[rows]

    def retune(self, density: Floats) -> None:
        """Go on with other noise, of the shape that it had; what a keypoint's new model does not know of becomes 0."""
        self._density = density
        self._covariance[6:] = _per_animal(density)
        straight = (self._covariance[7] == 0) & np.isfinite(self.unseen)
        self.mean[2, :, straight] = 0.0
        for element in (2, 4, 5):
            self._covariance[element, straight] = 0.0

    def _know_nothing(self, animals: int, keypoints: int) -> None:
        self.mean = np.full((3, 2, animals, keypoints), np.nan)
        self.unseen = np.full((animals, keypoints), np.inf)
        # Per keypoint the elements (p, p), (p, v), (p, a), (v, v), (v, a), (a, a), and then the densities of its noise,
        # so that one matrix moves them and adds the noise.
        self._covariance = np.full((8, animals, keypoints), np.nan)
        self._covariance[6:] = _per_animal(self._density)
        # How many measurements in a row were not taken in.
        self._rejected = np.zeros((animals, keypoints), np.int64)

    def _spread(self, seconds: float, *, elements: int = 6) -> Floats:
        """The first elements of the covariance so much later."""
        # One small matrix times all keypoints: a fraction of the time of the same sums as array operations.
        later = _covariance_step(seconds)[:elements] @ self._covariance.reshape(8, -1)
        return later.reshape(elements, *self.unseen.shape)

    def _begin(self, where: Array, measured: Floats) -> None:
        """Begin anew at what was measured."""
        if not where.any():
            return
        self.mean[:, :, where] = 0.0
        self.mean[0, :, where] = measured[:, where].T
        self._covariance[:6, where] = _covariance_step(REST)[:, 6:] @ self._covariance[6:, where]
        self._covariance[1:3, where] = 0.0
        self._covariance[0, where] = np.broadcast_to(self._variance, where.shape)[where]
        self.unseen[where] = 0.0
        self._rejected[where] = 0

    def _forget(self, where: Array) -> None:
        np.copyto(self.mean, np.nan, where=where)
        np.copyto(self._covariance[:6], np.nan, where=where)
        np.copyto(self.unseen, np.inf, where=where)
        np.copyto(self._rejected, 0, where=where)


def _per_animal(density: Floats) -> Floats:
    return density[:, None] if density.ndim == 2 else density


def _mean_step(seconds: float) -> Floats:
    """(3, 3) what position, velocity and acceleration become of each other where the acceleration stays."""
    return _MEAN * seconds**_MEAN_POWERS


def _covariance_step(seconds: float) -> Floats:
    """(6, 8) what the six elements of a covariance become: of themselves, and of the two kinds of noise.

    The first is F P F' written out for F of constant acceleration; the second the integral of F(s) g g' F(s)' over the
    time, with g the place where the noise enters.
    """
    return _COVARIANCE * seconds**_COVARIANCE_POWERS


# Each element is a factor times a power of the time, so that a new time costs two small array operations.
_MEAN = np.array([[1, 1, 1 / 2], [0, 1, 1], [0, 0, 1]])
_MEAN_POWERS = np.array([[0, 1, 2], [0, 0, 1], [0, 0, 0]], float)
_COVARIANCE = np.array(
    [
        [1, 2, 1, 1, 1, 1 / 4, 1 / 3, 1 / 20],
        [0, 1, 1, 1, 3 / 2, 1 / 2, 1 / 2, 1 / 8],
        [0, 0, 1, 0, 1, 1 / 2, 0, 1 / 6],
        [0, 0, 0, 1, 2, 1, 1, 1 / 3],
        [0, 0, 0, 0, 1, 1, 0, 1 / 2],
        [0, 0, 0, 0, 0, 1, 0, 1],
    ]
)
_COVARIANCE_POWERS = np.array(
    [
        [0, 1, 2, 2, 3, 4, 3, 5],
        [0, 0, 1, 1, 2, 3, 2, 4],
        [0, 0, 0, 0, 1, 2, 0, 3],
        [0, 0, 0, 0, 1, 2, 1, 3],
        [0, 0, 0, 0, 0, 1, 0, 2],
        [0, 0, 0, 0, 0, 0, 0, 1],
    ],
    float,
)
