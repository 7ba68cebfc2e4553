"""What every camera can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.sources.source_kind import SourceKind


@dataclass(frozen=True)
class Applied:
    """What a camera says that it is doing, which is not always what it was asked for.

    Attributes:
        width: Of its frames [px].
        height: Of its frames [px].
        frames_per_second: As the camera says; none where it says nothing.
        differences: A sentence for each setting that is not what was asked for.
    """

    width: int
    height: int
    frames_per_second: float | None
    differences: tuple[str, ...] = ()


class SourceEndedError(Exception):
    """A recording was played to its end: no fault, but no frame will come any more."""


class FrameSource(Protocol):
    """A camera, or what stands in for one. One thread calls ``open``, then ``read`` again and again, then ``close``."""

    @property
    def name(self) -> str:
        """What its frames call their camera; unique in a run, and the same for the same device on every day."""
        ...

    @property
    def kind(self) -> SourceKind:
        """What it is, so that whoever speaks of its frames says what is true of it."""
        ...

    def open(self) -> Applied:
        """Begin to capture.

        Raises:
            LiveError: There is no such camera, or it cannot do what it was asked for.
        """
        ...

    def read(self, timeout: float) -> CapturedFrame | None:
        """The next frame; none if there was no new one for ``timeout`` [s].

        A source that keeps frames back gives the newest and leaves a gap in the numbers.

        Raises:
            SourceLostError: The camera is gone.
            SourceEndedError: There will be no more.
        """
        ...

    def close(self) -> None:
        """Let go of the camera; a second call does nothing."""
        ...
