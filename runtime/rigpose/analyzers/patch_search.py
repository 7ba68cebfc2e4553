"""Video frames -> poses of one animal by a network of crops, without a detector.

Where nothing is known of the animal, the frame is cut into overlapping patches, and the network looks into all of them
as one batch: the patch whose keypoints score best shows where the animal is, and a crop around them gives the pose.
From then on it is looked for around its last pose. A stretch of ``search_every`` frames knows nothing of the one before
it: an analysis that continues at a stretch's beginning needs no memory, and stretches that lie in one batch go in step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rigpose.analyzers.analyzer import FrameRun, WholeFrameRun, as_list
from rigpose.analyzers.top_down import CropAnalyzer, boxes_around, corner_and_size
from rigpose.arrays import Array, Floats, Frames
from rigpose.errors import ConfigError
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.schema import to_mapping

MOST_PATCHES = 64
"""Of a frame; a network that must look into more of them is slower than any detector."""
MOST_BETWEEN_SEARCHES = 100
"""So many whole frames are in memory three times over while a video is analysed."""


@dataclass(frozen=True)
class PatchSearch:
    """How one animal is found and followed without a detector. The first five are DeepLabCut-Live's, with its values.

    Attributes:
        columns: Patches side by side.
        rows: Patches one above the other.
        overlap: What neighbouring patches share, so that an animal of this size lies wholly inside one [frame px].
        min_score: Keypoints that score less say nothing of where the animal is.
        least_side: Width and height of the box around the animal at least [frame px].
        misses: The animal is lost when it was not where it was looked for in so many frames in a row; with 1 it is
            searched for in the same frame.
        search_every: In videos, every so manieth frame is searched, whatever the frames before it showed.
    """

    columns: int = 3
    rows: int = 2
    overlap: int = 50
    min_score: float = 0.25
    least_side: int = 50
    misses: int = 1
    search_every: int = 30

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 1 or self.columns * self.rows > MOST_PATCHES:
            raise ConfigError(
                f"search patches: {self.columns} x {self.rows} of them make no sense; give 1 to {MOST_PATCHES} in all."
            )
        if self.overlap < 0:
            raise ConfigError(f"search overlap: {self.overlap} px is no distance; give 0 or more.")
        if not 0 < self.min_score <= 1:
            raise ConfigError(f"search score: {self.min_score:g} is no score; give a number above 0 up to 1.")
        if self.least_side < 1:
            raise ConfigError(f"search side: a box of {self.least_side} px shows nothing; give 1 or more.")
        if self.misses < 1:
            raise ConfigError(f"search misses: {self.misses} frames make no sense; give 1 or more.")
        if not 1 <= self.search_every <= MOST_BETWEEN_SEARCHES:
            raise ConfigError(
                f"search_every: {self.search_every} is not from 1 to {MOST_BETWEEN_SEARCHES}; all frames between two "
                "searches are in memory at once."
            )

    def patches(self, height: int, width: int) -> Floats:
        """(P, 4) x, y of the upper left corner, width, height of the patches of a frame [frame px], row by row."""
        across, wide = _pieces(width, self.columns, self.overlap)
        down, high = _pieces(height, self.rows, self.overlap)
        return np.array([[x, y, wide, high] for y in down for x in across], np.float32)


def _pieces(side: int, count: int, overlap: int) -> tuple[Floats, float]:
    """Where the pieces of a side begin, and how long each is; in frames smaller than two overlaps these shrink."""
    shared = min(overlap, side / 2) if count > 1 else 0
    length = (side + (count - 1) * shared) / count
    return np.arange(count) * (length - shared), length


@dataclass(frozen=True)
class Followed:
    """What is known of the animal after a frame.

    Attributes:
        poses: Of the frame [frame px]; length zero where it is nowhere.
        box: (4,) x, y, width, height of where to look in the next frame [frame px]; none where it is lost.
        misses: Frames in a row, this one the last, in which it was not where it was looked for.
        searched: Whether the frame was looked at in patches.
    """

    poses: Poses
    box: Floats | None
    misses: int = 0
    searched: bool = False


class PatchSearchAnalyzer:
    """A network of crops and one animal, found in patches: the same face as ``rigpose.analyzers.analyzer.Analyzer``.

    Args:
        crops: The network.
        search: How to find and follow. The box around the animal is ``box_margin`` of the model wider on each side than
            its sure keypoints; cutting it out brings it to the network's proportions.

    Raises:
        ConfigError: The model is of several animals.
    """

    def __init__(self, crops: CropAnalyzer, search: PatchSearch) -> None:
        check_searchable(crops.spec)
        self.crops = crops
        self.search = search

    @property
    def spec(self) -> ModelSpec:
        """What the poses are of."""
        return self.crops.spec

    @property
    def device(self) -> str:
        """Where the network runs."""
        return self.crops.session.device

    @property
    def settings(self) -> dict[str, Any]:
        """How the animal is found and followed."""
        return {"patch_search": to_mapping(self.search)}

    def run_of(self, height: int, width: int) -> FrameRun:
        """The way of frames of this size: slots hold whole frames."""
        return WholeFrameRun((height, width), self.follow, self.search.search_every)

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Poses]:
        """Poses of frames that do not follow each other, each searched in patches, in order [frame px]."""
        listed = as_list(frames)
        return [known.poses for known in self.look(listed, [None] * len(listed))]

    def follow(self, frames: Frames) -> list[Poses]:
        """Poses of neighbouring frames (B, H, W, 3) of a video, the first of which begins a stretch [frame px]."""
        every = self.search.search_every
        known: dict[int, Followed] = {}
        for step in range(min(every, len(frames))):
            rows = range(step, len(frames), every)
            before = [known[row - 1] if step else None for row in rows]
            known.update(zip(rows, self.look(frames[step::every], before), strict=True))
        return [known[row].poses for row in range(len(frames))]

    def look(self, frames: Frames | Sequence[Frames], known: Sequence[Followed | None]) -> list[Followed]:
        """One frame further, in several videos at once.

        Args:
            frames: One of each.
            known: Of the frame before each; none where nothing is known.
        """
        now: dict[int, Followed] = {}
        told = {row: (past, past.box) for row, past in enumerate(known) if past is not None and past.box is not None}
        seen = self.crops.predict([frames[row] for row in told], [box[None] for _, box in told.values()])
        for (row, (past, box)), poses in zip(told.items(), seen, strict=True):
            around = self._around(poses, frames[row].shape[:2])
            if around is not None:
                now[row] = Followed(_scored(poses), around)
            elif past.misses + 1 < self.search.misses:
                now[row] = Followed(_scored(poses), box, past.misses + 1)
        lost = [row for row in range(len(frames)) if row not in now]
        now.update(zip(lost, self._searched([frames[row] for row in lost]), strict=True))
        return [now[row] for row in range(len(frames))]

    def _searched(self, frames: Sequence[Frames]) -> list[Followed]:
        """The animal of each frame, wherever in it."""
        tried = self.crops.predict(frames, [self.search.patches(*frame.shape[:2]) for frame in frames])
        best = [poses.take(np.array([_scores(poses).argmax()])) for poses in tried]
        around = [self._around(poses, frame.shape[:2]) for poses, frame in zip(best, frames, strict=True)]
        there = {row: box for row, box in enumerate(around) if box is not None}
        nothing = np.empty((0, 4), np.float32)
        nobody = replace(Poses.empty(len(self.spec.keypoints)), animal_score=nothing[:, 0], boxes=nothing)
        found = [Followed(nobody, None, searched=True) for _ in frames]
        # A patch shows the animal smaller than the crops that the network has learnt from.
        closer = self.crops.predict([frames[row] for row in there], [box[None] for box in there.values()])
        for (row, box), poses in zip(there.items(), closer, strict=True):
            seen = self._around(poses, frames[row].shape[:2])
            found[row] = (
                Followed(_scored(best[row]), box, searched=True)
                if seen is None
                else Followed(_scored(poses), seen, searched=True)
            )
        return found

    def _around(self, poses: Poses, size: tuple[int, ...]) -> Floats | None:
        """(4,) where the animal will be looked for in the next frame; none where too few keypoints are sure."""
        xyxy, _ = boxes_around(poses, self.spec.box_margin, size, sure_score=self.search.min_score)
        if not len(xyxy):
            return None
        [box] = corner_and_size(xyxy)
        lacking = np.maximum(np.float32(self.search.least_side) - box[2:], 0)
        return np.concatenate([box[:2] - lacking / 2, box[2:] + lacking])


def _scores(poses: Poses) -> Array:
    """(N,) mean score, 0 for missing keypoints."""
    return np.where(np.isnan(poses.score), 0, poses.score).mean(axis=1)


def _scored(poses: Poses) -> Poses:
    return replace(poses, animal_score=_scores(poses).astype(np.float32))


def check_searchable(spec: ModelSpec) -> None:
    """Make sure that patches can find what a model finds.

    Raises:
        ConfigError: The model is of several animals, or of no crops.
    """
    if spec.task != "top_down":
        raise ConfigError(
            f"search patches: finds the animal of a top-down model, and this one is of the task {spec.task}; leave it "
            "out."
        )
    if len(spec.individuals) > 1:
        raise ConfigError(
            f"search patches: finds one animal, and the model is of {len(spec.individuals)} "
            f"({', '.join(spec.individuals)}); export it again with a snapshot of its detector."
        )
