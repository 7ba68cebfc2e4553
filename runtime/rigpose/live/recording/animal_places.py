"""Which animal has which columns in a table, in a run that nobody can look at as a whole."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Array
from rigpose.poses import Poses


class AnimalPlaces:
    """Gives animals their places, frame by frame in order.

    An animal that the model tells apart has its individual's place. Any other keeps the place that its number has; a
    new number gets the place of that number where nobody has it yet, else, of the places that are free in this frame,
    the one that has been empty for longest.

    Args:
        count: How many places there are.
    """

    def __init__(self, count: int) -> None:
        self._holders: list[int | None] = [None] * count
        self._last_seen = [-1] * count
        self._frames = 0

    def of(self, poses: Poses, ids: Array) -> Array:
        """(N,) place of each animal; -1 for those that are left over when all places are taken."""
        places = np.full(len(poses), -1)
        if poses.identity is not None:
            known = np.asarray(poses.identity) < len(self._holders)
            places[known] = poses.identity[known]
        holders = {holder: place for place, holder in enumerate(self._holders) if holder is not None}
        free = set(range(len(self._holders))) - set(places.tolist())
        for animal in np.flatnonzero(places < 0):  # first those that have a place of their own
            place = holders.get(int(ids[animal]), -1)
            if place in free:
                places[animal] = place
                free.discard(place)
        for animal in np.flatnonzero(places < 0):
            if not free:
                break
            places[animal] = self._empty(int(ids[animal]), free)
            free.discard(int(places[animal]))
        self._remember(places, ids)
        return places

    def _empty(self, number: int, free: set[int]) -> int:
        if number in free and self._holders[number] is None:
            return number
        return min(free, key=lambda place: (self._last_seen[place], place))

    def _remember(self, places: Array, ids: Array) -> None:
        for place, number in zip(places.tolist(), np.asarray(ids).tolist(), strict=True):
            if place >= 0:
                self._last_seen[place] = self._frames
                if number >= 0:
                    # Whoever had it before has given it up; a number has one place.
                    self._holders = [None if holder == number else holder for holder in self._holders]
                    self._holders[place] = number
        self._frames += 1
