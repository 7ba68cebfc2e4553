"""Holding the last place: what is done where nothing better is known, and how far off it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.live.prediction.fitted import KeypointFit


class LastPlaces:
    """Where each keypoint was last seen.

    Attributes:
        places: (A, K, 2) [px]; NaN for keypoints that were not seen for too long.
        unseen: (A, K) since then [s]; infinite for those.
    """

    def __init__(self, keypoints: int, coast: float) -> None:
        """Nothing was seen yet; places are held for ``coast`` [s]."""
        self._coast = coast
        self.places = _nowhere(0, keypoints)
        self.unseen = np.empty((0, keypoints))

    def advance(self, seconds: float) -> None:
        """Go on to the time of the next frame."""
        self.unseen += seconds
        late = self.unseen > self._coast
        if late.any():
            np.copyto(self.places, np.nan, where=late[..., None])
            np.copyto(self.unseen, np.inf, where=late)

    def correct(self, measured: Floats) -> None:
        """Take in a frame's (A, K, 2) [px], NaN for what is not seen."""
        seen = ~np.isnan(measured[..., 0])
        np.copyto(self.places, measured, where=seen[..., None])
        np.copyto(self.unseen, 0.0, where=seen)

    def take(self, animals: Array) -> None:
        """Go on with these rows, -1 for an animal of which nothing is known."""
        kept, rows = np.flatnonzero(animals >= 0), animals[animals >= 0]
        places, unseen = self.places, self.unseen
        self.places = _nowhere(len(animals), places.shape[1])
        self.unseen = np.full((len(animals), *unseen.shape[1:]), np.inf)
        self.places[kept], self.unseen[kept] = places[rows], unseen[rows]


class HoldError:
    """How far off a held place is after some time, as the back-test found it."""

    def __init__(self, fits: Sequence[KeypointFit], leads: Floats) -> None:
        """Of these keypoints, at these leads (L,) [s]."""
        times = np.concatenate([[0.0], leads])
        errors = np.array([[np.nan if each.hold_px is None else each.hold_px for each in fit.leads] for fit in fits])
        # Root mean squares of distances are those of both coordinates together.
        errors = np.concatenate([[[fit.noise] for fit in fits], errors / np.sqrt(2)], axis=1)
        # A paw that swings is back after a period, and yet nobody is surer of it than before.
        errors = np.maximum.accumulate(errors, axis=1).T
        self._slopes = np.diff(errors, axis=0) / np.diff(times)[:, None]
        self._at_zero = errors[:-1] - self._slopes * times[:-1, None]
        self._corners = times[1:-1]

    def after(self, seconds: Floats, keypoints: Array) -> Floats:
        """Standard deviation per coordinate.

        Args:
            seconds: (A, H) since the place was measured; infinite where there is none.
            keypoints: (H,) which keypoints, by their index.

        Returns:
            (A, H) [px], on straight lines between the leads and beyond the last; NaN where nothing is known.
        """
        seconds = np.where(np.isinf(seconds), np.nan, seconds)
        line = self._corners.searchsorted(seconds)
        return self._at_zero[line, keypoints] + self._slopes[line, keypoints] * seconds


def _nowhere(animals: int, keypoints: int) -> Floats:
    """(A, K, 2) NaN. All x lie together in memory, and all y, which makes sums and copies several times as fast."""
    return np.full((2, animals, keypoints), np.nan).transpose(1, 2, 0)
