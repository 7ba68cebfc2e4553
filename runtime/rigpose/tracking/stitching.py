"""Pieces of tracks -> one track per animal over the whole video: a flow of least cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from scipy.optimize import linear_sum_assignment

from rigpose.arrays import Floats
from rigpose.tracking.flow import solve_flow
from rigpose.tracking.links import find_links, shares
from rigpose.tracking.settings import TrackingSettings
from rigpose.tracking.tracklets import Piece

IDENTITY_FIRST = 1e6
"""Makes the individual count before the distance [animal lengths]."""


def stitch(pieces: Sequence[Piece], settings: TrackingSettings, *, animals: int, frames: int) -> list[list[int]]:
    """Which pieces make up each animal's track.

    What is chosen explains most of the frames at the least cost: a piece earns the scores of its frames, a link costs
    what it surprises, and every piece that begins without a link costs as much as ``min_length`` frames earn. At no
    time are there more than ``animals`` of them.

    Args:
        pieces: P of them, by rising first frame.
        settings: Numbers.
        animals: How many tracks.
        frames: How many frames the video has.

    Returns:
        ``animals`` lists of indices of pieces, in order of time; none overlap, and pieces that do not fit, or that are
        too short to stand alone, are in none of them.
    """
    if not pieces or not animals:
        return [[] for _ in range(animals)]
    links = find_links(pieces, settings)
    restart = restart_cost(pieces, settings, frames)
    chains = solve_flow(pieces, links, restart=restart, animals=animals)
    return _tracks_of(chains, pieces, animals)


def restart_cost(pieces: Sequence[Piece], settings: TrackingSettings, frames: int) -> float:
    """What a piece must earn to be kept when no link leads to it: half a frame less than the shortest one's."""
    earned = np.array([piece.weight for piece in pieces])
    per_frame = float(np.median(earned / np.array([len(piece.tracklet) for piece in pieces])))
    return (min(settings.min_length, max(frames // 10, 1)) - 0.5) * per_frame


def _tracks_of(chains: Sequence[list[int]], pieces: Sequence[Piece], animals: int) -> list[list[int]]:
    """Give every chain to a track that is free then: the one of its individual, then the one that ended nearest.

    In order of time there is always a free one, because never more than ``animals`` overlap.
    """
    tracks: list[list[int]] = [[] for _ in range(animals)]
    many = max((len(piece.votes) for piece in pieces), default=0)
    votes = np.zeros((animals, many))
    for now, together in groupby(sorted(chains), key=lambda chain: pieces[chain[0]].head.frame):
        group = list(together)
        free = [t for t, track in enumerate(tracks) if not track or pieces[track[-1]].tail.frame < now]
        theirs = np.array([_votes(chain, pieces, many) for chain in group]).reshape(len(group), many)
        alike = (
            shares(list(theirs)) @ (shares(list(votes[free])) - 0.5).T if many else np.zeros((len(group), len(free)))
        )
        alike[:, ~votes[free].any(axis=1)] = 0.0
        away = np.array([[_distance(tracks[t], chain, pieces) for t in free] for chain in group])
        for g, f in zip(*linear_sum_assignment(away - IDENTITY_FIRST * alike), strict=True):
            tracks[free[f]] += group[g]
            votes[free[f]] += theirs[g]
    return _in_order(tracks, votes, pieces)


def _votes(chain: Sequence[int], pieces: Sequence[Piece], many: int) -> Floats:
    return np.sum([np.pad(pieces[p].votes, (0, many - len(pieces[p].votes))) for p in chain], axis=0)


def _distance(track: Sequence[int], chain: Sequence[int], pieces: Sequence[Piece]) -> float:
    """Way from a track's end to a chain's begin [animal lengths]; farther than any other for a track not begun yet."""
    if not track:
        return IDENTITY_FIRST / 100
    way = pieces[chain[0]].head.centre - pieces[track[-1]].tail.centre
    return float(np.hypot(*way)) / pieces[chain[0]].size


def _in_order(tracks: list[list[int]], votes: Floats, pieces: Sequence[Piece]) -> list[list[int]]:
    """The tracks of known individuals at their places, the others by first appearance, from left to right."""
    places = min(votes.shape[1], len(tracks))
    ordered: list[list[int]] = [[] for _ in tracks]
    rest = set(range(len(tracks)))
    taken = set()
    for track, place in zip(*linear_sum_assignment(votes[:, :places], maximize=True), strict=True):
        if votes[track, place] > 0:
            ordered[place] = tracks[track]
            rest.remove(int(track))
            taken.add(int(place))
    by_appearance = sorted(rest, key=lambda track: tracks[track] or [len(pieces)])
    for place, track in zip((p for p in range(len(tracks)) if p not in taken), by_appearance, strict=True):
        ordered[place] = tracks[track]
    return ordered
