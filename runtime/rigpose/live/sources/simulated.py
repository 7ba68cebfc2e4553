"""A camera that is not there: drawn animals at a true pace, with the faults of real cameras on demand."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Floats, Frames
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError, SourceLostError
from rigpose.live.sources.device_clock import DeviceClock
from rigpose.live.sources.frame_source import Applied, SourceEndedError
from rigpose.live.sources.simulated_scene import SimulatedScene
from rigpose.live.sources.source_kind import SourceKind
from rigpose.live.sources.waiting import Sleep, wait_until

LARGEST_SIDE, FASTEST = 8192, 10_000
"""Of its frames [px], and its rate; beyond them there is no memory for the picture, or no time to count the frames."""
_BOOTED = 1000.0
"""What the camera's clock says when it is opened: cameras count from when they were switched on [s]."""


@dataclass(frozen=True)
class SimulatedFaults:
    """What goes wrong, and when; by default nothing does.

    Attributes:
        drop: Share of frames that the camera loses: a gap in the numbers.
        jitter: Frames arrive up to so much later than they were exposed, each by another time [s].
        late: Share of frames that are held up on their way, by ``late_by``. A frame that is held up holds up those
            behind it, too.
        late_by: [s].
        freeze_after: From so long after the first frame on, the camera gives none [s]; none for never.
        freeze_for: Until it gives frames again [s].
        unplug_after: So long after its very first frame it is gone, and stays gone [s]; none for never.
        clock_drift_ppm: How much faster than the run's clock the camera's runs [parts per million].
    """

    drop: float = 0.0
    jitter: float = 0.0
    late: float = 0.0
    late_by: float = 0.05
    freeze_after: float | None = None
    freeze_for: float = math.inf
    unplug_after: float | None = None
    clock_drift_ppm: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1:
            raise LiveError(f"drop: a share of {self.drop:g} leaves no camera; give 0 or more, and less than 1.")
        if not 0 <= self.late <= 1:
            raise LiveError(f"late: {self.late:g} is no share of the frames; give a number from 0 to 1.")
        for name in ("jitter", "late_by", "freeze_after", "freeze_for", "unplug_after"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise LiveError(f"{name}: {value:g} is no time; give 0 or more.")


NO_FAULTS = SimulatedFaults()


class SimulatedCamera:
    """Walking animals, drawn; the same frames and faults for the same seed.

    It keeps only its newest frame, as an industrial camera in its mode for that: a reader who comes late gets the
    newest one that has arrived and finds a gap in the numbers. Drawing is done while the frame is waited for, so that
    it adds nothing to a frame's age.

    Attributes:
        name: See ``FrameSource``.
        animals: How many there are.
    """

    kind = SourceKind.SIMULATED

    def __init__(  # noqa: PLR0913  # a camera has that many sides
        self,
        name: str = "simulated",
        width: int = 640,
        height: int = 480,
        frames_per_second: float = 100.0,
        *,
        animals: int = 1,
        seconds: float | None = None,
        seed: int = 0,
        faults: SimulatedFaults = NO_FAULTS,
        clock: Clock = now,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Plan the scene.

        Args:
            name: What its frames call their camera.
            width: [px].
            height: [px].
            frames_per_second: Its rate.
            animals: How many there are.
            seconds: How long it gives frames; none for without end.
            seed: Of the ways, the ground and the faults.
            faults: What goes wrong.
            clock: The clock of the run.
            sleep: Lets time pass.

        Raises:
            LiveError: The animals do not fit into the frame, or a number makes no sense.
        """
        numbers = {"animals": animals, "frames per second": frames_per_second, "seconds": seconds}
        for words, value in numbers.items():
            if value is not None and not value > 0:
                raise LiveError(f"{name}: {value:g} {words} make no sense; give a number above 0.")
        if frames_per_second > FASTEST or max(width, height) > LARGEST_SIDE:
            raise LiveError(
                f"{name}: {width}x{height} px at {frames_per_second:g} frames per second are more than any camera "
                f"gives; ask for at most {LARGEST_SIDE} px a side and {FASTEST} frames per second."
            )
        self.name, self.animals = name, animals
        self._size, self._rate, self._seconds, self._seed = (width, height), frames_per_second, seconds, seed
        self._faults, self._clock, self._sleep = faults, clock, sleep
        self._scene = SimulatedScene(width, height, animals, seed)
        self._plugged: float | None = None
        self._begun: float | None = None
        self._closed = True

    def truth(self, number: int) -> Floats:
        """(N, K, 2) where the keypoints ``simulated_scene.KEYPOINTS`` of a frame's animals are [frame px]."""
        return self._scene.truth(number / self._rate)

    def exposed(self, number: int) -> float:
        """When a frame was exposed in truth [s], by the run's clock; frames themselves say what can be known of it."""
        if self._begun is None:
            raise LiveError(f"{self.name}: was never read; frames have no time before.")
        return self._begun + number / self._rate

    def open(self) -> Applied:
        """See ``FrameSource``. Frame 0 is exposed when it is first asked for."""
        if self._unplugged():
            raise LiveError(f"{self.name}: the simulated camera is unplugged; make a new one.")
        self._begun, self._closed = None, False
        self._rng = np.random.default_rng((self._seed, 1))
        self._device_clock = DeviceClock()
        self._drawn: tuple[int, Frames] | None = None
        width, height = self._size
        return Applied(width, height, self._rate)

    def read(self, timeout: float) -> CapturedFrame | None:
        """See ``FrameSource``."""
        if self._closed:
            raise LiveError(f"{self.name}: is not open; open it before reading.")
        if self._begun is None:
            self._begin()
        deadline = self._clock() + timeout
        while True:
            if self._unplugged():
                raise SourceLostError(
                    f"{self.name}: the camera was unplugged after {self._faults.unplug_after:g} s, as was asked of it; "
                    "start again, and it is there again."
                )
            if (newest := self._newest()) is not None:
                return self._handed_over(newest)
            if self._over():
                raise SourceEndedError(f"{self.name}: the {self._seconds:g} s are over.")
            if self._closed or self._clock() >= deadline:
                return None
            self._draw(self._next)
            moment = min(self._arrival, deadline, self._until_unplugged())
            wait_until(moment, self._clock, self._sleep, lambda: self._closed)

    def close(self) -> None:
        """See ``FrameSource``."""
        self._closed = True

    def _begin(self) -> None:
        self._begun = self._clock()
        if self._plugged is None:
            self._plugged = self._begun
        self._next = -1
        self._roll()

    def _newest(self) -> int | None:
        """Number of the newest frame that has arrived and was not handed over; those before it are passed over."""
        newest = None
        while self._arrival <= self._clock() and not self._over():
            newest = self._next
            self._roll()
        return newest

    def _roll(self) -> None:
        """Go on to the next frame that arrives at all, and when it does."""
        faults = self._faults
        while True:
            self._next += 1
            # As many numbers for every frame, so that no fault changes what another one does.
            lost, held_up, way = self._rng.random(3)
            at = self._next / self._rate
            frozen = faults.freeze_after is not None and 0 <= at - faults.freeze_after < faults.freeze_for
            endless = frozen and math.isinf(faults.freeze_for)
            if endless or not (frozen or lost < faults.drop):
                break
        delay = faults.jitter * way + faults.late_by * (held_up < faults.late)
        # Those behind it are looked for when it is there, so a late one holds them up.
        self._arrival = math.inf if endless else self.exposed(self._next) + delay

    def _over(self) -> bool:
        if self._seconds is None or self._begun is None:
            return False
        no_more = math.isinf(self._arrival) and self._clock() - self._begun >= self._seconds
        return no_more or self._next / self._rate >= self._seconds

    def _until_unplugged(self) -> float:
        if self._faults.unplug_after is None or self._plugged is None:
            return math.inf
        return self._plugged + self._faults.unplug_after

    def _unplugged(self) -> bool:
        return self._clock() >= self._until_unplugged()

    def _draw(self, number: int) -> Frames:
        if self._drawn is None or self._drawn[0] != number:
            self._drawn = (number, self._scene.draw(self.truth(number)))
        return self._drawn[1]

    def _handed_over(self, number: int) -> CapturedFrame:
        image, self._drawn = self._draw(number), None
        device_time = _BOOTED + number / self._rate * (1 + self._faults.clock_drift_ppm * 1e-6)
        arrived = self._clock()
        exposed = self._device_clock.exposed(device_time, arrived)
        return CapturedFrame(self.name, number, image, arrived, exposed, device_time)
