"""What hides what: which keypoints can be seen, and which animals cross."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rigpose.arrays import Array, Floats

Silhouette = Sequence[Floats]
"""Closed outlines, each (P, 2) [scene px]: what lies inside any of them is covered."""


@dataclass(frozen=True)
class Crossing:
    """Two animals whose bodies overlap without interruption.

    Attributes:
        animals: Their indices, the smaller one first.
        first: First frame.
        last: Last frame.
    """

    animals: tuple[int, int]
    first: int
    last: int


def cover(silhouettes: Sequence[Silhouette], size: tuple[int, int]) -> Array:
    """(L, H, W) bool: the pixels of a picture of size (H, W) that each of L silhouettes covers."""
    masks = np.zeros((len(silhouettes), *size), np.uint8)
    for mask, outlines in zip(masks, silhouettes, strict=True):
        for outline in outlines:
            cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 1, shift=4)
    return masks.astype(bool)


def visible_points(points: Floats, layers: Array, above: Sequence[int]) -> Array:
    """Which points nothing covers.

    Args:
        points: (N, K, 2) x, y [scene px], inside the picture.
        layers: (L, H, W) from ``cover``, the lowest first.
        above: For each of the N rows of ``points`` the first layer that lies above them.

    Returns:
        (N, K) bool.
    """
    x, y = np.round(points).astype(int).transpose(2, 0, 1)
    return np.stack([~layers[first:, y[i], x[i]].any(axis=0) for i, first in enumerate(above)])


def overlapping(layers: Array) -> Array:
    """(N, N) bool: which of the layers (N, H, W) have a pixel in common with which other."""
    pixels = layers.reshape(len(layers), -1).astype(np.float32)
    return (pixels @ pixels.T > 0) & ~np.eye(len(layers), dtype=bool)


def find_crossings(overlaps: Array) -> tuple[Crossing, ...]:
    """The crossings of a recording, by their first frame.

    Args:
        overlaps: (F, N, N) bool, per frame which bodies overlap.
    """
    found = []
    for i, j in zip(*np.triu_indices(overlaps.shape[1], k=1), strict=True):
        edges = np.diff(overlaps[:, i, j].astype(np.int8), prepend=0, append=0)
        for first, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            found.append(Crossing((int(i), int(j)), int(first), int(end) - 1))
    return tuple(sorted(found, key=lambda crossing: (crossing.first, crossing.animals)))
