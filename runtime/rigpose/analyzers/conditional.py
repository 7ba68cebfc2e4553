"""Frames and rough poses -> poses: a network that is told where to look (BUCTD, Zhou et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rigpose.analyzers.analyzer import FrameRun, PoseAnalyzer, WholeFrameRun, as_list
from rigpose.analyzers.top_down import CropAnalyzer
from rigpose.arrays import Floats, Frames
from rigpose.errors import ConfigError
from rigpose.grouping.suppression import without_doubles
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.schema import to_mapping

LEAST_SCORE = 0.05
"""A rough pose none of whose keypoints scores as much is no animal."""
LEAST_AREA = 1.0
"""Nor is one whose box inside the frame is smaller [px squared]."""
SURE_SCORE = 0.2
"""Keypoints that score less have no say in how sure the network is of an animal."""


class ConditionalAnalyzer:
    """A conditional top-down network behind a bottom-up model: the same face as ``Analyzer``.

    Args:
        crops: The network.
        conditions: What finds rough poses in frames; none where they are always given. Its keypoints are found by
            their names; it may have more of them.
        max_animals: Most animals of a frame, those with the surest rough poses; none for the number of individuals.
        same_animal: Object keypoint similarity from which on two poses of a frame are of one animal, and the one with
            the less sure rough pose is dropped; none keeps all.

    Raises:
        ConfigError: ``conditions`` lacks a keypoint of the network.
    """

    def __init__(
        self,
        crops: CropAnalyzer,
        conditions: PoseAnalyzer | None = None,
        *,
        max_animals: int | None = None,
        same_animal: float | None = None,
    ) -> None:
        self.crops = crops
        self.conditions = conditions
        self.max_animals = len(crops.spec.individuals) if max_animals is None else max_animals
        self.same_animal = same_animal
        self._order = [] if conditions is None else _order(crops.spec.keypoints, conditions.spec.keypoints)

    @property
    def spec(self) -> ModelSpec:
        """Of the conditional network."""
        return self.crops.spec

    @property
    def device(self) -> str:
        """Where the network runs."""
        return self.crops.session.device

    @property
    def settings(self) -> dict[str, Any]:
        """How many rough poses count, how they were grouped, and which poses stay."""
        grouping = None if self.conditions is None else self.conditions.spec.grouping
        return {"max_animals": self.max_animals, "same_animal": self.same_animal, "grouping": to_mapping(grouping)}

    def run_of(self, height: int, width: int) -> FrameRun:
        """The way of frames of this size: slots hold whole frames."""
        return WholeFrameRun((height, width), self.predict)

    def predict(self, frames: Frames | Sequence[Frames], conditions: Sequence[Poses] | None = None) -> list[Poses]:
        """Poses of frames of any sizes, in order [frame px], those of one frame in the order of the rough ones.

        All keypoints of an animal get one score: the mean of its surer keypoints times the mean of its rough pose.

        Args:
            frames: One frame (H, W, 3), a batch (B, H, W, 3), or a list of frames.
            conditions: Rough poses of each frame, with the keypoints of this network in their order, in place of
                those that the bottom-up model finds.
        """
        listed = as_list(frames)
        if conditions is None:
            if self.conditions is None:
                raise ValueError("a conditional network needs rough poses: give conditions, or a model that finds them")
            conditions = [_reordered(poses, self._order) for poses in self.conditions.predict(listed)]
        rough = [self._usable(p, (f.shape[0], f.shape[1])) for p, f in zip(conditions, listed, strict=True)]
        found = self.crops.predict(listed, [boxes for _, boxes in rough], [poses for poses, _ in rough])
        found = [_rescored(pose, told) for pose, (told, _) in zip(found, rough, strict=True)]
        same = self.same_animal
        return found if same is None else [without_doubles(poses, oks=same) for poses in found]

    def _usable(self, poses: Poses, size: tuple[int, int]) -> tuple[Floats, Floats]:
        """Rough poses (N, K, 3), zeros for missing keypoints, and their boxes (N, 4) in a frame of ``size`` (H, W)."""
        rough = poses.to_array().astype(np.float64)
        # As DeepLabCut reads poses: a keypoint left of or above the frame is missing.
        there = np.isfinite(rough).all(axis=2, keepdims=True) & (rough >= 0).all(axis=2, keepdims=True)
        rough = np.where(there, rough, 0.0)
        rough = rough[(rough[..., 2] >= LEAST_SCORE).any(axis=1)]
        boxes = _boxes_around(rough, self.spec.box_margin, size)
        large = boxes[:, 2] * boxes[:, 3] >= LEAST_AREA
        rough, boxes = rough[large], boxes[large]
        # A file may hold more rough poses than there are animals.
        surest = np.argsort(-rough[..., 2].mean(axis=1), kind="stable")[: self.max_animals]
        rows = np.sort(surest)
        return rough[rows], boxes[rows]


def _order(own: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """Where each of our keypoints is among theirs."""
    lacking = [name for name in own if name not in theirs]
    if lacking:
        raise ConfigError(
            f"conditions: the model that finds rough poses knows no keypoint {lacking[0]} (it has {', '.join(theirs)});"
            " name a model of the same body parts."
        )
    return [theirs.index(name) for name in own]


def _reordered(poses: Poses, keypoints: Sequence[int]) -> Poses:
    """Rough poses with these keypoints, in this order."""
    return Poses(poses.xy[:, keypoints], poses.score[:, keypoints])


def _boxes_around(rough: Floats, margin: float, size: tuple[int, int]) -> Floats:
    """(N, 4) x, y, width, height of the part inside the frame [frame px] of boxes around the keypoints with a score."""
    seen = rough[..., 2:] > 0
    limit = np.array(size[::-1], float)
    low = np.where(seen, rough[..., :2], np.inf).min(axis=1) - margin
    high = np.where(seen, rough[..., :2], -np.inf).max(axis=1) + margin
    low, high = low.clip(0, limit), high.clip(0, limit)
    return np.concatenate([low, high - low], axis=1)


def _rescored(poses: Poses, rough: Floats) -> Poses:
    sure = poses.score >= SURE_SCORE
    own = np.where(sure, poses.score, 0.0).sum(axis=1) / np.maximum(sure.sum(axis=1), 1)
    told = rough[..., 2].mean(axis=1).astype(np.float32)
    score = np.where(np.isnan(poses.score), np.nan, (told * own)[:, None]).astype(np.float32)
    return replace(poses, score=score, animal_score=told)
