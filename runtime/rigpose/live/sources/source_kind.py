"""What gives a run its frames, and so what to look at where they do not come as they should."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Advice:
    """How sentences about a source end.

    Attributes:
        gaps: Its own count has gaps.
        later: Its frames come later after their exposure than at first.
        slow: It gives fewer frames per second than it says, without gaps.
        silent: It gives none for a while.
        raised: It raised something that nobody foresaw.
        stuck: It does not come back from a call.
    """

    gaps: str
    later: str
    slow: str
    silent: str
    raised: str
    stuck: str


class SourceKind(Enum):
    """What a source is."""

    CAMERA = "camera"
    VIDEO_FILE = "video file"
    SIMULATED = "simulated camera"

    @property
    def advice(self) -> Advice:
        """What to look at."""
        return _ADVICE[self]


_ADVICE = {
    SourceKind.CAMERA: Advice(
        gaps="the camera or its driver dropped them; look at its cable, its bus, its exposure time, and what else "
        "keeps this machine busy",
        later="look at its buffers, its cable or network, and its exposure time",
        slow="shorten its exposure, or make the picture smaller",
        silent="look at its cable, its trigger line and its power",
        raised="look at its cable and its driver",
        stuck="unplug the camera and plug it in again before the next run",
    ),
    SourceKind.VIDEO_FILE: Advice(
        gaps="the file could not be read as fast as it plays; add --unpaced, which passes over none, or make its "
        "picture smaller",
        later="look at what else keeps this machine and its disk busy",
        slow="its time stamps lie further apart there; add --unpaced if they mean nothing",
        silent="look at its time stamps, and at the disk or network that it is on",
        raised="look at the file, and at whether another program writes it",
        stuck="look at the disk or network that it is on before the next run",
    ),
    SourceKind.SIMULATED: Advice(
        gaps="this machine was too busy to take them in time, or the camera was asked to lose them",
        later="look at what else keeps this machine busy",
        slow="this machine is too busy to draw its frames; ask for fewer or for smaller ones",
        silent="it was asked to freeze, or this machine is too busy to draw its frames",
        raised="please report this",
        stuck="please report this",
    ),
}
