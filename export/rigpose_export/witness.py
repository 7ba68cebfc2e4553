"""A session that remembers: what a graph was fed calibrates another, and what it gave is compared with another's."""

from __future__ import annotations

from collections.abc import Mapping

from rigpose.arrays import Array
from rigpose.sessions import Session


class Witness:
    """Passes everything on to a session.

    Attributes:
        fed: The inputs of each batch, copied, as their arrays may be filled again.
        given: The outputs of each batch.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.fed: list[dict[str, Array]] = []
        self.given: list[dict[str, Array]] = []

    @property
    def device(self) -> str:
        """Of the session."""
        return self.session.device

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See ``Session``."""
        self.fed.append({name: array.copy() for name, array in inputs.items()})
        self.given.append(self.session.run(inputs))
        return self.given[-1]
