"""One animal without a detector: found in overlapping patches of the frame, then looked for around its last pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rigpose.analyzers.patch_search import Followed, PatchSearchAnalyzer
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.finding.pose_finder import Found
from rigpose.live.finding.warming import repeats
from rigpose.models.model_spec import ModelSpec


@dataclass(frozen=True)
class _Trail:
    """What is known of a camera's animal.

    Attributes:
        size: (H, W) of the frames; in those of another size nothing is known.
        step: Frames since the stretch began, as offline.
        known: After the last frame; none where the next one begins a stretch.
    """

    size: tuple[int, ...]
    step: int
    known: Followed | None


class PatchesFinder:
    """A ``PoseFinder`` over what follows one animal in videos, with the same poses for the same frames.

    Args:
        model: Of one animal.
    """

    def __init__(self, model: PatchSearchAnalyzer) -> None:
        self.model = model
        self._trails: dict[str, _Trail] = {}

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
        crops = self.model.crops
        black = np.zeros((height, width, 3), np.uint8)
        patches = self.model.search.patches(height, width)
        # Around its last pose in any number of frames, and the patches of any number of them.
        counts = {*range(1, frames + 1), *(len(patches) * count for count in range(1, frames + 1))}
        for count in sorted({min(count, crops.batch) for count in counts} | {c % crops.batch for c in counts} - {0}):
            for _ in range(repeats(self.device)):
                crops.predict([black], [patches[np.arange(count) % len(patches)]])

    def find(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        """See ``PoseFinder``."""
        trails = [self._trail(frame) for frame in frames]
        now = self.model.look([frame.image for frame in frames], [trail.known for trail in trails])
        found = []
        for frame, trail, known in zip(frames, trails, now, strict=True):
            step = (trail.step + 1) % self.model.search.search_every
            self._trails[frame.camera] = _Trail(trail.size, step, known if step else None)
            ids = np.zeros(len(known.poses), np.int64)
            lost = known.box is None or known.misses > 0
            found.append(Found(known.poses, ids, "patches" if known.searched else "boxes", lost))
        return found

    def forget(self, camera: str) -> None:
        """See ``PoseFinder``."""
        self._trails.pop(camera, None)

    def _trail(self, frame: CapturedFrame) -> _Trail:
        size = frame.image.shape[:2]
        trail = self._trails.get(frame.camera)
        return trail if trail is not None and trail.size == size else _Trail(size, 0, None)
