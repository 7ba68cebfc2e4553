"""What a camera is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from rigpose.live.faults import LiveError


@dataclass(frozen=True)
class Asked:
    """Settings of a source; none leaves the camera's own. What came of them is in ``Applied``.

    Attributes:
        width: Of its frames [px].
        height: Of its frames [px].
        frames_per_second: Its rate; not with ``trigger_line``, which sets the rate from outside.
        exposure: [ms]. It also switches the camera's own control of it off.
        trigger_line: The camera's input that starts each frame, by the name that the camera gives it, e.g. ``Line1``.
        pixel_format: By its GenICam name, e.g. ``Mono8``; for GenICam and Basler cameras.
        paced: Whether recordings play at their own speed, or as fast as their frames are read.
        loop: Whether recordings begin again at their end.
    """

    width: int | None = None
    height: int | None = None
    frames_per_second: float | None = None
    exposure: float | None = None
    trigger_line: str | None = None
    pixel_format: str | None = None
    paced: bool = True
    loop: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "height", "frames_per_second", "exposure"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise LiveError(f"{name}: {value:g} makes no sense for a camera; give a number above 0.")
        if self.trigger_line is not None and self.frames_per_second is not None:
            raise LiveError(
                "frames_per_second: a camera that is triggered from outside has no rate of its own; ask for a trigger "
                "line or for a rate."
            )
