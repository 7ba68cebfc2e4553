"""Frames -> boxes -> crops -> poses: a detector, and a pose network that sees one animal at a time.

Training's evaluation and the rig use these same classes, with sessions of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from rigpose.analyzer import as_list, of_one_size, prepared
from rigpose.arrays import Array, Floats, Frames
from rigpose.box_metrics import Boxes
from rigpose.crops import Crop, plan_crop
from rigpose.grouping import group
from rigpose.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.preprocess import InputSpec, Preparation, plan
from rigpose.sessions import Session


@dataclass(frozen=True)
class DetectorSpec:
    """What a detector is, apart from its weights, and which of its boxes become animals.

    Attributes:
        input: Frame -> network input.
        max_animals: Most boxes of a frame that a pose is looked for in, the best ones.
        min_score: Boxes that score less are no animals. DeepLabCut has no such limit: whatever its detector gives
            counts, so by default does this one's.
    """

    max_animals: int
    input: InputSpec = field(default_factory=InputSpec)
    min_score: float = 0.0


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
            preparation = self._plan(*alike[0].shape[:2])
            found += self.boxes(self.session.run({"frames": prepared(alike, preparation)}), preparation)
        return found

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
        count = min(self.spec.max_animals, int((boxes.score >= self.spec.min_score).sum()))
        return Boxes(boxes.xyxy[:count], boxes.score[:count])


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
        self, frames: Sequence[Frames], boxes: Sequence[Floats], conditions: Sequence[Floats] | None = None
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
        inputs: dict[str, Array] = {"frames": prepared(list(cut), self._preparation)}
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
    """A detector and a pose network: the same face as ``rigpose.analyzer.Analyzer``."""

    def __init__(self, detector: BoxAnalyzer, crops: CropAnalyzer) -> None:
        self.detector = detector
        self.crops = crops

    @property
    def spec(self) -> ModelSpec:
        """Of the pose network."""
        return self.crops.spec

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Poses]:
        """Poses of frames of any sizes, in order [frame px]; those of one frame by falling score of their boxes."""
        listed = as_list(frames)
        return self.poses_in(listed, self.detector.predict(listed))

    def poses_in(self, frames: Sequence[Frames], found: Sequence[Boxes]) -> list[Poses]:
        """Poses where the detector saw something: ``found`` is what its ``predict`` gave for these frames."""
        chosen = [self.detector.animals(boxes) for boxes in found]
        poses = self.crops.predict(frames, [_corner_and_size(boxes.xyxy) for boxes in chosen])
        return [replace(p, animal_score=boxes.score) for p, boxes in zip(poses, chosen, strict=True)]


def _corner_and_size(xyxy: Floats) -> Floats:
    """(N, 4) x, y, x, y -> x, y, width, height, in its own precision: DeepLabCut rounds what float32 gives."""
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)


def _moved(pose: Floats, crop: Crop) -> Floats:
    """(K, 3) x, y [frame px], score -> x, y [crop px], score."""
    return np.concatenate([crop.to_frame.inverse().apply(pose[:, :2]), pose[:, 2:]], axis=1)
