"""What was surely one animal, in a row: collected while a video passes, with what stitching needs of its two ends."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.tracking.found import Found

END_FRAMES = 5
"""From so many frames at an end its velocity is taken."""


@dataclass(frozen=True)
class Tracklet:
    """One animal for a while.

    Attributes:
        frames: (n,) rising indices of frames; some between may be missing.
        rows: (n,) which of each frame's animals it is.
    """

    frames: Array
    rows: Array

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class End:
    """Where a tracklet begins or ends.

    Attributes:
        frame: Its index.
        centre: (2,) x, y of the animal's centre [frame px].
        velocity: (2,) of the centre, by the nearest frames [frame px / frame].
        xy: (K, 2) float32 keypoints [frame px], NaN for missing ones.
    """

    frame: int
    centre: Floats
    velocity: Floats
    xy: Floats


@dataclass(frozen=True)
class Piece:
    """A tracklet with what stitching needs to know of it.

    Attributes:
        tracklet: Its frames and rows.
        head: Where it begins.
        tail: Where it ends.
        size: Mean diagonal of its animal [frame px].
        weight: Sum over its frames of the animal's mean score: how much it explains [frames].
        votes: (I,) in how many frames the animal was which individual.
        travel: Root mean square of the way from frame to frame [frame px / frame]; NaN for a single frame.
    """

    tracklet: Tracklet
    head: End
    tail: End
    size: float
    weight: float
    votes: Array
    travel: float


class Collector:
    """Turns the ids of frame after frame into pieces."""

    def __init__(self) -> None:
        self._open: dict[int, _Growing] = {}
        self._done: list[Piece] = []

    def add(self, frame: int, found: Found, ids: Array, cut: Array) -> None:
        """Append a frame.

        Args:
            frame: Its index.
            found: Its animals.
            ids: (M,) their ids, -1 for none.
            cut: (M,) at which animals a new piece begins, even though the id goes on.
        """
        for animal, (number, anew) in enumerate(zip(ids.tolist(), cut.tolist(), strict=True)):
            if number < 0:
                continue
            growing = self._open.get(number)
            if growing is None or anew:
                if growing is not None:
                    self._done.append(growing.piece())
                growing = self._open[number] = _Growing()
            growing.add(frame, found, animal)

    def pieces(self) -> list[Piece]:
        """All, by when and where they begin."""
        pieces = self._done + [growing.piece() for growing in self._open.values()]
        return sorted(pieces, key=lambda piece: (piece.head.frame, *piece.head.centre, piece.tail.frame))


class _Growing:
    def __init__(self) -> None:
        self._frames = array("q")
        self._rows = array("i")
        self._first: list[Floats] = []
        self._last: deque[Floats] = deque(maxlen=END_FRAMES)
        self._xy: list[Floats] = []  # of the first and of the last frame
        self._votes: dict[int, int] = {}
        self._size = self._weight = self._travel = 0.0

    def add(self, frame: int, found: Found, animal: int) -> None:
        centre = found.centre[animal]
        if self._frames:
            way = centre - self._last[-1]
            self._travel += float(way @ way) / (frame - self._frames[-1])
        if len(self._first) < END_FRAMES:
            self._first.append(centre)
        self._last.append(centre)
        self._xy[1:] = [found.xy[animal].astype(np.float32)]
        if not self._frames:
            self._xy *= 2
        self._frames.append(frame)
        self._rows.append(int(found.rows[animal]))
        self._size += float(found.size[animal])
        self._weight += float(found.weight[animal])
        identity = int(found.identity[animal])
        if identity >= 0:
            self._votes[identity] = self._votes.get(identity, 0) + 1

    def piece(self) -> Piece:
        frames, many = np.array(self._frames), len(self._frames)
        first, last = np.array(self._first), np.array(self._last)
        votes = np.zeros(max(self._votes, default=-1) + 1, np.int64)
        for identity, count in self._votes.items():
            votes[identity] = count
        head = End(int(frames[0]), first[0], _velocity(frames[: len(first)], first), self._xy[0])
        tail = End(int(frames[-1]), last[-1], _velocity(frames[-len(last) :], last), self._xy[-1])
        travel = float(np.sqrt(self._travel / (many - 1))) if many > 1 else float("nan")
        rows = np.array(self._rows)
        return Piece(Tracklet(frames, rows), head, tail, self._size / many, self._weight, votes, travel)


def _velocity(frames: Array, centre: Floats) -> Floats:
    """(2,) slope of the straight line through the centres (n, 2) that fits best."""
    time = frames - frames.mean()
    return time @ centre / max(float(time @ time), 1.0)
