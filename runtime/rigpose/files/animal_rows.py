"""The animals of one frame as DeepLabCut's files have them: in which order, and with which likelihood."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.poses import Poses


def animal_row(poses: Poses | None, *, animals: int, keypoints: int, unique: int = 0) -> Floats:
    """One frame's row, (A * K + U, 3) flat: x, y [frame px], likelihood of each animal in turn, unique keypoints last.

    An animal that the model tells apart is at its individual's place, any other at the first that is free. A keypoint
    that a found animal lacks has likelihood 0; where there is no animal, all is NaN.

    Args:
        poses: The frame's animals; none for a lost frame. Those beyond ``animals`` have no place.
        animals: A, how many have a place.
        keypoints: K of each animal.
        unique: U that exist once per frame.
    """
    row = np.full((animals, keypoints, 3), np.nan, np.float32)
    single = np.full((unique, 3), np.nan, np.float32)
    if poses is not None:
        places = places_of(poses, animals)
        row[places[places < animals]] = joints(poses.to_array())[places < animals]
        if poses.unique is not None and unique:
            single = joints(poses.unique)
    return np.concatenate([row.ravel(), single.ravel()], dtype=np.float32)


def places_of(poses: Poses, animals: int) -> Array:
    """(N,) place of each animal: its individual's number, or the first free one; ``animals`` or more is no place."""
    if poses.identity is None:
        return np.arange(len(poses))
    places = np.array(poses.identity)
    others = places < 0
    free = np.setdiff1d(np.arange(max(animals, places.max(initial=-1) + 1) + len(poses)), places[~others])
    places[others] = free[: others.sum()]
    return places


def joints(array: Floats) -> Floats:
    """(..., 3) x, y, score; DeepLabCut's score of a keypoint that a found animal lacks is 0."""
    return np.concatenate([array[..., :2], np.nan_to_num(array[..., 2:], nan=0.0)], axis=-1)
