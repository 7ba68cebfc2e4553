"""What is kept of a camera's animals from frame to frame: poses, and who is who."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from rigpose.arrays import Array
from rigpose.live.captured_frame import CapturedFrame
from rigpose.poses import Poses
from rigpose.tracking.settings import TrackingSettings
from rigpose.tracking.tracker import Tracker


def remembered(poses: Poses) -> Poses:
    """A copy to follow animals by. What outputs and predictors make of the poses they are given has no say in it."""
    return replace(poses, xy=poses.xy.copy(), score=poses.score.copy())


@dataclass
class _Trail:
    """Of one camera.

    Attributes:
        tracker: Is shown every frame that is looked at.
        turn: How many those were.
        seen: Id -> the last turn with that animal, for ids that have not ended.
    """

    tracker: Tracker
    turn: int = 0
    seen: dict[int, int] = field(default_factory=dict)


class Identities:
    """The numbers that animals keep from frame to frame, per camera.

    Time is counted in frames that are looked at, whatever number of others was superseded between two of them: the
    motion of the tracker adapts to steps of two frames as to steps of one. To predict across each superseded frame
    makes a track's doubt grow so fast that its own animal is soon too unlike it: in simulations with 60 % superseded
    frames that ended more ids than it saved.

    Args:
        settings: How animals are told apart; none for models of one animal, which is number 0.
    """

    def __init__(self, settings: TrackingSettings | None) -> None:
        self._settings = settings
        self._trails: dict[str, _Trail] = {}

    def of(self, frame: CapturedFrame, poses: Poses) -> tuple[Array, bool]:
        """Ids (N,) of the animals of a frame, and whether one whose id has not ended is not there."""
        if self._settings is None:
            return np.zeros(len(poses), np.int64), False
        trail = self._trails.get(frame.camera)
        if trail is None:
            trail = self._trails[frame.camera] = _Trail(Tracker(self._settings))
        trail.turn += 1
        ids = trail.tracker.update(poses)
        trail.seen.update(dict.fromkeys(ids[ids >= 0].tolist(), trail.turn))
        ended = [one for one, turn in trail.seen.items() if trail.turn - turn > self._settings.max_age]
        for one in ended:
            del trail.seen[one]
        return ids, min(trail.seen.values(), default=trail.turn) < trail.turn

    def forget(self, camera: str) -> None:
        """Animals of this camera are counted anew."""
        self._trails.pop(camera, None)
