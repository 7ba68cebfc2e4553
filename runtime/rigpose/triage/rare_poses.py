"""Frames in which an animal takes a pose that it seldom takes.

Shapes are compared: where an animal is, how large it looks and where it heads is taken out. k-means finds the usual
shapes, because its centres go where most poses are; centres chosen by largest distance would be the rare poses
themselves. Clusters that hold next to nothing are dissolved, so a pose is rare if it lies far from every usual one,
alone or with a few others.
"""

from __future__ import annotations

import warnings

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.files.results import Results
from rigpose.triage.judgement import Judgement, beyond, known, median_and_scale, sure

CLUSTERS = 10
POSES_PER_CLUSTER = 50
"""Fewer poses than this for each cluster make fewer clusters."""
SMALL = 0.01
"""A cluster with a smaller share of the poses holds rare ones."""
LEARNED = 20_000
"""Most poses that the clusters are made from, evenly over the video."""
LIMIT = 8.0
"""Robust standard deviations from a cluster's usual distance to its centre.

Five thousand drawn poses with normal noise and no rare one among them reach 4.5; where shapes spread unevenly, 7.
"""
LEAST_SCALE = 0.02
"""Sizes of the body: less spread than that is the network's noise."""
ROUNDS = 3
"""Alignments to the mean shape; it changes little after the second."""


def rare_poses(results: Results, pcutoff: float) -> Judgement:
    """Severity by the distance of the rarest animal's shape from the usual shapes.

    Animals that show fewer than half of their keypoints have no shape to compare.

    Args:
        results: The poses.
        pcutoff: Scores from here on are sure.
    """
    points = sure(results, pcutoff)
    frames, _, keypoints, _ = points.shape
    frame, animal = np.nonzero(known(points).sum(axis=-1) >= max(2, (keypoints + 1) // 2))
    if len(frame) < POSES_PER_CLUSTER:
        return Judgement.nothing(frames)
    z = _distance(aligned_shapes(points[frame, animal]))
    worst, who = np.zeros(frames), np.zeros(frames, int)
    order = np.argsort(z, kind="stable")
    worst[frame[order]], who[frame[order]] = np.maximum(z[order], 0), animal[order]
    several = len(results.individuals) > 1

    def why(number: int) -> str:
        name = f" of {results.individuals[who[number]]}" if several else ""
        return f"rare pose{name} ({worst[number]:.0f} times the usual spread)"

    return Judgement(beyond(worst, LIMIT), why)


def aligned_shapes(xy: Floats) -> Floats:
    """(M, 2K + 1) deviations from the mean shape in sizes of the body, and the logarithm of the size.

    Every animal is moved, turned and scaled onto the mean shape (Gower, Generalized Procrustes analysis, Psychometrika
    1975), by the keypoints that it shows; what is missing deviates by nothing.

    Args:
        xy: (M, K, 2) keypoints [px]; NaN where missing, at least two of each animal there.
    """
    points = xy[..., 0] + 1j * xy[..., 1]
    shown = known(xy)
    points = np.where(shown, points, 0)
    # The animal that shows the most begins; complex numbers turn by multiplying.
    mean = _centred(points[shown.sum(axis=1).argmax()], shown[shown.sum(axis=1).argmax()])
    for _ in range(ROUNDS):
        turned, _ = _onto(points, shown, mean)
        mean = _mean_shape(turned, shown)
    turned, size = _onto(points, shown, mean)
    deviation = np.where(shown, turned - mean, 0)
    size = np.log(np.maximum(size, 1e-9) / max(float(np.median(size)), 1e-9))
    return np.concatenate([np.real(deviation), np.imag(deviation), size[:, None]], axis=1)


def _onto(points: Array, shown: Array, mean: Array) -> tuple[Array, Floats]:
    """(M, K) animals on the mean shape; (M,) their sizes in its own."""
    count = shown.sum(axis=1, keepdims=True)
    target = np.where(shown, mean, 0)
    middle = target.sum(axis=1, keepdims=True) / count
    centred = np.where(shown, points - points.sum(axis=1, keepdims=True) / count, 0)
    goal = np.where(shown, mean - middle, 0)
    size = np.sqrt((np.abs(centred) ** 2).sum(axis=1) / np.maximum((np.abs(goal) ** 2).sum(axis=1), 1e-12))
    turn = (np.conj(centred) * goal).sum(axis=1)
    turn = np.where(np.abs(turn) > 0, turn / np.maximum(np.abs(turn), 1e-300), 1)
    scaled = centred / np.maximum(size, 1e-9)[:, None]
    return scaled * turn[:, None] + middle, size


def _mean_shape(turned: Array, shown: Array) -> Array:
    """(K,) the median of each keypoint, which a few wrong ones do not move; size 1."""
    shape = np.zeros(turned.shape[1], complex)
    for keypoint in range(turned.shape[1]):
        its = turned[shown[:, keypoint], keypoint]
        if len(its):
            shape[keypoint] = np.median(np.real(its)) + 1j * np.median(np.imag(its))
    return _centred(shape, shown.sum(axis=0) > 0)


def _centred(shape: Array, shown: Array) -> Array:
    shape = np.where(shown, shape - shape[shown].mean(), 0)
    return shape / max(float(np.sqrt((np.abs(shape[shown]) ** 2).mean())), 1e-9)


def _distance(shapes: Floats) -> Floats:
    """(M,) robust z of the distance to the nearest usual shape, by that cluster's own distances."""
    from scipy.cluster.vq import vq

    centres = _usual_shapes(shapes)
    nearest, distance = vq(shapes, centres)
    z = np.zeros(len(shapes))
    for cluster in range(len(centres)):
        its = nearest == cluster
        middle, scale = median_and_scale(distance[its], least=LEAST_SCALE)
        z[its] = (distance[its] - middle) / scale
    return z


def _usual_shapes(shapes: Floats) -> Floats:
    """Centres of the clusters that hold more than next to nothing."""
    from scipy.cluster.vq import kmeans2

    learned = shapes[np.linspace(0, len(shapes) - 1, min(len(shapes), LEARNED)).astype(int)]
    clusters = int(np.clip(len(learned) // POSES_PER_CLUSTER, 1, CLUSTERS))
    # Poses evenly over the video begin, so that the same video gives the same frames.
    first = learned[((np.arange(clusters) + 0.5) * len(learned) / clusters).astype(int)]
    with warnings.catch_warnings():
        # Two equal poses to begin with leave a cluster empty; it is dropped below.
        warnings.simplefilter("ignore", UserWarning)
        centres, label = kmeans2(learned, first, minit="matrix", iter=30)
    return centres[np.bincount(label, minlength=clusters) >= max(3, SMALL * len(learned))]
