"""Frames -> boxes -> crops -> poses: a detector, and a pose network that sees one animal at a time.

Training's evaluation and the rig use these same classes, with sessions of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from rigpose.analyzers.analyzer import FrameRun, WholeFrameRun, as_list, of_one_size, prepared
from rigpose.arrays import Array, Floats, Frames
from rigpose.grouping import group
from rigpose.grouping.suppression import keep_boxes, without_doubles
from rigpose.measures.box_metrics import Boxes
from rigpose.models.crops import Crop, plan_crop
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.models.preprocess import Preparation, plan
from rigpose.poses import Poses
from rigpose.sessions import Session

SURE_SCORE = 0.3
"""Keypoints that score less do not say where an animal will be in the next frame."""
SURE_KEYPOINTS = 2
"""An animal with fewer sure ones, or none where it has only one keypoint, is lost until the next detection."""
FOLLOWED_TWICE = 0.9
"""In frames without detection, poses that are so similar are of one animal: two boxes have come to follow it.

This is a mean distance of a tenth of the root of the animal's box, far more than two crops around one animal make and
less than two animals ever keep.
"""


class BoxAnalyzer:
    """Everything that turns frames into boxes."""

    def __init__(self, spec: DetectorSpec, session: Session) -> None:
        self.spec = spec
        self.session = session
        self._plan = lru_cache(maxsize=16)(lambda height, width: plan(spec.input, height, width))

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Boxes]:
        """All boxes of each frame, the best first [frame px]; neighbours of one size run as one batch."""
        found: list[Boxes] = []
        for alike in of_one_size(as_list(frames)):
            found += self.look(alike)
        return found

    def look(self, frames: Frames | Sequence[Frames]) -> list[Boxes]:
        """All boxes of each of these frames of one size, as ``predict``, in one batch."""
        preparation = self._plan(*frames[0].shape[:2])
        return self.boxes(self.session.run({"frames": prepared(frames, preparation)}), preparation)

    def boxes(self, candidates: Mapping[str, Array], preparation: Preparation) -> list[Boxes]:
        """Read ``boxes`` (B, D, 4) x, y, x, y [input px] and ``scores`` (B, D) of a batch.

        A row with a NaN or infinite value, or a score of 0, is no box.
        """
        found = []
        for xyxy, score in zip(candidates["boxes"], candidates["scores"], strict=True):
            rows = np.flatnonzero(np.isfinite(xyxy).all(axis=1) & np.isfinite(score) & (score > 0))
            rows = rows[np.argsort(-score[rows], kind="stable")]
            corners = preparation.to_frame.apply(xyxy[rows].reshape(-1, 2, 2))
            found.append(Boxes(corners.reshape(-1, 4), score[rows]))
        return found

    def animals(self, boxes: Boxes) -> Boxes:
        """The boxes of one frame, best first, in which a pose is looked for."""
        rows = np.flatnonzero(boxes.score >= self.spec.min_score)
        if self.spec.max_overlap < 1:
            rows = rows[keep_boxes(boxes.xyxy[rows], boxes.score[rows], iou=self.spec.max_overlap)]
        rows = rows[: self.spec.max_animals]
        return Boxes(boxes.xyxy[rows], boxes.score[rows])


class CropAnalyzer:
    """A pose network that sees the crop around one animal.

    Args:
        spec: Of a top-down or conditional top-down model.
        session: Its graph.
        batch: Most crops at a time, whatever frames they are of.
    """

    def __init__(self, spec: ModelSpec, session: Session, *, batch: int = 8) -> None:
        if spec.crop is None:
            raise ValueError(f"the task {spec.task} sees whole frames; use an Analyzer")
        self.spec = spec
        self.session = session
        self.batch = batch
        self._crop = spec.crop
        self._preparation = plan(spec.input, spec.crop.height, spec.crop.width)

    def predict(
        self, frames: Frames | Sequence[Frames], boxes: Sequence[Floats], conditions: Sequence[Floats] | None = None
    ) -> list[Poses]:
        """One pose in each box [frame px]; a frame without boxes has no pose.

        Args:
            frames: F frames of any sizes.
            boxes: F arrays (N, 4) x, y of the upper left corner, width, height [frame px].
            conditions: F arrays (N, K, 3) of rough poses x, y [frame px], score (0 where a keypoint is missing), for
                a conditional network.
        """
        crops = [
            (frame, plan_crop(box, (frame.shape[0], frame.shape[1]), self._crop))
            for frame, rows in zip(frames, boxes, strict=True)
            for box in rows
        ]
        told = None if conditions is None else [pose for rows in conditions for pose in rows]
        found: list[Poses] = []
        for start in range(0, len(crops), self.batch):
            some = slice(start, start + self.batch)
            found += self._look(crops[some], None if told is None else told[some])
        ends = np.cumsum([0, *map(len, boxes)])
        return [self._frame(found[first:last], rows) for first, last, rows in zip(ends, ends[1:], boxes, strict=False)]

    def _look(self, crops: Sequence[tuple[Frames, Crop]], conditions: Sequence[Floats] | None) -> list[Poses]:
        """Poses (1, K) of a batch of crops [frame px]."""
        cut = np.empty((len(crops), self._crop.height, self._crop.width, 3), np.uint8)
        for slot, (frame, crop) in zip(cut, crops, strict=True):
            crop.write(frame, out=slot)
        inputs: dict[str, Array] = {"frames": prepared(cut, self._preparation)}
        to_crop = self._preparation.to_frame
        if conditions is not None:
            seen = [_moved(pose, crop) for pose, (_, crop) in zip(conditions, crops, strict=True)]
            xy = to_crop.inverse().apply(np.stack([pose[:, :2] for pose in seen]))
            score = np.stack([pose[:, 2:] for pose in seen])
            inputs["conditions"] = np.concatenate([xy, score], axis=2).astype(np.float32)
        found = group(self.spec, self.session.run(inputs))
        return [pose.moved(to_crop).moved(crop.to_frame) for pose, (_, crop) in zip(found, crops, strict=True)]

    def _frame(self, found: Sequence[Poses], boxes: Floats) -> Poses:
        """The poses of one frame's crops as one."""
        poses = Poses.empty(len(self.spec.keypoints))
        if found:
            poses = Poses(np.concatenate([p.xy for p in found]), np.concatenate([p.score for p in found]))
        return replace(poses, boxes=boxes)


