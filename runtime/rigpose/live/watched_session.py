"""How long the graphs themselves take, so that what the software adds to them is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from rigpose.arrays import Array
from rigpose.live.clock import Clock, now
from rigpose.sessions import Session


class SessionTime:
    """All time that some sessions took together, ever rising. One thread runs them.

    Attributes:
        seconds: So far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0


class TakesTime(Protocol):
    """Whatever knows how long sessions took so far: ``SessionTime``, or a stand-in for a finder with its own."""

    seconds: float


class WatchedSession:
    """A session whose runs are added up."""

    def __init__(self, session: Session, time: SessionTime, clock: Clock = now) -> None:
        self._session, self._time, self._clock = session, time, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    @property
    def device(self) -> str:
        """See ``Session``."""
        return self._session.device

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See ``Session``."""
        begun = self._clock()
        try:
            return self._session.run(inputs)
        finally:
            self._time.seconds += self._clock() - begun


def watch_sessions(owner: Any, clock: Clock = now) -> SessionTime:
    """Put a watch around every session inside an analyzer or a finder, for good, and give the time that they share.

    Args:
        owner: Anything of rigpose that holds sessions under the name ``session``, itself or through what it holds.
        clock: The run's.
    """
    time = SessionTime()
    watched: dict[int, WatchedSession] = {}  # a session that two hold stays one
    for holder in list(_holders(owner, set())):
        session = holder.session
        holder.session = watched.setdefault(id(session), WatchedSession(session, time, clock))
    return time


def _holders(value: Any, seen: set[int]) -> Iterator[Any]:
    """Everything below ``value`` that has a session; each once."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _holders(item, seen)
        return
    if not type(value).__module__.startswith("rigpose") or not hasattr(value, "__dict__"):
        return
    if hasattr(value, "session") and not isinstance(value.session, WatchedSession):
        yield value
    for inner in list(vars(value).values()):
        yield from _holders(inner, seen)
