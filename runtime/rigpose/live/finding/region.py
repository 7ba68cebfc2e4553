"""One animal is looked for in a region that follows it; the whole frame is for the frames in which it is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rigpose.analyzers.tracking_crop import Corner, SearchRegions, TrackingAnalyzer
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.finding.following import remembered
from rigpose.live.finding.input_slots import InputSlots, of_one_size
from rigpose.live.finding.pose_finder import Found
from rigpose.live.finding.warming import repeats
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses

MOST_AHEAD = 4.0
"""No animal goes on in a straight line for longer than this many times the time between the last two frames."""


@dataclass(frozen=True)
class _Seen:
    poses: Poses  # [input px]
    number: int


@dataclass(frozen=True)
class _Trail:
    """What is known of a camera's animal.

    Attributes:
        size: (H, W) of the frames; in those of another size nothing is known.
        step: Frames since the stretch began, as offline: what came before it is not asked.
        last: Of the last frame; none where the next one begins a stretch.
        before: Of the frame before that, in the same stretch.
    """

    size: tuple[int, ...]
    step: int = 0
    last: _Seen | None = None
    before: _Seen | None = None


class RegionFinder:
    """A ``PoseFinder`` over what follows one animal in videos, with the same poses where no frame is skipped.

    The network sees two shapes, the whole frame and the region, whatever the animal does. A lost animal is looked for
    in the whole of the same frame.

    Args:
        model: Of one animal.
    """

    def __init__(self, model: TrackingAnalyzer) -> None:
        self.model = model
        self._slots = InputSlots(model.run_of)
        self._regions: dict[tuple[int, ...], SearchRegions] = {}
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
        regions = self._regions_of((height, width))
        black = np.zeros((height, width, 3), np.uint8)
        for count in range(1, frames + 1):
            _, inputs = self._slots.fill([black] * count)
            for _ in range(repeats(self.device)):
                self.model.look_whole(inputs, range(count))
                self.model.look(inputs, dict.fromkeys(range(count), (0, 0)), regions.size)

    def find(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        """See ``PoseFinder``."""
        found: dict[int, Found] = {}
        for rows in of_one_size(frames):
            found.update(zip(rows, self._alike([frames[row] for row in rows]), strict=True))
        return [found[row] for row in range(len(frames))]

    def forget(self, camera: str) -> None:
        """See ``PoseFinder``."""
        self._trails.pop(camera, None)

    def _alike(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        """The animals of frames of one size: one batch of regions, and one of whole frames."""
        size = frames[0].image.shape[:2]
        regions = self._regions_of(size)
        run, inputs = self._slots.fill([frame.image for frame in frames])
        trails = [self._trail(frame) for frame in frames]
        told: dict[int, Corner] = {}
        for row, (frame, trail) in enumerate(zip(frames, trails, strict=True)):
            corner = _next(regions, trail, frame.number)
            if corner is not None:
                told[row] = corner
        seen: dict[int, Poses] = {}
        for (row, corner), poses in zip(told.items(), self.model.look(inputs, told, regions.size), strict=True):
            last = trails[row].last
            if last is not None and regions.found(poses, corner, last.poses):
                seen[row] = poses
        whole = [row for row in range(len(frames)) if row not in seen]
        seen.update(zip(whole, self.model.look_whole(inputs, whole), strict=True))
        found = []
        for row, poses in enumerate(run.poses([seen[row] for row in range(len(frames))])):
            last = _Seen(remembered(seen[row]), frames[row].number)
            self._trails[frames[row].camera] = self._further(trails[row], last)
            lost = not regions.sees(seen[row])
            found.append(Found(poses, np.zeros(len(poses), np.int64), "whole" if row in whole else "region", lost))
        return found

    def _trail(self, frame: CapturedFrame) -> _Trail:
        size = frame.image.shape[:2]
        trail = self._trails.get(frame.camera)
        return trail if trail is not None and trail.size == size else _Trail(size)

    def _further(self, trail: _Trail, seen: _Seen) -> _Trail:
        step = (trail.step + 1) % self.model.crop.search_every
        return _Trail(trail.size, step, seen, trail.last) if step else _Trail(trail.size)

    def _regions_of(self, size: tuple[int, ...]) -> SearchRegions:
        if size not in self._regions:
            height, width = size
            self._regions[size] = SearchRegions(self.model.crop, self.model.analyzer.preparation(height, width))
        return self._regions[size]


def _next(regions: SearchRegions, trail: _Trail, number: int) -> Corner | None:
    """Where to look in the frame of this number; none for the whole of it."""
    last, before = trail.last, trail.before
    if last is None:
        return None
    if before is None:
        return regions.next(last.poses)
    # Where frames were skipped the animal has gone on for longer, or for less long, than between the two before.
    ahead = _between(last.number, number) / _between(before.number, last.number)
    return regions.next(last.poses, before.poses, min(ahead, MOST_AHEAD))


def _between(before: int, now: int) -> int:
    """Frames from one number of a camera to a later one; 1 where the camera began to count anew."""
    return now - before if now > before else 1