class TopDownAnalyzer:
    """A detector and a pose network: the same face as ``rigpose.analyzers.analyzer.Analyzer``.

    Args:
        detector: Finds boxes.
        crops: Finds one pose in each.
        detect_every: In videos, how many frames there are from one detection to the next. Between them a box is put
            around the keypoints that an animal was last seen with, ``box_margin`` of the model wider on each side.
        same_animal: Object keypoint similarity from which on two poses of a frame are of one animal, and the one whose
            box scores less is dropped. None keeps all, except in frames without detection, where it is
            ``FOLLOWED_TWICE``.
    """

    def __init__(
        self, detector: BoxAnalyzer, crops: CropAnalyzer, *, detect_every: int = 1, same_animal: float | None = None
    ) -> None:
        self.detector = detector
        self.crops = crops
        self.detect_every = detect_every
        self.same_animal = same_animal

    @property
    def spec(self) -> ModelSpec:
        """Of the pose network."""
        return self.crops.spec

    @property
    def device(self) -> str:
        """Where the pose network runs."""
        return self.crops.session.device

    @property
    def settings(self) -> dict[str, Any]:
        """Which boxes are looked into, and which poses stay."""
        chosen = self.detector.spec
        return {
            "max_animals": chosen.max_animals,
            "detector_cutoff": chosen.min_score,
            "detector_iou": chosen.max_overlap,
            "detect_every": self.detect_every,
            "same_animal": self.same_animal,
        }

    def run_of(self, height: int, width: int) -> FrameRun:
        """The way of frames of this size: slots hold whole frames."""
        return WholeFrameRun((height, width), self.follow, self.detect_every)

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Poses]:
        """Poses of frames of any sizes, in order [frame px]; those of one frame by falling score of their boxes."""
        listed = as_list(frames)
        return self.poses_in(listed, self.detector.predict(listed))

    def poses_in(self, frames: Frames | Sequence[Frames], found: Sequence[Boxes]) -> list[Poses]:
        """Poses where the detector saw something: ``found`` is what its ``predict`` gave for these frames."""
        chosen = [self.detector.animals(boxes) for boxes in found]
        return self._look(frames, chosen, self.same_animal)

    def follow(self, frames: Frames) -> list[Poses]:
        """Poses of neighbouring frames (B, H, W, 3) of a video, the first of which is detected [frame px].

        Stretches from one detection to the next do not depend on each other, so they go in step: the first frames of
        all of them together, then the second ones. Between detections animals keep their order and the score of their
        box; one that is lost has no pose until the next detection, and neither has the weaker of two that have become
        one.
        """
        every = self.detect_every
        found: dict[int, Poses] = {}
        for step in range(min(every, len(frames))):
            rows = range(step, len(frames), every)
            some = frames[step::every]
            if step == 0:
                poses = self.poses_in(some, self.detector.look(some))
            else:
                poses = self.poses_around(some, [found[row - 1] for row in rows])
            found.update(zip(rows, poses, strict=True))
        return [found[row] for row in range(len(frames))]

    def poses_around(self, frames: Frames | Sequence[Frames], last: Sequence[Poses]) -> list[Poses]:
        """Poses where the animals of the frames before were: ``last`` are those, one for each of ``frames``."""
        same = FOLLOWED_TWICE if self.same_animal is None else self.same_animal
        around = [self.around(poses, frame.shape[:2]) for poses, frame in zip(last, frames, strict=True)]
        return self._look(frames, around, same)

    def _look(
        self, frames: Frames | Sequence[Frames], chosen: Sequence[Boxes], same_animal: float | None
    ) -> list[Poses]:
        poses = self.crops.predict(frames, [corner_and_size(boxes.xyxy) for boxes in chosen])
        found = [replace(p, animal_score=boxes.score) for p, boxes in zip(poses, chosen, strict=True)]
        return found if same_animal is None else [without_doubles(p, oks=same_animal) for p in found]

    def around(self, poses: Poses, size: tuple[int, ...]) -> Boxes:
        """Boxes, inside a frame of ``size`` (H, W), around the animals that are not lost."""
        xyxy, rows = boxes_around(poses, self.spec.box_margin, size)
        score = np.empty(0, np.float32) if poses.animal_score is None else poses.animal_score
        return Boxes(xyxy, score[rows])


