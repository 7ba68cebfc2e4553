"""How far apart an animal's keypoints lie, as labelled: what grouping by part affinities may be calibrated with.

Poses are compared by their squared distances between every two keypoints, which neither place nor direction changes.
Labelled animals give their mean and covariance, as in DeepLabCut's assembler (Lauer et al. 2022).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from functools import cached_property
from math import comb

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.errors import ConfigError

LEAST_COMPLETE = 0.9
"""Labelled animals that lack more than a tenth of their keypoints are left out."""


@dataclass(frozen=True)
class PafCalibration:
    """Mean and spread of the squared distances between an animal's K keypoints, D = K (K - 1) / 2 of them.

    They are ordered (0, 1), (0, 2) ... (1, 2) ... and in pixels of the network's input, where animals are grouped.

    Attributes:
        keypoints: K.
        animals: How many labelled animals were measured.
        numbers: Base64 of little-endian float64: the mean (D,), the variance (D,) and, row by row, the upper triangle
            of the precision matrix (D, D). One word, because a manifest with a line for each of some thousand numbers
            is slow to read.
    """

    keypoints: int
    animals: int
    numbers: str = field(repr=False)

    def __post_init__(self) -> None:
        pairs = comb(self.keypoints, 2)
        expected = 2 * pairs + comb(pairs + 1, 2)
        try:
            values = self._values
        except (binascii.Error, ValueError) as error:
            raise ConfigError("calibration.numbers: is no Base64 of float64; export the model again.") from error
        if len(values) != expected or not expected:
            raise ConfigError(
                f"calibration.numbers: holds {len(values)} numbers where {self.keypoints} keypoints need {expected}; "
                "export the model again."
            )
        if not np.isfinite(values).all() or not (self.variance > 0).all():
            raise ConfigError("calibration.numbers: not all are finite, or a variance is not positive; export again.")

    @classmethod
    def measured(cls, poses: Floats) -> PafCalibration:
        """From labelled animals (N, K, 2) x, y [input px], NaN where not labelled.

        As in DeepLabCut, animals with less than nine tenths of their coordinates are left out, a missing distance is
        replaced by its mean, and the covariance is narrowed as that of a kernel density estimate's kernel by Scott's
        factor, ``animals ** (-1 / (D + 4))``.

        Raises:
            ConfigError: One keypoint only, or too few or too similar animals for a covariance. DeepLabCut stops with
                an error of its own or goes on without calibration, depending on how few they are.
        """
        keypoints = poses.shape[1]
        if keypoints < 2:
            raise ConfigError("calibration: one keypoint has no distances; group without calibration.")
        first, second = pairs_of(keypoints)
        whole = poses[(~np.isnan(poses)).mean(axis=(1, 2)) >= LEAST_COMPLETE].astype(np.float64)
        distances = ((whole[:, first] - whole[:, second]) ** 2).sum(axis=2)
        count, pairs = distances.shape
        if count <= pairs:
            raise ConfigError(
                f"calibration: {count} labelled animals are nearly complete, and the {pairs} distances between "
                f"{keypoints} keypoints need {pairs + 1} or more; label more, or group without calibration."
            )
        missing = np.isnan(distances)
        seen = count - missing.sum(axis=0)
        if not seen.all():
            one, other = (int(side[seen.argmin()]) for side in (first, second))
            raise ConfigError(
                f"calibration: keypoints {one} and {other} (counted from 0) are labelled together on no nearly "
                "complete animal; label some, or group without calibration."
            )
        mean = np.where(missing, 0.0, distances).sum(axis=0) / seen
        covariance = np.atleast_2d(np.cov(np.where(missing, mean, distances), rowvar=False))
        try:
            np.linalg.cholesky(covariance)
            precision = np.linalg.inv(covariance)
        except np.linalg.LinAlgError as error:
            raise ConfigError(
                f"calibration: the {count} labelled animals are too much alike for a covariance of their {pairs} "
                "distances; label more poses, or group without calibration."
            ) from error
        narrowed = count ** (-2 / (pairs + 4))
        variance = np.diagonal(covariance) * narrowed
        numbers = np.concatenate([mean, variance, precision[np.triu_indices(pairs)] / narrowed]).astype("<f8")
        return cls(keypoints, count, base64.b64encode(numbers.tobytes()).decode("ascii"))

    @cached_property
    def _values(self) -> Floats:
        return np.frombuffer(base64.b64decode(self.numbers, validate=True), "<f8").astype(np.float64)

    @property
    def mean(self) -> Floats:
        """(D,) [px²]."""
        return self._values[: comb(self.keypoints, 2)]

    @property
    def variance(self) -> Floats:
        """(D,) the covariance's diagonal [px⁴]."""
        pairs = comb(self.keypoints, 2)
        return self._values[pairs : 2 * pairs]

    @cached_property
    def precision(self) -> Floats:
        """(D, D) the inverse of the covariance [px⁻⁴]."""
        pairs = comb(self.keypoints, 2)
        upper = np.zeros((pairs, pairs))
        upper[np.triu_indices(pairs)] = self._values[2 * pairs :]
        return upper + np.triu(upper, 1).T

    @cached_property
    def pairs(self) -> tuple[Array, Array]:
        """(D,) first and (D,) second keypoint of every distance."""
        return pairs_of(self.keypoints)


def pairs_of(keypoints: int) -> tuple[Array, Array]:
    """(D,) first and (D,) second keypoint of every two."""
    first, second = np.triu_indices(keypoints, 1)
    return first, second
