"""One frame as a camera gave it, with its times."""

from __future__ import annotations

from dataclasses import dataclass

from rigpose.arrays import Frames


@dataclass(frozen=True, slots=True, eq=False)
class CapturedFrame:
    """A frame and when it was taken. Nobody writes into ``image`` after it was handed over.

    Attributes:
        camera: Name of the source that it is from.
        number: The camera's own count, rising; a gap is a frame that the camera or its driver dropped.
        image: (H, W, 3) uint8 BGR.
        arrived: When the driver handed it over [s], by ``rigpose.live.clock``.
        exposed: When it was exposed [s], by the same clock, as well as can be known; ``arrived`` where nothing is.
        device_time: By the camera's own clock [s]; none where it has none.
    """

    camera: str
    number: int
    image: Frames
    arrived: float
    exposed: float
    device_time: float | None = None
