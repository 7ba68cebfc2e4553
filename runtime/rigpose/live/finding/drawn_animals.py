"""Finds the animals of simulated cameras by their colours: a whole live run without any model."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from rigpose.arrays import Floats, Frames
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.finding.pose_finder import Found
from rigpose.live.sources.simulated_scene import COLOURS, KEYPOINTS, SKELETON, Figure
from rigpose.live.sources.waiting import Sleep
from rigpose.live.watched_session import SessionTime
from rigpose.models.model_spec import DekrGrouping, ModelSpec
from rigpose.poses import Poses
from rigpose.tracking.settings import TrackingSettings
from rigpose.tracking.tracker import Tracker

LOW, HIGH = 60, 180
"""Borders of an empty and of a full channel: where a disc covers half a pixel of the ground, whose middle is 120."""
LEAST_AREA = 0.3
"""Specks of less than this part of a disc are none."""
_CENTRE = KEYPOINTS.index("centre")
_REACH = 0.75
"""No keypoint is farther from its animal's centre [body lengths]."""


class DrawnAnimals:
    """A stand-in for a model, of exact duration: ``rigpose.live.finding.pose_finder.PoseFinder`` of drawn animals.

    Attributes:
        session_time: How long it was a network so far.
    """

    def __init__(
        self,
        animals: int | Mapping[str, int] = 1,
        *,
        seconds: float = 0.025,
        clock: Clock = now,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Choose how many animals, and how slow a network to be.

        Args:
            animals: How many the camera draws; or camera -> how many it draws.
            seconds: How long ``find`` takes for however many frames, as a network would [s].
            clock: The clock of the run.
            sleep: Lets time pass.
        """
        self._drawn = {} if isinstance(animals, int) else dict(animals)
        self._most = most = animals if isinstance(animals, int) else max(animals.values(), default=1)
        self._seconds, self._clock, self._sleep = seconds, clock, sleep
        self._spec = ModelSpec(
            task="dekr",
            architecture="drawn_animals",
            keypoints=KEYPOINTS,
            individuals=tuple(f"individual_{i + 1}" for i in range(most)),
            skeleton=SKELETON,
            grouping=DekrGrouping(max_animals=most),
        )
        self._trackers: dict[str, Tracker] = {}
        self.session_time = SessionTime()

    @property
    def spec(self) -> ModelSpec:
        """See ``PoseFinder``."""
        return self._spec

    @property
    def device(self) -> str:
        """See ``PoseFinder``."""
        return f"no model: colours by OpenCV, and waiting until {1000 * self._seconds:g} ms are over"

    def warm_up(self, height: int, width: int, frames: int) -> None:
        """See ``PoseFinder``."""
        for _ in range(frames):
            # One animal fits wherever several do.
            self._poses(np.zeros((height, width, 3), np.uint8), animals=1)

    def find(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        """See ``PoseFinder``; the seconds are those of the network, and following comes after them."""
        begun = self._clock()
        poses = [self._poses(frame.image, self._drawn.get(frame.camera, self._most)) for frame in frames]
        rest = begun + self._seconds - self._clock()
        if rest > 0:
            self._sleep(rest)
        self.session_time.seconds += self._clock() - begun
        return [self._followed(frame, found) for frame, found in zip(frames, poses, strict=True)]

    def forget(self, camera: str) -> None:
        """See ``PoseFinder``."""
        self._trackers.pop(camera, None)

    def _followed(self, frame: CapturedFrame, poses: Poses) -> Found:
        tracker = self._trackers.setdefault(frame.camera, Tracker(TrackingSettings()))
        return Found(poses, tracker.update(poses), looked="whole", lost=not len(poses))

    def _poses(self, image: Frames, animals: int) -> Poses:
        height, width = image.shape[:2]
        figure = Figure.of(width, height, animals)
        discs = [_discs(image, colour, figure.radius) for colour in COLOURS.values()]
        centres = discs[_CENTRE][:, :2]
        if not len(centres):
            return Poses.empty(len(KEYPOINTS))
        table = np.full((len(centres), len(KEYPOINTS), 3), np.nan, np.float32)
        for keypoint, found in enumerate(discs):
            far = np.linalg.norm(found[None, :, :2] - centres[:, None], axis=2)
            animal, disc = linear_sum_assignment(far)
            near = far[animal, disc] < _REACH * figure.length
            table[animal[near], keypoint] = found[disc[near]]
        return Poses(table[..., :2], table[..., 2])


def _discs(image: Frames, colour: tuple[int, int, int], radius: float) -> Floats:
    """(D, 3) x, y [frame px], score of the discs of a colour; the score is how much of a whole disc is seen."""
    least = np.array([HIGH if channel else 0 for channel in colour], np.uint8)
    most = np.array([255 if channel else LOW for channel in colour], np.uint8)
    # Every disc has several pixels in a picture of every fourth part of its radius; its middle needs all of them.
    step = max(1, int(radius / 4))
    spots, _ = cv2.findContours(
        cv2.inRange(image[::step, ::step], least, most), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    found = []
    for spot in spots:
        left, top, width, height = cv2.boundingRect(spot)
        x, y = max(0, (left - 1) * step), max(0, (top - 1) * step)
        around = image[y : (top + height + 1) * step, x : (left + width + 1) * step]
        moments = cv2.moments(cv2.inRange(around, least, most), binaryImage=True)
        area, full = moments["m00"], math.pi * radius**2
        if area >= LEAST_AREA * full:
            # Means of pixel indices; the first pixel's middle is at 0.5.
            middle = x + moments["m10"] / area + 0.5, y + moments["m01"] / area + 0.5
            found.append((*middle, min(area / full, 1.0)))
    return np.array(found).reshape(-1, 3)
