"""Every frame is looked at as a whole, as it is offline; only who is who comes from the frames before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rigpose.analyzers.analyzer import VideoAnalyzer
from rigpose.analyzers.top_down import SURE_KEYPOINTS, SURE_SCORE
from rigpose.arrays import Frames
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.finding.following import Identities
from rigpose.live.finding.input_slots import InputSlots, of_one_size
from rigpose.live.finding.pose_finder import Found, Looked
from rigpose.live.finding.warming import repeats
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.tracking.settings import TrackingSettings


class WholeFrameFinder:
    """A ``PoseFinder`` for every model whose poses of a frame need no other frame.

    Args:
        model: It must look at each frame by itself.
        ids: How animals are told apart; none for models of one animal.
        looked: What looks: the network of whole frames, or a detector inside a combined graph.
    """

    def __init__(self, model: VideoAnalyzer, ids: TrackingSettings | None, looked: Looked = "whole") -> None:
        self.model = model
        self._looked: Looked = looked
        self._identities = Identities(ids)
        self._one_animal = ids is None
        self._slots = InputSlots(model.run_of)

    @property
    def spec(self) -> ModelSpec:
        """See ``PoseFinder``."""
        return self.model.spec

    @property
    def device(self) -> str:
        """See ``PoseFinder``."""
        return self.model.device

    def warm_up(self, height: int, width: int, frames: int) -> None:
        """See ``PoseFinder``."""
        black = np.zeros((height, width, 3), np.uint8)
        for count in range(1, frames + 1):
            for _ in range(repeats(self.device)):
                self._predict([black] * count)

    def find(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        """See ``PoseFinder``."""
        found: dict[int, Found] = {}
        for rows in of_one_size(frames):
            poses = self._predict([frames[row].image for row in rows])
            found.update((row, self._told(frames[row], of_row)) for row, of_row in zip(rows, poses, strict=True))
        return [found[row] for row in range(len(frames))]

    def forget(self, camera: str) -> None:
        """See ``PoseFinder``."""
        self._identities.forget(camera)

    def _predict(self, images: Sequence[Frames]) -> list[Poses]:
        run, slots = self._slots.fill(images)
        return run.poses(run.infer(slots))

    def _told(self, frame: CapturedFrame, poses: Poses) -> Found:
        ids, missing = self._identities.of(frame, poses)
        sure = (poses.score >= SURE_SCORE).sum(axis=1) >= min(SURE_KEYPOINTS, poses.keypoints)
        lost = missing or not len(poses) or (self._one_animal and not sure.any())
        return Found(poses, ids, self._looked, lost=bool(lost))
