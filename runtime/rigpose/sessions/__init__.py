"""Running a graph: one protocol, one file per backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rigpose.arrays import Array


class Session(Protocol):
    """A loaded graph on a device. Feeds and results go by name."""

    @property
    def device(self) -> str:
        """Where it really runs, for people: ``cpu``, ``cuda:0``."""
        ...

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch; the arrays returned belong to the caller."""
        ...
