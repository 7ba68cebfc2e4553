"""Follows animals from frame to frame, as the frames come: predict, assign, correct."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from rigpose.arrays import Array, Floats
from rigpose.poses import Poses
from rigpose.tracking.found import Found, look
from rigpose.tracking.motion import Motion
from rigpose.tracking.settings import TrackingSettings
from rigpose.tracking.shapes import SHAPES

FORM_NOISE = 0.2
"""Standard deviation of a measured form, and of its change from frame to frame [units of the shape]."""
SIZE_RATE = 0.2
"""How far a track's size follows the size that was found last."""


class Tracker:
    """Gives each animal a number that it keeps for as long as it is seen, with gaps of ``max_age`` frames at most.

    As in SORT (Bewley et al. 2016): every track predicts where its animal is, predictions and animals are assigned to
    each other so that their similarity is greatest in all (the product of the similarities; pairs below the threshold
    are out), and each track takes in what it was given. Animals that no track explains begin tracks.

    Attributes:
        found: The animals of the last frame, as they were compared.
        ids: (M,) their ids, -1 for those of tracks that are not confirmed yet.
        doubtful: (M,) which of them could nearly as well have been an other track's.
    """

    def __init__(self, settings: TrackingSettings) -> None:
        self._settings = settings
        self._shape = SHAPES[settings.method]
        self._motion: Motion | None = None
        self._next = 0
        self._id = np.empty(0, np.int64)
        self._age = np.empty(0, np.int64)  # frames since the animal was found
        self._hits = np.empty(0, np.int64)
        self._size = np.empty(0)
        self._votes = np.zeros((0, 0))  # (T, I) how often each track's animal was which individual
        self.found: Found | None = None
        self.ids = np.empty(0, np.int64)
        self.doubtful = np.empty(0, bool)

    def update(self, poses: Poses | None) -> Array:
        """Go one frame further.

        Args:
            poses: The frame's animals; None for a frame that was lost.

        Returns:
            (N,) id of each animal. Ids count from 0 and are never used again; -1 for animals without a keypoint that
            counts, and for those that were not seen ``min_hits`` times yet.
        """
        if self._motion is not None and len(self._id):
            noise = np.where(self._moves, self._settings.acceleration, FORM_NOISE)
            self._motion.predict(noise * self._unit(self._size), self._age > 0)
        self._age += 1
        if poses is None:
            self.found, self.ids, self.doubtful = None, np.empty(0, np.int64), np.empty(0, bool)
            self._forget()
            return self.ids
        found = look(poses, self._settings)
        if self._motion is None:
            self._keypoints = poses.keypoints
            self._moves = self._shape.moves(poses.keypoints)
            self._motion = Motion(self._moves)
        self._follow(self._motion, found)
        self._forget()
        ids = np.full(len(poses), -1, np.int64)
        ids[found.rows] = self.ids
        return ids

    def _follow(self, motion: Motion, found: Found) -> None:
        """Assign, correct and begin tracks; sets ``found``, ``ids`` and ``doubtful``."""
        measured = self._shape.measure(found)
        gain = self._gain(motion, found, measured)
        tracks, animals = _assign(gain)
        noise = np.where(self._moves, self._settings.measurement_noise, FORM_NOISE)
        self.found = found
        self.doubtful = np.zeros(len(found), bool)
        self.doubtful[animals] = _doubtful(gain, tracks, animals, self._settings.doubt)
        if len(tracks):
            motion.correct(tracks, measured[animals], noise * self._unit(found.size[animals]))
            self._size[tracks] += SIZE_RATE * (found.size[animals] - self._size[tracks])
            self._age[tracks] = 0
            self._hits[tracks] += 1
        track_of = np.full(len(found), -1)
        track_of[animals] = tracks
        new = np.flatnonzero(track_of < 0)
        if len(new):
            new = new[np.lexsort((found.centre[new, 1], found.centre[new, 0]))]
            track_of[new] = np.arange(len(new)) + len(self._id)
            unit = self._unit(found.size[new])
            motion.add(measured[new], noise * unit, unit)
            self._begin(found.size[new])
        self._vote(track_of, found.identity)
        self.ids = np.where(self._hits[track_of] >= self._settings.min_hits, self._id[track_of], -1)

    def _gain(self, motion: Motion, found: Found, measured: Floats) -> Floats:
        """(T, M) how much better than the threshold each pair is, natural logarithm; -inf for pairs that are out."""
        if not len(self._id) or not len(found):
            return np.empty((len(self._id), len(found)))
        similarity = self._shape.similarity(motion.mean, motion.variance, found, measured)
        allowed = similarity > self._settings.least_similarity
        gain = np.log(np.where(allowed, similarity, 1.0) / self._settings.least_similarity)
        if self._votes.any() and (found.identity >= 0).any():
            gain += self._settings.identity_weight * self._agreement(found.identity)
        return np.where(allowed, gain, -np.inf)

    def _agreement(self, identity: Array) -> Floats:
        """(T, M) from -1 to 1: whether the animals are the individuals that the tracks were; 0 where one is unknown."""
        total = self._votes.sum(axis=1, keepdims=True)
        share = self._votes / np.maximum(total, 1)
        known = (identity >= 0) & (identity < share.shape[1])
        return np.where((total > 0) & (identity >= 0), 2 * share[:, np.where(known, identity, 0)] * known - 1, 0.0)

    def _begin(self, size: Floats) -> None:
        many = len(size)
        self._id = np.concatenate([self._id, np.arange(self._next, self._next + many)])
        self._next += many
        self._age = np.concatenate([self._age, np.zeros(many, np.int64)])
        self._hits = np.concatenate([self._hits, np.ones(many, np.int64)])
        self._size = np.concatenate([self._size, size])
        self._votes = np.pad(self._votes, ((0, many), (0, 0)))

    def _vote(self, tracks: Array, identity: Array) -> None:
        known = identity >= 0
        if known.any():
            lacking = int(identity.max()) + 1 - self._votes.shape[1]
            if lacking > 0:
                self._votes = np.pad(self._votes, ((0, 0), (0, lacking)))
            self._votes[tracks[known], identity[known]] += 1

    def _forget(self) -> None:
        """End tracks that are missing too long, or before they were confirmed."""
        most = np.where(self._hits >= self._settings.min_hits, self._settings.max_age, 0)
        stays = self._age <= most
        if self._motion is not None and not stays.all():
            self._motion.keep(stays)
            self._id, self._age, self._hits = self._id[stays], self._age[stays], self._hits[stays]
            self._size, self._votes = self._size[stays], self._votes[stays]

    def _unit(self, size: Floats) -> Floats:
        return self._shape.unit(size, self._keypoints)


