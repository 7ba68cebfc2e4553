"""Constant-velocity Kalman filters of all tracks at once."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Array, Floats

VELOCITY_NOISE = 0.3
"""Standard deviation of the velocity of an animal that was found once [animal lengths / frame]."""
DECAY = 0.9
"""What is left, per frame, of the velocity of an animal that is not seen: most animals that hide are slow."""


class Motion:
    """One filter per track and coordinate (Kalman 1960), as (T, D) arrays; coordinates do not know of each other.

    With the same noise in every coordinate the filter of a whole vector falls apart into these, so nothing is lost,
    and no matrix has to be inverted.
    """

    def __init__(self, moves: Array) -> None:
        """Filters for D coordinates; those not in ``moves`` (D,) keep still, but for noise."""
        self._moves = moves.astype(np.float64)
        # Of each coordinate: mean, velocity, variance, covariance of the two, variance of the velocity.
        self._state = np.empty((5, 0, len(moves)))

    @property
    def mean(self) -> Floats:
        """(T, D) where each coordinate is thought to be, NaN until it was measured."""
        return self._state[0]

    @property
    def variance(self) -> Floats:
        """(T, D) of ``mean``."""
        return self._state[2]

    def add(self, measured: Floats, noise: Floats, unit: Floats) -> None:
        """Begin tracks.

        Args:
            measured: (M, D) first values, NaN for what is not known yet.
            noise: (M, D) their standard deviations.
            unit: (M, D) what one animal length is in each coordinate.
        """
        state = np.zeros((5, *measured.shape))
        state[0] = measured
        state[2] = noise**2
        state[4] = (VELOCITY_NOISE * unit) ** 2 * self._moves
        self._state = np.concatenate([self._state, state], axis=1)

    def keep(self, tracks: Array) -> None:
        """Go on with these tracks only, an index or mask."""
        self._state = self._state[:, tracks]

    def predict(self, noise: Floats, unseen: Array) -> None:
        """Go one frame further.

        Args:
            noise: (T, D) standard deviations of the velocities' changes, or of the values that have no velocity.
            unseen: (T,) which tracks were not found in the last frame; they slow down.
        """
        mean, velocity, variance, covariance, velocity_variance = self._state
        velocity[unseen] *= DECAY
        q = noise**2
        mean += velocity
        variance += 2 * covariance + velocity_variance + q * (1 - 0.75 * self._moves)
        covariance += velocity_variance + q * (0.5 * self._moves)
        velocity_variance += q * self._moves

    def correct(self, tracks: Array, measured: Floats, noise: Floats) -> None:
        """Take in what was measured of some tracks.

        Args:
            tracks: (M,) which.
            measured: (M, D) values, NaN where nothing was measured.
            noise: (M, D) their standard deviations.
        """
        mean, velocity, variance, covariance, velocity_variance = self._state[:, tracks]
        seen = np.isfinite(measured)
        first = seen & np.isnan(mean)
        surprise = np.where(seen & ~first, measured - mean, 0.0)
        total = variance + noise**2
        gain = np.where(seen, variance / total, 0.0)
        velocity_gain = np.where(seen, covariance / total, 0.0)
        self._state[:, tracks] = (
            np.where(first, measured, mean + gain * surprise),
            velocity + velocity_gain * surprise,
            (1 - gain) * variance,
            (1 - gain) * covariance,
            velocity_variance - velocity_gain * covariance,
        )
