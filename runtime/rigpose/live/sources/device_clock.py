"""A camera's own clock -> the clock of the run: when frames were exposed, whatever their way here took."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

BIN = 0.5
"""Of the frames of so much device time, the one that was fastest here is kept [s]."""
BINS = 120
"""So many are kept: a minute, over which a crystal in a room of steady temperature keeps its rate."""
MOST_SKEW = 500e-6
"""Crystals are off by 100 ppm at most, so two clocks by 200; more is an accident of the first few frames."""
WRONG_UNIT = 0.01
"""A clock that is off by more does not count seconds, whatever the camera says of its ticks."""
LEAST_SPAN = 2.0
"""With less device time than this, jitter of milliseconds hides any skew, and both clocks count as equal [s]."""
STEP = 1.0
"""Clocks that move apart by this between two frames were set, or the camera began anew [s]."""


@dataclass(frozen=True, slots=True)
class _Fastest:
    """The frame of a bin that took least: where it lies by the camera's clock, and how far the run's is ahead."""

    device: float
    ahead: float


class DeviceClock:
    """Learns how the camera's clock runs against ours, from the frames that come.

    A frame cannot arrive before it was exposed, and now and then one arrives with hardly any delay. So the line that
    lies under all points (device time, arrival) as closely as possible is the camera's clock, and what is above it is
    delay: the linear programme of Moon, Skelly and Towsley (INFOCOM 1999), whose solution is the edge of the lower
    convex hull that spans the mean of the device times. Averages would be led astray by the delays, which have only one
    sign. A delay that all frames have (read-out, transfer) cannot be seen by anybody and is in ``exposed``.

    Memory and time per frame are constant.

    Attributes:
        trusted: Whether the camera's clock can be one of seconds; while it cannot, ``exposed`` is the arrival.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._bins: deque[_Fastest] = deque(maxlen=BINS)
        self._bin = -1
        self._begun = 0.0, 0.0  # device time and arrival of the first frame: what is learned counts from there
        self._last: tuple[float, float, float] | None = None  # device time, arrival and exposure of the last frame
        self._offset = self._skew = 0.0
        self.trusted = True
        self._delay = 0.0

    def exposed(self, device_time: float, arrived: float) -> float:
        """When a frame was exposed, by the clock of ``arrived``: at or before it, and rising from frame to frame.

        Args:
            device_time: By the camera's clock [s]; at or before the last one's, the camera began anew.
            arrived: By ours [s], later than the last one's.
        """
        if self._last is not None and _was_set(device_time - self._last[0], arrived - self._last[1]):
            self._forget()
        if self._last is None:
            self._begun = device_time, arrived
        device, ours = device_time - self._begun[0], arrived - self._begun[1]
        self._learn(device, ours)
        estimate = self._begun[1] + device + self._offset + self._skew * device
        if self._last is not None and not estimate > self._last[2]:
            # What was learned since puts this frame at or before the last one; it cannot have been there.
            estimate = self._last[2] + (device_time - self._last[0]) / 2
        exposed = min(estimate, arrived) if self.trusted else arrived
        # The 1/64 forgets in about a second of frames.
        self._delay += (arrived - exposed - self._delay) / 64
        self._last = device_time, arrived, exposed
        return exposed

    @property
    def skew(self) -> float:
        """How much slower the camera's clock runs than ours: 50e-6 for 50 ppm."""
        return self._skew

    @property
    def residual(self) -> float:
        """How much later than the fastest frames the last ones came, on average [s]."""
        return self._delay

    def _learn(self, device: float, ours: float) -> None:
        fastest = _Fastest(device, ours - device)
        number = math.floor(device / BIN)
        if number > self._bin:
            self._bin = number
            self._bins.append(fastest)
        elif fastest.ahead - self._skew * device < self._bins[-1].ahead - self._skew * self._bins[-1].device:
            self._bins[-1] = fastest
        else:
            return
        points = list(self._bins)
        slope = _slope_under(points)
        self.trusted = abs(slope) < WRONG_UNIT
        self._skew = max(-MOST_SKEW, min(MOST_SKEW, slope))
        self._offset = min(point.ahead - self._skew * point.device for point in points)


def _was_set(device_step: float, our_step: float) -> bool:
    """Whether a clock was set between two frames."""
    return device_step <= 0 or abs(device_step - our_step) > STEP


def _slope_under(points: list[_Fastest]) -> float:
    """Slope of the line under all points that is nearest to them; 0 while they are too few to tell."""
    if points[-1].device - points[0].device < LEAST_SPAN:
        return 0.0
    left, right = _edge_at_mean(points)
    return (right.ahead - left.ahead) / (right.device - left.device)


def _edge_at_mean(points: list[_Fastest]) -> tuple[_Fastest, _Fastest]:
    """The edge of the lower convex hull that spans the mean of the device times; the points rise in device time."""
    hull: list[_Fastest] = []
    for point in points:
        while len(hull) > 1 and _turns_down(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    mean = sum(point.device for point in points) / len(points)
    right = next(i for i in range(1, len(hull)) if hull[i].device >= mean)
    return hull[right - 1], hull[right]


def _turns_down(a: _Fastest, b: _Fastest, c: _Fastest) -> bool:
    """Whether b lies on or above the straight line from a to c."""
    return (b.ahead - a.ahead) * (c.device - a.device) >= (c.ahead - a.ahead) * (b.device - a.device)
