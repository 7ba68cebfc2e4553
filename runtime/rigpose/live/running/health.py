"""The states of a live run, which of them may follow which, and the faults that move it from one to another."""

from __future__ import annotations

import threading
from collections import deque

from rigpose.live.clock import Clock, now
from rigpose.live.faults import Fault, FaultKind
from rigpose.live.status import RunState

_MAY_FOLLOW: dict[RunState, tuple[RunState, ...]] = {
    RunState.STOPPED: (RunState.LOADING,),
    RunState.LOADING: (RunState.WARM, RunState.FAULTED, RunState.STOPPED),
    RunState.WARM: (RunState.RUNNING, RunState.FAULTED, RunState.STOPPED),
    RunState.RUNNING: (RunState.DEGRADED, RunState.FAULTED, RunState.STOPPED),
    RunState.DEGRADED: (RunState.RUNNING, RunState.FAULTED, RunState.STOPPED),
    RunState.FAULTED: (),
}
FIRST, LAST = 200, 200
"""Faults that are kept of a run that has more than both together."""


class Health:
    """State and faults of one run, for all of its threads.

    A fault that goes on is one fault however often it is reported, until it is said to be over. While one goes on, the
    run is degraded; when the last one is over, it is running again. A fault that ends the run is never over.

    Attributes:
        ended: Set when the run is faulted, or has nothing more to do.
    """

    def __init__(self, clock: Clock = now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state = RunState.STOPPED
        self._going_on: set[tuple[FaultKind, str]] = set()
        self._first: list[Fault] = []
        self._last: deque[Fault] = deque(maxlen=LAST)
        self._count = 0
        self.ended = threading.Event()

    @property
    def state(self) -> RunState:
        """Where the run is."""
        return self._state

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The oldest first; of very many, those between the first and the last are left out."""
        with self._lock:
            return (*self._first, *self._last)

    @property
    def count(self) -> int:
        """How many faults there were, those that are left out included."""
        return self._count

    def go(self, state: RunState) -> None:
        """Enter a state.

        Raises:
            ValueError: It cannot follow the present one.
        """
        with self._lock:
            self._enter(state)
            if state is RunState.RUNNING and self._going_on:
                self._enter(RunState.DEGRADED)

    def report(self, kind: FaultKind, where: str, sentence: str, *, ends_run: bool = False) -> bool:
        """Say that something is wrong with the camera, output or stage ``where``; whether that is new."""
        with self._lock:
            known = (kind, where) in self._going_on
            if known and not ends_run:
                return False
            self._going_on.add((kind, where))
            fault = Fault(kind, where, sentence, self._clock(), ends_run)
            self._count += 1
            if len(self._first) < FIRST:
                self._first.append(fault)
            else:
                self._last.append(fault)
            if ends_run and RunState.FAULTED in _MAY_FOLLOW[self._state]:
                self._enter(RunState.FAULTED)
            elif self._state is RunState.RUNNING:
                self._enter(RunState.DEGRADED)
        if ends_run:
            self.ended.set()
        return True

    def over(self, kind: FaultKind, where: str) -> None:
        """Say that it is right again; nothing happens where nothing was wrong."""
        if (kind, where) not in self._going_on:  # as nearly always: no lock on the way of every frame
            return
        with self._lock:
            self._going_on.discard((kind, where))
            if not self._going_on and self._state is RunState.DEGRADED:
                self._enter(RunState.RUNNING)

    def _enter(self, state: RunState) -> None:
        if state not in _MAY_FOLLOW[self._state]:
            raise ValueError(f"a run that is {self._state.value} cannot become {state.value}")
        self._state = state
