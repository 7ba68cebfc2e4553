"""Poses of a recording with their times, as the back-test takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ResultError
from rigpose.files.results import read_results
from rigpose.live.recording.read import read_recording


@dataclass(frozen=True, eq=False)
class PoseHistory:
    """Who was where, and when.

    Attributes:
        name: Of the recording, for people.
        keypoints: K names.
        times: (F,) of the frames' exposures [s], rising.
        xy: (F, N, K, 2) [frame px]; NaN where nothing was found. An animal keeps its place in every frame.
        score: (F, N, K) [0, 1]; NaN where nothing was found.
    """

    name: str
    keypoints: tuple[str, ...]
    times: Floats
    xy: Floats
    score: Floats

    def __post_init__(self) -> None:
        frames, animals, keypoints = self.score.shape
        if self.xy.shape != (frames, animals, keypoints, 2) or self.times.shape != (frames,):
            raise ValueError(
                f"needs times (F,), xy (F, N, K, 2), score (F, N, K), got {self.times.shape}, {self.xy.shape}, "
                f"{self.score.shape}"
            )
        if len(self.keypoints) != keypoints:
            raise ValueError(f"needs {keypoints} names of keypoints, got {len(self.keypoints)}")
        if frames < 2 or not animals:
            raise ResultError(f"{self.name}: has no two frames with animals; there is nothing to go through.")
        if not (np.diff(self.times) > 0).all():
            raise ResultError(f"{self.name}: the times of its frames do not rise; record it again.")

    def sure(self, least_score: float) -> Floats:
        """(F, N, K, 2) the places of keypoints that score at least this; NaN elsewhere [frame px]."""
        return np.where((self.score >= least_score)[..., None], self.xy, np.nan).astype(np.float64)


def read_history(path: Path, *, frames_per_second: float | None = None, camera: str | None = None) -> PoseHistory:
    """Read what ``rigpose live`` recorded, or a ``.h5`` or ``.csv`` of DeepLabCut's layout.

    Args:
        path: The recording's folder, or the table.
        frames_per_second: Of a table's video; its frames count as equally far apart.
        camera: Of a recording of several cameras.

    Raises:
        ResultError: The table cannot be used, or nobody said its rate.
        LiveError: The recording cannot be used.
    """
    if path.is_dir():
        return _of_recording(path, camera)
    if frames_per_second is None:
        raise ResultError(f"{path}: a table does not say how far apart its frames are; add --fps, the video's rate.")
    results = read_results(path)
    times = np.arange(len(results.xy)) / frames_per_second
    return PoseHistory(path.name, results.keypoints, times, results.xy, results.score)


def _of_recording(folder: Path, camera: str | None) -> PoseHistory:
    """The frames that were inferred, at the times when they were exposed."""
    recording = read_recording(folder, camera)
    # Exposures that are estimated from two clocks may go back by a little; such a frame tells nothing new.
    latest = np.maximum.accumulate(np.where(recording.inferred, recording.exposed, -np.inf))
    rows = recording.inferred & (recording.exposed > np.concatenate([[-np.inf], latest[:-1]]))
    poses, header = recording.poses[rows], recording.header
    return PoseHistory(
        f"{folder.resolve().name}, {header.camera}",
        tuple(header.keypoints),
        recording.exposed[rows],
        poses[..., :2],
        poses[..., 2],
    )
