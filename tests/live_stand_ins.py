"""Cameras, finders and outputs of exact behaviour, in real time or by a clock that tests move on."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count

import numpy as np

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.faults import SourceLostError
from rigpose.live.finding.pose_finder import Found
from rigpose.live.live_pose import LivePose
from rigpose.live.sources.frame_source import Applied, SourceEndedError
from rigpose.live.sources.source_kind import SourceKind
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses

SPEC = ModelSpec("single_animal", "stub", ("snout", "left", "right", "tail"))
SMALL = np.zeros((4, 4, 3), np.uint8)
SMALL.flags.writeable = False


class MovedClock:
    """Time that passes only when told to, with things that happen as it passes."""

    def __init__(self, begin: float = 100.0) -> None:
        self.time = begin
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()

    def __call__(self) -> float:
        return self.time

    def at(self, moment: float, happen: Callable[[], object]) -> None:
        """Let something happen when that time comes."""
        heapq.heappush(self._due, (moment, next(self._order), happen))

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due meanwhile, in order."""
        until = self.time + seconds
        while self._due and self._due[0][0] <= until:
            self.time, _, happen = heapq.heappop(self._due)
            happen()
        self.time = until

    def next(self) -> bool:
        """Go on to what is due next; whether there was anything."""
        if self._due:
            self.advance(self._due[0][0] - self.time)
            return True
        return False


class StubFinder:
    """One animal, which takes as long to find as it is told to.

    Attributes:
        seconds: What its sessions took so far, as ``LiveRun(session_time=...)`` reads it.
        looked: (camera, number) of each frame that it was given.
        warmed: What it was warmed up for.
        device: See ``PoseFinder``.
    """

    def __init__(
        self,
        takes: float | Callable[[], float] = 0.0,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Clock = now,
        fails: Callable[[Sequence[CapturedFrame]], bool] = lambda frames: False,
        keeps: bool = True,
    ) -> None:
        self.seconds = 0.0
        self.looked: list[tuple[str, int]] = []
        self.batches: list[int] = []
        self.warmed: list[tuple[int, int, int]] = []
        self.forgotten: list[str] = []
        self.spec, self.device = SPEC, "stub"
        self._takes, self._sleep, self._clock, self._fails, self._keeps = takes, sleep, clock, fails, keeps
        poses = Poses(np.full((1, 4, 2), 2, np.float32), np.ones((1, 4), np.float32))
        self._found = Found(poses, np.zeros(1, np.int64), "whole", lost=False)

    def warm_up(self, height: int, width: int, frames: int) -> None:
        self.warmed.append((height, width, frames))

    def find(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        if self._keeps:
            self.looked += [(frame.camera, frame.number) for frame in frames]
            self.batches.append(len(frames))
        takes = self._takes() if callable(self._takes) else self._takes
        if takes:
            begun = self._clock()
            self._sleep(takes)
            self.seconds += self._clock() - begun
        if self._fails(frames):
            raise RuntimeError("the stub was told to fail")
        return [self._found for _ in frames]

    def forget(self, camera: str) -> None:
        self.forgotten.append(camera)


class StubSource:
    """A camera at a true pace in real time, whose frames all show the same picture.

    Args:
        name: Of the camera.
        period: From one frame to the next [s].
        frames: After so many it has come to its end; none never.
        lost_after: After so many it is gone; none never.
        frozen_after: After so many it gives no more; none never.
        image: (H, W, 3).
        drops: Numbers that the device drops.
    """

    kind = SourceKind.CAMERA

    def __init__(
        self,
        name: str = "camera",
        *,
        period: float = 0.01,
        frames: int | None = None,
        lost_after: int | None = None,
        frozen_after: int | None = None,
        image: np.ndarray = SMALL,
        drops: Sequence[int] = (),
        clock: Clock = now,
    ) -> None:
        self.name = name
        self.opened = self.closed = 0
        self.threads: set[str] = set()
        self._period, self._image, self._clock = period, image, clock
        self._frames, self._lost_after, self._frozen_after = frames, lost_after, frozen_after
        self._numbers: Iterator[int] = (number for number in count() if number not in set(drops))
        self._given = 0
        self._next = 0.0

    def open(self) -> Applied:
        self.opened += 1
        self._note_thread()
        self._next = 0.0
        return Applied(self._image.shape[1], self._image.shape[0], None)  # on a busy machine it cannot promise a rate

    def read(self, timeout: float) -> CapturedFrame | None:
        self._note_thread()
        if self._given == self._lost_after:
            raise SourceLostError(f"{self.name}: was unplugged; plug it in and begin again.")
        if self._given == self._frames:
            raise SourceEndedError
        if self._given == self._frozen_after:
            time.sleep(timeout)
            return None
        exposed = self._next or self._clock()
        if exposed - self._clock() > timeout:
            time.sleep(timeout)
            return None
        time.sleep(max(0.0, exposed - self._clock()))
        # A reader that was kept from running for long is given the present frame, as a camera would.
        self._next = max(exposed + self._period, self._clock())
        self._given += 1
        return CapturedFrame(self.name, next(self._numbers), self._image, self._clock(), exposed)

    def close(self) -> None:
        self.closed += 1
        self._note_thread()

    def _note_thread(self) -> None:
        self.threads.add(threading.current_thread().name)


class KeptOutput:
    """Keeps what it is told.

    Args:
        name: Of the output.
        sends: Called with each result before it is kept; may sleep or raise.

    Attributes:
        said: ``open``, ``safe``, ``close`` and the numbers of frames, in order.
    """

    def __init__(
        self, name: str = "output", sends: Callable[[LivePose], object] = lambda pose: None, *, keeps: bool = True
    ) -> None:
        self.name = name
        self.said: list[str | int] = []
        self.poses: list[LivePose] = []
        self.changed = threading.Condition()
        self._sends, self._keeps = sends, keeps

    def open(self) -> None:
        self._say("open")

    def send(self, pose: LivePose) -> None:
        self._sends(pose)
        if self._keeps:
            self.poses.append(pose)
            self._say(pose.frame.number)

    def safe(self) -> None:
        self._say("safe")

    def close(self) -> None:
        self._say("close")

    def until(self, holds: Callable[[list[str | int]], bool], timeout: float = 20.0) -> bool:
        """Wait until what was said is so; the time is only for machines that are very busy."""
        with self.changed:
            return self.changed.wait_for(lambda: holds(self.said), timeout)

    def _say(self, what: str | int) -> None:
        with self.changed:
            self.said.append(what)
            self.changed.notify_all()


class StubTriggers:
    """One rule, ``near``, which holds until it is told to raise."""

    def __init__(self) -> None:
        self.raises = False
        self.switched_off = 0

    def judge(self, frame: CapturedFrame, found: Found, predicted: Poses | None) -> Mapping[str, bool]:  # noqa: ARG002
        if self.raises:
            raise ZeroDivisionError("the rule was told to raise")
        return {"near": True}

    def safe(self) -> Mapping[str, bool]:
        self.switched_off += 1
        return {"near": False}
