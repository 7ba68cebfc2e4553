"""What the tracks of a recording are worth where every animal's place is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from rigpose.arrays import Array, Floats
from rigpose.videos.drawing import keypoint_colours

WITHIN = 0.3
"""A pose stands for an animal when it is closer on average than this part of the animal's extent: half of it away, it
could be a neighbour's."""
LEAST_VISIBLE = 2
"""An animal of which fewer keypoints are visible need not be found; one point says nothing about the others."""


@dataclass(frozen=True)
class TracksMeasured:
    """Tracks laid beside the truth. Animals that are hidden count neither for nor against.

    Attributes:
        distances: (F, N, K) between the visible keypoints of found animals and their predictions [frame px]; NaN where
            there is nothing to compare.
        track: (F, N) which track each animal is in, -1 for none.
        animals: Animals to be found, over all frames.
        found: Those that a track has.
        extra: Poses in tracks that are no animal's, over all frames.
        switches: How often an animal goes on in another track; two that change places are two.
    """

    distances: Floats
    track: Array
    animals: int
    found: int
    extra: int
    switches: int

    @property
    def missed(self) -> int:
        """Animals to be found that no track has, over all frames."""
        return self.animals - self.found

    @property
    def error_px(self) -> float:
        """Mean distance [frame px]; NaN where nothing was found."""
        known = self.distances[~np.isnan(self.distances)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def p99_px(self) -> float:
        """99th percentile of the distances [frame px]; NaN where nothing was found."""
        known = self.distances[~np.isnan(self.distances)]
        return float(np.percentile(known, 99)) if len(known) else float("nan")


def measure_tracks(tracks: Floats, truth: Floats, visible: Array) -> TracksMeasured:
    """Compare tracks with the truth, frame by frame, each animal with the pose that is nearest on the whole.

    Args:
        tracks: (F, T, K, 2) x, y [frame px]; NaN where a track has no animal, or the animal no such keypoint.
        truth: (F, N, K, 2) x, y [frame px], of hidden keypoints, too.
        visible: (F, N, K) bool.
    """
    wanted = visible.sum(axis=-1) >= LEAST_VISIBLE  # (F, N)
    there = ~np.isnan(tracks).any(axis=-1).all(axis=-1)  # (F, T)
    # Where an animal is hidden, a pose may still be its own: there all its keypoints are compared.
    judged = visible | ~wanted[..., None]
    track = np.stack([_assigned(*frame) for frame in zip(tracks, truth, judged, strict=True)])
    found = (track >= 0) & wanted
    own = np.take_along_axis(tracks, np.maximum(track, 0)[..., None, None], axis=1)  # (F, N, K, 2)
    compared = found[..., None] & visible
    return TracksMeasured(
        distances=np.where(compared, np.linalg.norm(own - truth, axis=-1), np.nan),
        track=track,
        animals=int(wanted.sum()),
        found=int(found.sum()),
        extra=int(there.sum() - (track >= 0).sum()),
        switches=count_switches(track),
    )


def count_switches(track: Array) -> int:
    """How often an animal goes on in another track than the one that it was last found in.

    Args:
        track: (F, N) which track each animal is in, -1 for none; a time without a track is no switch.
    """
    switches = 0
    for own in track.T:
        known = own[own >= 0]
        switches += int((known[1:] != known[:-1]).sum())
    return switches


def _assigned(tracks: Floats, truth: Floats, judged: Array) -> Array:
    """(N,) which of a frame's tracks (T, K, 2) each animal (N, K, 2) is in, -1 for none."""
    gaps = np.linalg.norm(tracks[None] - truth[:, None], axis=-1)  # (N, T, K)
    known = ~np.isnan(gaps) & judged[:, None]
    count = known.sum(axis=-1)
    extent = np.linalg.norm(truth.max(axis=1) - truth.min(axis=1), axis=-1)  # (N,)
    limit = WITHIN * extent[:, None]
    mean = np.where(known, gaps, 0.0).sum(axis=-1) / np.maximum(count, 1)
    # A pair beyond the limit is as dear as any other such pair, so that it never decides about those within.
    cost = np.where((count > 0) & (mean <= limit), mean, 1e6)
    animals, columns = linear_sum_assignment(cost)
    track = np.full(len(truth), -1)
    close = cost[animals, columns] < 1e6
    track[animals[close]] = columns[close]
    return track


def plot_tracks(path: Path, measured: TracksMeasured, individuals: tuple[str, ...]) -> None:
    """Error over time, and below it which track each animal is in, so that switches and gaps are seen."""
    from matplotlib.figure import Figure

    frames, animals = measured.track.shape
    figure = Figure(figsize=(10, 5), layout="constrained")
    errors, raster = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1 + animals / 3))
    for animal in range(animals):
        known = ~np.isnan(measured.distances[:, animal])
        total = np.where(known, measured.distances[:, animal], 0.0).sum(axis=-1)
        count = known.sum(axis=-1)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        errors.plot(mean, linewidth=1, label=f"animal {animal + 1}")
    errors.set(ylabel="mean error [px]", title="unseen video, against the truth")
    errors.legend(loc="upper right", fontsize="small")
    colours = np.array(keypoint_colours(len(individuals), "rainbow"))[:, ::-1] / 255  # as in the labelled video
    nothing = np.ones((1, 3))  # white; the last row, which is where -1 points to
    pixels = np.concatenate([colours, nothing])[measured.track.T]
    raster.imshow(pixels, aspect="auto", interpolation="nearest", extent=(-0.5, frames - 0.5, animals - 0.5, -0.5))
    raster.set(xlabel="frame", yticks=range(animals), title="the track of each animal (white: none)")
    raster.set_yticklabels([f"animal {animal + 1}" for animal in range(animals)])
    for name, colour in zip(individuals, colours, strict=True):
        raster.plot([], [], "s", color=colour, label=name)
    raster.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
    figure.savefig(path, dpi=120)
