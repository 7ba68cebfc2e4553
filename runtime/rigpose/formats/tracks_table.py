"""What a result says about a video, whatever format it is going to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ConfigError, ResultError
from rigpose.files.results import UNIQUE, Results, read_results
from rigpose.formats.beside import Footage, Skeleton

ORIGIN = (
    "(0, 0) is the middle of the top left pixel of the whole frame, whose outer corner is at (-0.5, -0.5); "
    "x grows to the right, y downwards."
)
"""Where DeepLabCut's labels count from, and so every network that learns from them; SLEAP counts the same way."""


@dataclass(frozen=True, eq=False)
class TracksTable:
    """The poses of a video, a row per camera frame.

    Attributes:
        source: The result file.
        scorer: Who made the predictions.
        individuals: N names.
        keypoints: K names.
        xy: (F, N, K, 2) [px of the whole frame, as ``ORIGIN`` says]; NaN where there is nothing.
        score: (F, N, K) [0, 1]; NaN where nothing is known.
        unique_keypoints: U names of the keypoints that exist once per frame.
        unique_xy: (F, U, 2) of these, as ``xy``.
        unique_score: (F, U) of these.
        skeleton: Pairs of names of keypoints.
        frames_per_second: Of the camera.
        times: (F,) of the frames [s] from ``began`` on.
        regular: Whether the times are the frames' numbers divided by their rate, from 0 on.
        began: When the time was 0, with its time zone; none where nobody knows.
        video: The video; none where it is not at hand.
        frame_size: Its (height, width) [px], where they are known.
    """

    source: Path
    scorer: str
    individuals: tuple[str, ...]
    keypoints: tuple[str, ...]
    xy: Floats = field(repr=False)
    score: Floats = field(repr=False)
    unique_keypoints: tuple[str, ...]
    unique_xy: Floats = field(repr=False)
    unique_score: Floats = field(repr=False)
    skeleton: tuple[tuple[str, str], ...]
    frames_per_second: float
    times: Floats = field(repr=False)
    regular: bool
    began: datetime | None
    video: Path | None
    frame_size: tuple[int, int] | None

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def video_name(self) -> str:
        """The video's file name, or what is known of it."""
        return self.video.name if self.video else self.source.stem.removesuffix(self.scorer)

    def owners(self) -> list[tuple[str, tuple[str, ...], Floats, Floats]]:
        """Each individual with its keypoints, places (F, K, 2) and scores (F, K); last, the unique keypoints' owner."""
        found = [(name, self.keypoints, self.xy[:, i], self.score[:, i]) for i, name in enumerate(self.individuals)]
        if self.unique_keypoints:
            found.append((UNIQUE, self.unique_keypoints, self.unique_xy, self.unique_score))
        return found


def join_tracks_table(path: Path, found: Results, footage: Footage, skeleton: Skeleton) -> TracksTable:
    """Join results with what is known of their video.

    Args:
        path: Their file.
        found: What ``read_poses`` found in it.
        footage: Of ``rigpose.formats.beside``.
        skeleton: Likewise.

    Raises:
        ConfigError: The skeleton or the times do not fit the results.
    """
    skeleton.check_fits(path, found)
    times = footage.times
    if times is not None and len(times) != len(found.xy):
        raise ConfigError(
            f"{path}: has {len(found.xy)} frames where {footage.times_from} has {len(times)} times; give one per frame."
        )
    xy, score = _present(found.xy, found.score)
    unique = np.empty((len(xy), 0, 3), xy.dtype) if found.unique is None else found.unique
    unique_xy, unique_score = _present(unique[..., :2], unique[..., 2])
    offset = np.asarray(footage.offset, xy.dtype)
    return TracksTable(
        path,
        found.scorer,
        found.individuals,
        found.keypoints,
        xy + offset,
        score,
        found.unique_keypoints,
        unique_xy + offset,
        unique_score,
        skeleton.pairs,
        footage.frames_per_second,
        np.arange(len(xy)) / footage.frames_per_second if times is None else times,
        times is None,
        footage.began,
        footage.video,
        footage.frame_size,
    )


def read_poses(path: Path) -> Results:
    """The results in a ``.h5`` or ``.csv`` of rigpose or DeepLabCut, if they are those of a video.

    Raises:
        ResultError: They are of single images, or labels; or as ``read_results``.
    """
    if path.name.startswith("image_predictions_"):
        raise ResultError(f"{path}: holds poses of single images, which have no times; convert the results of a video.")
    found = read_results(path)
    if np.isnan(found.score).all() and np.isfinite(found.xy).any():
        raise ResultError(f"{path}: holds labels without scores; convert a result of rigpose analyze.")
    return found


def _present(xy: Floats, score: Floats) -> tuple[Floats, Floats]:
    """Places and scores with NaN where DeepLabCut's single-animal writer puts -1 for nothing."""
    absent = score < 0
    return np.where(absent[..., None], np.nan, xy).astype(xy.dtype), np.where(absent, np.nan, score).astype(score.dtype)
