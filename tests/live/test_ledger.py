"""Every frame is accounted for, at every moment, whatever happens to it."""

from __future__ import annotations

import threading
from functools import partial
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_stand_ins import SMALL, MovedClock, StubFinder

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.faults import LiveError
from rigpose.live.running import ledger as ledger_module
from rigpose.live.running.health import Health
from rigpose.live.running.inference import Inference, Looking
from rigpose.live.running.ledger import Fate, Ledger, Missing
from rigpose.live.running.slot import Slots
from rigpose.live.running.stage_times import StageTimes
from rigpose.live.running.summary import written


def numbers(missing: Missing) -> set[int]:
    return {number for first, last in missing.ranges for number in range(first, last + 1)}


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[int, float, float]]:
    """One camera's frames: dropped before it, time since the one before [s], age as it comes [s]."""
    one = st.tuples(
        st.sampled_from([0, 0, 1, 5]), st.sampled_from([0.0, 0.001, 0.01, 0.03]), st.sampled_from([0, 0.01])
    )
    return draw(st.lists(one, max_size=12))


class Rig:
    """Some cameras, a finder that takes and fails as it is told, and a clock that is moved on."""

    def __init__(
        self, cameras: list[list[tuple[int, float, float]]], looks: list[tuple[float, bool]], **policy
    ) -> None:
        self.clock = MovedClock()
        names = [str(place) for place in range(len(cameras))]
        self.ledger = Ledger(names)
        self.slots = Slots(names, self.ledger, clock=self.clock, **policy)
        turns = cycle(looks)
        self.fails = False

        def takes() -> float:
            seconds, self.fails = next(turns)
            return seconds

        self.finder = StubFinder(takes, sleep=self.clock.advance, clock=self.clock, fails=lambda frames: self.fails)
        self.inference = Inference(
            Looking(self.finder),
            self.slots,
            self.ledger,
            StageTimes(self.clock()),
            outputs=(),
            health=Health(self.clock),
            clock=self.clock,
        )
        self.captured: dict[str, set[int]] = {name: set() for name in names}
        self.dropped: dict[str, set[int]] = {name: set() for name in names}
        for name, frames in zip(names, cameras, strict=True):
            number, moment = 17, self.clock()
            for place, (drop, pause, age) in enumerate(frames):
                if place:
                    self.dropped[name] |= set(range(number + 1, number + 1 + drop))
                    number += 1 + drop
                moment += pause
                self.captured[name].add(number)
                self.clock.at(moment, partial(self.put, CapturedFrame(name, number, SMALL, moment, moment - age)))

    def put(self, frame: CapturedFrame) -> None:
        self.slots.put(frame)
        assert all(counts.closed and counts.waiting >= 0 for counts in self.ledger.counts().values())


@settings(max_examples=150, deadline=None)
@given(
    cameras=st.lists(steps(), min_size=1, max_size=4),
    looks=st.lists(st.tuples(st.sampled_from([0.0, 0.004, 0.013, 0.06]), st.booleans()), min_size=1, max_size=8),
    max_age=st.sampled_from([None, 0.004, 0.02]),
    max_wait=st.sampled_from([0.0, 0.003, 0.05]),
    together=st.sampled_from([None, 1, 3]),
    drain=st.booleans(),
)
def test_ledger_is_closed_under_random_rates_failures_staleness_and_drops(
    cameras: list[list[tuple[int, float, float]]],
    looks: list[tuple[float, bool]],
    max_age: float | None,
    max_wait: float,
    together: int | None,
    drain: bool,  # noqa: FBT001
) -> None:
    rig = Rig(cameras, looks, max_age=max_age, max_wait=max_wait, together=together)
    while rig.clock.next():
        rig.inference.turn()
    rig.clock.advance(1)
    while drain and not rig.slots.empty:
        rig.inference.turn()
    rig.slots.clear()

    for camera, counts in rig.ledger.counts().items():
        assert counts.closed and counts.waiting == 0
        assert counts.captured == len(rig.captured[camera])
        missing = {fate: numbers(of) for fate, of in rig.ledger.missing(camera).items()}
        assert missing[Fate.DROPPED] == rig.dropped[camera] and counts.dropped_by_device == len(rig.dropped[camera])
        assert counts.superseded == len(missing[Fate.SUPERSEDED])
        assert counts.stale == len(missing[Fate.STALE]) and counts.failed == len(missing[Fate.FAILED])
        # Each frame was seen by the finder, superseded or stale: one of them, and none is in two.
        seen = {number for of, number in rig.finder.looked if of == camera}
        assert seen == rig.captured[camera] - missing[Fate.SUPERSEDED] - missing[Fate.STALE]
        assert missing[Fate.FAILED] <= seen and counts.inferred == len(seen) - counts.failed
        assert not missing[Fate.SUPERSEDED] & missing[Fate.STALE]


def test_snapshots_from_another_thread_are_closed() -> None:
    ledger = Ledger(["top"])
    over = threading.Event()
    bad = []

    def ask() -> None:
        while not over.is_set():
            counts = ledger.counts()["top"]
            if not counts.closed or not 0 <= counts.waiting <= 2:
                bad.append(counts)

    asking = threading.Thread(target=ask)
    asking.start()
    waiting = None
    for number in range(3000):
        ledger.captured("top", number, superseded=waiting)
        waiting = number
        if number % 3 == 0:
            ledger.inferred("top")
            waiting = None
    over.set()
    asking.join()
    assert not bad


def test_count_that_does_not_rise_is_refused() -> None:
    ledger = Ledger(["top"])
    ledger.captured("top", 5)
    with pytest.raises(LiveError, match="counted frame 5 after frame 5"):
        ledger.captured("top", 5)
    assert ledger.counts()["top"].captured == 1


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), max_size=60))
def test_ranges_come_back_as_they_were_written(steps: list[tuple[int, int]]) -> None:
    ledger = Ledger(["top"])
    expected: list[list[int]] = []
    number = 0
    ledger.captured("top", number)
    for gap, length in steps:
        # ``gap`` frames in a row that came, of which the ledger is only told the last, then a hole.
        for _ in range(min(gap, 2)):
            number += 1
            ledger.captured("top", number)
        number += length + 1
        ledger.captured("top", number)
        if length:
            expected.append([number - length, number - 1])
    assert [list(pair) for pair in ledger.missing("top")[Fate.DROPPED].ranges] == expected


def test_memory_of_the_numbers_is_bounded_and_says_where_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_MOST", 60)
    ledger = Ledger(["top"])
    for number in range(0, 200, 2):
        ledger.captured("top", number)
    missing = ledger.missing("top")[Fate.DROPPED]
    assert missing.ranges[0] == (1, 1) and 10 < len(missing.ranges) < 60
    assert len(missing.ranges) + missing.not_listed == 99 == ledger.counts()["top"].dropped_by_device


def test_written_ranges() -> None:
    assert written(((2, 2), (4, 7), (9, 9))) == "2,4-7,9"
