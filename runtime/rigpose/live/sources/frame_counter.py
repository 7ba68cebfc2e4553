"""The counts that drivers give to frames -> numbers that always rise, with gaps where frames are missing."""

from __future__ import annotations

NONE = 2**64 - 1
"""What drivers say where a camera does not count."""
SHORT = 65535
"""Many GigE cameras count from 1 to this, and then from 1 again; 0 is no frame's."""


class FrameCounter:
    """Unrolls a camera's count."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._number = -1

    def number(self, count: int | None, skipped: int = 0) -> int:
        """Number of the next frame, from 0.

        Args:
            count: As the driver says; none where it says nothing.
            skipped: Frames before this one that the driver gave up, as far as it says. It decides where the camera
                does not count or has begun again.
        """
        if count == NONE:
            count = None
        step = 0 if count is None or self._last is None else count - self._last
        if step < 0 and self._last is not None and self._last <= SHORT:
            step += SHORT
            # Shortly before its end to shortly after its beginning is a count that went round; else it began anew.
            step = step if step < SHORT // 2 else 0
        self._last = count
        self._number += step if step > 0 else 1 + skipped
        return self._number