def boxes_around(
    poses: Poses, margin: float, size: tuple[int, ...], *, sure_score: float = SURE_SCORE
) -> tuple[Floats, Array]:
    """Where the animals of a frame will be looked for in the next one.

    Args:
        poses: Of a frame [frame px].
        margin: Added on each side of the box around an animal's sure keypoints [frame px].
        size: (H, W) of the frame; the boxes lie inside it.
        sure_score: Keypoints that score less do not say where the animal is.

    Returns:
        (M, 4) float32 x, y, x, y [frame px], and (M,) which animals they are of: those that are not lost.
    """
    sure = poses.score >= sure_score  # a missing keypoint, NaN, is not
    limit = np.array(size[::-1], np.float32)
    low = np.where(sure[..., None], poses.xy, np.inf).min(axis=1) - margin
    high = np.where(sure[..., None], poses.xy, -np.inf).max(axis=1) + margin
    low, high = low.clip(0, limit), high.clip(0, limit)
    seen = sure.sum(axis=1) >= min(SURE_KEYPOINTS, poses.keypoints)
    rows = np.flatnonzero(seen & (high > low).all(axis=1))
    return np.concatenate([low, high], axis=1, dtype=np.float32)[rows], rows


def corner_and_size(xyxy: Floats) -> Floats:
    """(N, 4) x, y, x, y -> x, y, width, height, in its own precision: DeepLabCut rounds what float32 gives."""
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)


def _moved(pose: Floats, crop: Crop) -> Floats:
    """(K, 3) x, y [frame px], score -> x, y [crop px], score."""
    return np.concatenate([crop.to_frame.inverse().apply(pose[:, :2]), pose[:, 2:]], axis=1)