def _assign(gain: Floats) -> tuple[Array, Array]:
    """Tracks and animals that belong together: the pairs of greatest gain in all; either may stay alone."""
    tracks, animals = gain.shape
    if not tracks or not animals:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    # One column more per track, of gain 0, is the choice to stay alone.
    alone = np.where(np.eye(tracks, dtype=bool), 0.0, -np.inf)
    row, column = linear_sum_assignment(np.concatenate([gain, alone], axis=1), maximize=True)
    paired = column < animals
    return row[paired], column[paired]


def _doubtful(gain: Floats, tracks: Array, animals: Array, margin: float) -> Array:
    """(P,) which pairs have an alternative that is less than ``margin`` worse: exchanged animals, or a single one."""
    if not len(tracks) or margin == 0:
        return np.zeros(len(tracks), bool)
    chosen = gain[tracks, animals]
    crossed = gain[np.ix_(tracks, animals)]
    loss = chosen[:, None] + chosen - crossed - crossed.T
    np.fill_diagonal(loss, np.inf)
    best = loss.min(axis=1)
    lone_tracks = np.delete(gain, tracks, axis=0)[:, animals]
    lone_animals = np.delete(gain, animals, axis=1)[tracks]
    best = np.minimum(best, chosen - lone_tracks.max(axis=0, initial=-np.inf))
    best = np.minimum(best, chosen - lone_animals.max(axis=1, initial=-np.inf))
    return best < margin
