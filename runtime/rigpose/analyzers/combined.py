"""Frames -> poses by the combined graph of a top-down pair: detector, crops and pose network in one call.

It finds what ``rigpose.analyzers.top_down`` finds with two graphs, for as many animals as it was exported with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rigpose.analyzers.analyzer import FrameRun, as_list, of_one_size
from rigpose.analyzers.top_down import CropAnalyzer
from rigpose.arrays import Array, Floats, Frames
from rigpose.errors import ConfigError
from rigpose.grouping.missing import finite_or_missing
from rigpose.grouping.suppression import without_doubles
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.poses import Poses
from rigpose.sessions import Session


class CombinedAnalyzer:
    """The combined graph of a pair: the same face as ``rigpose.analyzers.top_down.TopDownAnalyzer``.

    Args:
        spec: Of the pose network.
        detector: Which boxes become animals.
        session: Of the graph.
        animals: How many boxes of a frame the graph looks into.
        same_animal: Object keypoint similarity from which on two poses of a frame are of one animal, and the one whose
            box scores less is dropped. None keeps all.

    Raises:
        ConfigError: More animals than the graph looks for, or boxes that are dropped for their overlap: the graph
            cannot look into others in their place.
    """

    def __init__(
        self,
        spec: ModelSpec,
        detector: DetectorSpec,
        session: Session,
        *,
        animals: int,
        same_animal: float | None = None,
    ) -> None:
        if detector.max_animals > animals:
            raise ConfigError(
                f"max_animals: the combined graph looks for {animals} animals of a frame and not for "
                f"{detector.max_animals}; give at most {animals}, or run the two graphs without combined."
            )
        if detector.max_overlap < 1:
            raise ConfigError(
                "detector_iou: the combined graph has looked into the best boxes before any is dropped, and into none "
                "in its place; leave it out, use same_animal, or run the two graphs without combined."
            )
        self._spec = spec
        self.detector = detector
        self.session = session
        self.animals = animals
        self.same_animal = same_animal

    @property
    def spec(self) -> ModelSpec:
        """Of the pose network."""
        return self._spec

    @property
    def device(self) -> str:
        """Where the graph runs."""
        return self.session.device

    @property
    def settings(self) -> dict[str, Any]:
        """Which boxes are animals, and which poses stay."""
        return {
            "combined": True,
            "max_animals": self.detector.max_animals,
            "detector_cutoff": self.detector.min_score,
            "same_animal": self.same_animal,
        }

    def run_of(self, height: int, width: int) -> FrameRun:
        """The way of frames of this size: slots hold whole frames, which are the graph's input."""
        return _FrameRun(self, (height, width))

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Poses]:
        """Poses of frames of any sizes, in order [frame px]; those of one frame by falling score of their boxes.

        Args:
            frames: One frame (H, W, 3), a batch (B, H, W, 3), or a list of frames; uint8 BGR as OpenCV reads them.
                Neighbours of one size run as one batch.
        """
        found: list[Poses] = []
        for alike in of_one_size(as_list(frames)):
            found += self.poses(self.infer(np.stack(alike)))
        return found

    def infer(self, frames: Frames) -> dict[str, Array]:
        """Run frames (B, H, W, 3) uint8 BGR; return the graph's ``boxes``, ``scores`` and ``keypoints``.

        Raises:
            ValueError: They are no such frames.
        """
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"expected uint8 BGR frames (B, H, W, 3), got {frames.dtype} {frames.shape}")
        return self.session.run({"frames": np.ascontiguousarray(frames)})

    def poses(self, found: Mapping[str, Array]) -> list[Poses]:
        """One ``Poses`` per frame [frame px] of what ``infer`` gave.

        Args:
            found: ``boxes`` (B, N, 4) x, y, x, y, ``scores`` (B, N) and ``keypoints`` (B, N, K, 3) x, y, score. A row
                with a NaN or infinite box, or a score of 0, is no animal.
        """
        keypoints = finite_or_missing(found["keypoints"])
        frames = zip(found["boxes"], found["scores"], keypoints, strict=True)
        return [self._frame(boxes, scores, there) for boxes, scores, there in frames]

    def _frame(self, boxes: Floats, scores: Floats, keypoints: Floats) -> Poses:
        usable = np.isfinite(boxes).all(axis=1) & np.isfinite(scores) & (scores > 0)
        rows = np.flatnonzero(usable & (scores >= self.detector.min_score))
        rows = rows[np.argsort(-scores[rows], kind="stable")][: self.detector.max_animals]
        corners = boxes[rows]
        poses = replace(
            Poses.from_array(keypoints[rows]),
            animal_score=scores[rows],
            boxes=np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1),
        )
        return poses if self.same_animal is None else without_doubles(poses, oks=self.same_animal)


def by_the_pose_graph(found: Sequence[Poses], crops: CropAnalyzer, frames: Sequence[Frames]) -> list[Poses]:
    """What the pose graph alone says in the boxes in which a combined graph found ``found``, for comparing the two.

    Boxes and their scores are taken over, so that no box that is rounded otherwise shifts a crop by a pixel.
    """
    boxes = [np.empty((0, 4), np.float32) if poses.boxes is None else poses.boxes for poses in found]
    alone = crops.predict(frames, boxes)
    return [replace(poses, animal_score=told.animal_score) for poses, told in zip(alone, found, strict=True)]


@dataclass(frozen=True)
class _FrameRun:
    """A run whose slots are whole frames."""

    analyzer: CombinedAnalyzer
    slot_size: tuple[int, int]
    period: int = 1

    def write(self, frame: Frames, out: Frames) -> None:
        np.copyto(out, frame)

    def infer(self, batch: Frames) -> dict[str, Array]:
        return self.analyzer.infer(batch)

    def poses(self, inferred: dict[str, Array]) -> list[Poses]:
        return self.analyzer.poses(inferred)
