"""When a rule is on: how long its condition must hold, how long it may stay on, and how long it must rest."""

from __future__ import annotations

import math
from collections.abc import Collection


class Timing:
    """On or off, from whose condition holds in each frame.

    Args:
        for_seconds: One animal must have held for so long, without a gap.
        refractory_seconds: Least time from off to on.
        longest_seconds: Most time from on to off; then nothing until no animal holds. None for no limit.
    """

    def __init__(
        self, for_seconds: float = 0.0, refractory_seconds: float = 0.0, longest_seconds: float | None = None
    ) -> None:
        self._for = for_seconds
        self._refractory = refractory_seconds
        self._longest = math.inf if longest_seconds is None else longest_seconds
        self._since: dict[int, float] = {}
        self._begun = -math.inf
        self._ended = -math.inf
        self._spent = False
        self.on = False

    def update(self, time: float, holding: Collection[int]) -> bool:
        """Whether it is on now.

        Args:
            time: Of the frame [s], rising.
            holding: Numbers of the animals whose condition holds; a negative one is of an animal that nobody knows
                from the frame before.
        """
        if self._for > 0:
            self._since = {animal: self._since.get(animal, time) if animal >= 0 else time for animal in holding}
            ready = any(time - begun >= self._for for begun in self._since.values())
        else:
            ready = bool(holding)
        if not holding:
            self._spent = False
        if self.on:
            over = time - self._begun >= self._longest
            if over or not ready:
                self._spent = over and bool(holding)
                self._end(time)
        elif ready and not self._spent and time - self._ended >= self._refractory:
            self.on, self._begun = True, time
        return self.on

    def stop(self, time: float) -> None:
        """Off, and nothing has held so far. The refractory time begins if it was on."""
        self._since, self._spent = {}, False
        if self.on:
            self._end(time)

    def _end(self, time: float) -> None:
        self.on, self._ended = False, time
