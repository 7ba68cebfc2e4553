"""Several animals: a detector looks at some frames, and between them each animal is looked for around its last pose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rigpose.analyzers.top_down import TopDownAnalyzer
from rigpose.errors import ConfigError
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.finding.following import Identities, remembered
from rigpose.live.finding.input_slots import of_one_size
from rigpose.live.finding.pose_finder import Found, Looked
from rigpose.live.finding.warming import repeats
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.tracking.settings import TrackingSettings


@dataclass
class _Trail:
    """What is known of a camera's animals.

    Attributes:
        size: (H, W) of the frames; in those of another size nothing is known.
        poses: Of the last frame, as the network gave them: whatever outputs or predictors make of them has no say in
            where an animal is looked for [frame px].
        expected: Animals that the last detection found and that can be followed: boxes without a sure pose are none.
        since: Frames that were looked at since the last detection, that one included.
        detected: When the last detection was [s].
        searched: When the last one was that a lost animal had asked for [s].
        lost: Whether fewer animals can be followed than are expected, or none at all.
    """

    size: tuple[int, ...]
    poses: Poses
    expected: int
    since: int
    detected: float
    searched: float
    lost: bool


class BoxesFinder:
    """A ``PoseFinder`` over a detector and a network of crops.

    Every crop is of the network's own size, and a batch has as many as there are animals: sessions take any number
    without being built anew, and ``warm_up`` runs them all.

    Args:
        model: Its ``detect_every`` counts frames that are looked at, not those that were superseded.
        ids: How animals are told apart; none for models of one animal.
        redetect_s: The detector looks at least so often [s]; none for ``detect_every`` alone.
        search_s: When an animal is lost, or none is there, the detector looks at the same frame, but for the sake of
            lost animals no more often than this [s]. None leaves them lost until the next detection.

    Raises:
        ConfigError: A time below zero.
    """

    def __init__(
        self,
        model: TopDownAnalyzer,
        ids: TrackingSettings | None,
        *,
        redetect_s: float | None = None,
        search_s: float | None = None,
    ) -> None:
        for name, seconds in (("redetect_s", redetect_s), ("search_s", search_s)):
            if seconds is not None and not seconds >= 0:
                raise ConfigError(f"{name}: {seconds:g} s is no time; give 0 or more.")
        self.model = model
        self._redetect = math.inf if redetect_s is None else redetect_s
        self._search = math.inf if search_s is None else search_s
        self._identities = Identities(ids)
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
        black = np.zeros((height, width, 3), np.uint8)
        crops, most = self.model.crops, self.model.detector.spec.max_animals * frames
        for _ in range(repeats(self.device)):
            for count in range(1, frames + 1):
                self.model.detector.look([black] * count)
        for count in range(1, min(most, crops.batch) + 1):
            box = np.array([[0, 0, width, height]] * count, np.float32)
            for _ in range(repeats(self.device)):
                crops.predict([black], [box])

    def find(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        """See ``PoseFinder``."""
        found: dict[int, Found] = {}
        for rows in of_one_size(frames):
            found.update(zip(rows, self._alike([frames[row] for row in rows]), strict=True))
        return [found[row] for row in range(len(frames))]

    def forget(self, camera: str) -> None:
        """See ``PoseFinder``."""
        self._trails.pop(camera, None)
        self._identities.forget(camera)

    def _alike(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        """The animals of frames of one size."""
        before = [self._trail(frame) for frame in frames]
        now: dict[int, _Trail] = {}
        results: dict[int, tuple[Poses, Looked]] = {}
        told = {row: past for row, past in enumerate(before) if past is not None and not self._due(past, frames[row])}
        images = [frames[row].image for row in told]
        around = self.model.poses_around(images, [past.poses for past in told.values()]) if told else []
        for (row, past), poses in zip(told.items(), around, strict=True):
            trail = self._followed(past, poses)
            if not (trail.lost and self._may_search(trail, frames[row])):
                now[row], results[row] = trail, (poses, "boxes")
        due = [row for row in range(len(frames)) if row not in now]
        images = [frames[row].image for row in due]
        detected = self.model.poses_in(images, self.model.detector.look(images)) if due else []
        for row, poses in zip(due, detected, strict=True):
            past, time = before[row], frames[row].arrived
            searched = -math.inf if past is None else past.searched
            if past is not None and (past.lost or row in told):
                searched = time
            now[row] = self._detected(poses, frames[row].image.shape[:2], time, searched)
            results[row] = poses, "detector"
        found = []
        for row, frame in enumerate(frames):
            poses, looked = results[row]
            ids, missing = self._identities.of(frame, poses)
            self._trails[frame.camera] = now[row]
            found.append(Found(poses, ids, looked, lost=now[row].lost or missing))
        return found

    def _trail(self, frame: CapturedFrame) -> _Trail | None:
        trail = self._trails.get(frame.camera)
        return trail if trail is not None and trail.size == frame.image.shape[:2] else None

    def _due(self, trail: _Trail, frame: CapturedFrame) -> bool:
        """Whether the detector looks at a frame whatever is seen in it."""
        return (
            trail.since >= self.model.detect_every
            or frame.arrived - trail.detected >= self._redetect
            or (trail.lost and self._may_search(trail, frame))
        )

    def _may_search(self, trail: _Trail, frame: CapturedFrame) -> bool:
        """Whether the last detection for the sake of a lost animal was long enough ago."""
        return math.isfinite(self._search) and frame.arrived - trail.searched >= self._search

    def _followed(self, past: _Trail, poses: Poses) -> _Trail:
        """After a frame without detection."""
        there = len(self.model.around(poses, past.size).score)
        lost = there < max(past.expected, 1)
        return _Trail(past.size, remembered(poses), past.expected, past.since + 1, past.detected, past.searched, lost)

    def _detected(self, poses: Poses, size: tuple[int, ...], time: float, searched: float) -> _Trail:
        """After a frame with one."""
        there = len(self.model.around(poses, size).score)
        return _Trail(size, remembered(poses), there, since=1, detected=time, searched=searched, lost=not there)
