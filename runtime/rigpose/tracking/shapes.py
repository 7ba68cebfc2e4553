"""What is compared between a track's prediction and the animals of a frame: ellipses, boxes or keypoints."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.tracking.found import Found

OKS_SIGMA = 0.1
"""Distance of a keypoint at which its similarity has fallen to exp(-1/2) [animal lengths]."""
LEAST_KEYPOINTS_OF_ELLIPSE = 3


class Shape(Protocol):
    """Numbers that describe an animal, D of them; the first ones are positions and the others its form."""

    def moves(self, keypoints: int) -> Array:
        """(D,) which of the numbers have a velocity."""
        ...

    def measure(self, found: Found) -> Floats:
        """(M, D) float64, NaN for what cannot be told."""
        ...

    def unit(self, size: Floats, keypoints: int) -> Floats:
        """(M, D) what one animal length (M,) [frame px] is in each of the numbers."""
        ...

    def similarity(self, predicted: Floats, variance: Floats, found: Found, measured: Floats) -> Floats:
        """(T, M) similarity [0, 1] of predictions (T, D), with their variances, and a frame's animals (M, D)."""
        ...


class Ellipses:
    """Centre [frame px] and covariance [px^2] of the keypoints; 2 standard deviations make DeepLabCut's ellipse.

    The covariance itself is filtered, xx, xy and yy, and not axes and angle: an angle jumps from pi to 0, and means
    nothing where the axes are alike. Two ellipses are as similar as the two normal distributions overlap
    (Bhattacharyya 1943), so distance counts most across the body, and form and direction count, too.
    """

    def moves(self, keypoints: int) -> Array:  # noqa: ARG002 (an ellipse has as many numbers for any)
        """(5,) the centre alone."""
        return np.array([True, True, False, False, False])

    def measure(self, found: Found) -> Floats:
        """(M, 5) x, y, xx, xy, yy; the form is NaN for animals of fewer than three keypoints."""
        away = np.where(found.seen[..., None], found.xy - found.centre[:, None], 0.0)
        count = found.seen.sum(axis=1)
        spread = np.stack(
            [
                (away[..., 0] ** 2).sum(axis=1),
                (away[..., 0] * away[..., 1]).sum(axis=1),
                (away[..., 1] ** 2).sum(axis=1),
            ],
            axis=1,
        )
        form = spread / np.maximum(count - 1, 1)[:, None] + _round(found.least)
        form[count < LEAST_KEYPOINTS_OF_ELLIPSE] = np.nan
        return np.concatenate([found.centre, form], axis=1)

    def unit(self, size: Floats, keypoints: int) -> Floats:  # noqa: ARG002
        """(M, 5); the covariance of an animal that is a line of length s is s^2 / 12."""
        return np.stack([size, size, size**2 / 12, size**2 / 12, size**2 / 12], axis=1)

    def similarity(self, predicted: Floats, variance: Floats, found: Found, measured: Floats) -> Floats:
        """(T, M) Bhattacharyya coefficients; doubt about where the track is widens the comparison."""
        ours, theirs = np.broadcast_arrays(predicted[:, None, 2:], measured[None, :, 2:])
        ours, theirs = np.where(np.isnan(ours), theirs, ours), np.where(np.isnan(theirs), ours, theirs)
        ours = np.where(np.isnan(ours), _round(found.least), ours)
        theirs = np.where(np.isnan(theirs), _round(found.least), theirs)
        both = (ours + theirs) / 2
        xx = both[..., 0] + variance[:, None, 0]
        yy = both[..., 2] + variance[:, None, 1]
        xy = both[..., 1]
        area = xx * yy - xy**2
        dx = measured[None, :, 0] - predicted[:, None, 0]
        dy = measured[None, :, 1] - predicted[:, None, 1]
        distance = (yy * dx**2 - 2 * xy * dx * dy + xx * dy**2) / area
        return np.exp(-distance / 8) * np.sqrt(np.sqrt(_determinant(ours) * _determinant(theirs)) / area)


class Boxes:
    """Centre [frame px] and logarithms of width and height of the keypoints' bounding box; similarity is IoU."""

    def moves(self, keypoints: int) -> Array:  # noqa: ARG002
        """(4,) the centre alone."""
        return np.array([True, True, False, False])

    def measure(self, found: Found) -> Floats:
        """(M, 4) x and y of the centre, log width, log height."""
        low, high = np.fmin.reduce(found.xy, axis=1), np.fmax.reduce(found.xy, axis=1)
        return np.concatenate([(low + high) / 2, np.log(np.maximum(high - low, found.least))], axis=1)

    def unit(self, size: Floats, keypoints: int) -> Floats:  # noqa: ARG002
        """(M, 4)."""
        one = np.ones(len(size))
        return np.stack([size, size, one, one], axis=1)

    def similarity(self, predicted: Floats, variance: Floats, found: Found, measured: Floats) -> Floats:  # noqa: ARG002
        """(T, M) intersections over unions."""
        ours, theirs = np.exp(predicted[:, 2:]), np.exp(measured[:, 2:])
        left = np.maximum((predicted[:, :2] - ours / 2)[:, None], measured[:, :2] - theirs / 2)
        right = np.minimum((predicted[:, :2] + ours / 2)[:, None], measured[:, :2] + theirs / 2)
        common = np.maximum(right - left, 0.0).prod(axis=2)
        return common / (ours.prod(axis=1)[:, None] + theirs.prod(axis=1) - common)


class Skeletons:
    """Places of the keypoints [frame px]; similarity is COCO's object keypoint similarity over the ones that both have.

    A keypoint that is missing for a while goes on at its own velocity.
    """

    def moves(self, keypoints: int) -> Array:
        """(2 K,) all."""
        return np.ones(2 * keypoints, bool)

    def measure(self, found: Found) -> Floats:
        """(M, 2 K) x, y of each keypoint."""
        return found.xy.reshape(len(found), 2 * found.xy.shape[1])

    def unit(self, size: Floats, keypoints: int) -> Floats:
        """(M, 2 K)."""
        return np.repeat(size[:, None], 2 * keypoints, axis=1)

    def similarity(self, predicted: Floats, variance: Floats, found: Found, measured: Floats) -> Floats:
        """(T, M), 0 without a common keypoint; doubt about where the track is widens the comparison, and lowers it."""
        away = (measured[None] - predicted[:, None]) ** 2
        squared = away[..., ::2] + away[..., 1::2]  # (T, M, K), NaN where either misses the keypoint
        least = (OKS_SIGMA * found.size) ** 2
        scale = least[None, :, None] + variance[:, None, ::2]
        alike = np.exp(-squared / (2 * scale)) * np.sqrt(least[None, :, None] / scale)
        common = np.isfinite(squared)
        return np.where(common, alike, 0.0).sum(axis=2) / np.maximum(common.sum(axis=2), 1)


SHAPES: dict[str, Shape] = {"ellipse": Ellipses(), "box": Boxes(), "skeleton": Skeletons()}


def _round(size: float) -> Floats:
    """(3,) covariance of a circle whose diameter, 4 standard deviations, is ``size``."""
    return np.array([1.0, 0.0, 1.0]) * (size / 4) ** 2


def _determinant(form: Floats) -> Floats:
    return form[..., 0] * form[..., 2] - form[..., 1] ** 2
