"""The animals of a whole video over time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Array
from rigpose.errors import ConfigError
from rigpose.poses import Poses
from rigpose.tracking.settings import TrackingSettings
from rigpose.tracking.stitching import stitch
from rigpose.tracking.tracker import Tracker
from rigpose.tracking.tracklets import Collector, Tracklet


@dataclass(frozen=True)
class Tracks:
    """T animals over F frames.

    Attributes:
        rows: (F, T) int32, which of the frame's animals each track's animal is, -1 where it was not found.
        tracklets: What was surely one animal, before stitching, by first frame.
    """

    rows: Array
    tracklets: tuple[Tracklet, ...]


def track(frames: Iterable[Poses | None], settings: TrackingSettings, *, animals: int) -> Tracks:
    """Follow a fixed number of animals through a video.

    The frames are read once, in order; of each tracklet only its rows and its two ends are kept.

    Args:
        frames: The animals of each frame; None for a frame that was lost.
        settings: How they are followed.
        animals: T, how many tracks there are; animals that are too many, and pieces too short to be believed (see
            ``TrackingSettings.min_length``), are in none.

    Returns:
        Tracks. With a model that tells individuals apart track t is individual t, by most votes; the others come by
        first appearance, from left to right. The order of the animals within the frames does not matter.

    Raises:
        ConfigError: ``animals`` is below 1.
    """
    if animals < 1:
        raise ConfigError(f"tracking.animals: there must be at least 1 track, found {animals!r}.")
    tracker, collector, count = Tracker(settings), Collector(), 0
    for count, poses in enumerate(frames, start=1):
        tracker.update(poses)
        if tracker.found is not None:
            collector.add(count - 1, tracker.found, tracker.ids, tracker.doubtful)
    pieces = collector.pieces()
    rows = np.full((count, animals), -1, np.int32)
    for column, parts in enumerate(stitch(pieces, settings, animals=animals, frames=count)):
        for part in parts:
            rows[pieces[part].tracklet.frames, column] = pieces[part].tracklet.rows
    return Tracks(rows=rows, tracklets=tuple(piece.tracklet for piece in pieces))
