"""What is seen from outside: deadlines that are missed, latency that grows, cameras that are slower than they say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from live_stand_ins import MovedClock

from rigpose.analyzers.analyzer import Analyzer
from rigpose.analyzers.top_down import BoxAnalyzer
from rigpose.live.faults import FaultKind
from rigpose.live.live_pose import Stamps
from rigpose.live.running.health import Health
from rigpose.live.running.ledger import Ledger
from rigpose.live.running.run_options import LiveOptions
from rigpose.live.running.stage_times import StageTimes
from rigpose.live.running.watch import Watch
from rigpose.live.sources.frame_source import Applied
from rigpose.live.sources.source_kind import SourceKind
from rigpose.live.status import RunState
from rigpose.live.watched_session import WatchedSession, watch_sessions
from rigpose.models.model_spec import DetectorSpec, ModelSpec


class Scene:
    """A camera that says 100 frames per second, watched by a clock that is moved on."""

    def __init__(self, kind: SourceKind = SourceKind.CAMERA, **options: float) -> None:
        self.clock = MovedClock()
        self.health = Health(self.clock)
        for state in (RunState.LOADING, RunState.WARM, RunState.RUNNING):
            self.health.go(state)
        self.ledger = Ledger(["top"])
        self.chosen = LiveOptions(**options)  # pyright: ignore[reportArgumentType]
        self.times = StageTimes(self.clock(), deadline=self.chosen.deadline)
        self.capture = SimpleNamespace(
            name="top", kind=kind, going=True, heard=self.clock(), applied=lambda: Applied(640, 480, 100.0)
        )
        self.made_safe = 0
        self.watch = Watch(
            [self.capture],  # pyright: ignore[reportArgumentType]
            [],
            self.times,
            self.ledger,
            options=self.chosen,
            make_safe=self.make_safe,
            health=self.health,
            clock=self.clock,
        )
        self.number = 0

    def make_safe(self) -> None:
        self.made_safe += 1

    def go_on(self, seconds: float, *, age: float = 0.03, rate: float = 100.0, **stages: float) -> None:
        """Frames of so old poses; ``wait``, ``transfer`` or ``overhead`` take what is said [s], the graphs the rest."""
        for _ in range(round(seconds * rate)):
            self.clock.advance(1 / rate)
            self.ledger.captured("top", self.number)
            self.ledger.inferred("top")
            self.number += 1
            self.capture.heard = found = self.clock()
            arrived = found - age + stages.get("transfer", 0.001)
            taken = arrived + stages.get("wait", 0.004)
            in_graphs = found - taken - stages.get("overhead", 0.0005)
            self.times.add(Stamps(found - age, arrived, taken, found, found, in_graphs), found)
            self.watch.look()

    @property
    def kinds(self) -> list[FaultKind]:
        return [fault.kind for fault in self.health.faults]


def test_steady_run_has_no_faults() -> None:
    scene = Scene(deadline=40)
    scene.go_on(30)
    assert scene.kinds == [] and scene.health.state is RunState.RUNNING and scene.made_safe == 0


def test_missed_deadlines_are_a_fault_while_they_are_too_many() -> None:
    scene = Scene(deadline=40, missed_share=0.05)
    for _ in range(50):  # 4 % of all
        scene.go_on(0.04, age=0.05)
        scene.go_on(0.96)
    assert scene.kinds == []
    scene.go_on(11, age=0.042)
    assert scene.kinds == [FaultKind.DEADLINE_MISSED] and "40 ms" in scene.health.faults[0].sentence
    assert scene.health.state is RunState.DEGRADED
    scene.go_on(11)
    assert scene.health.state is RunState.RUNNING


def test_frames_that_all_come_too_late_are_a_fault() -> None:
    scene = Scene(max_age=0.02)
    scene.go_on(6)
    for _ in range(600):
        scene.clock.advance(0.01)
        scene.capture.heard = scene.clock()
        scene.ledger.captured("top", scene.number)
        scene.ledger.stale("top", scene.number)
        scene.number += 1
        scene.watch.look()
    assert scene.kinds == [FaultKind.DEADLINE_MISSED] and "older than 20 ms" in scene.health.faults[0].sentence
    scene.go_on(12)
    assert scene.health.state is RunState.RUNNING


@pytest.mark.parametrize(
    ("stages", "named"),
    [
        ({}, "temperature"),
        ({"wait": 0.034}, "keeps the processor busy"),
        ({"transfer": 0.031}, "look at its buffers, its cable"),
        ({"overhead": 0.0305}, "power mode"),
    ],
)
def test_drift_is_a_fault_that_names_what_to_look_at(stages: dict[str, float], named: str) -> None:
    scene = Scene()
    scene.go_on(12, age=0.03)
    scene.go_on(12, age=0.044)  # not yet 1.5 times
    assert scene.kinds == []
    scene.go_on(12, age=0.06, **stages)
    assert scene.kinds == [FaultKind.LATENCY_DRIFTED]
    assert named in scene.health.faults[0].sentence and "59.9 ms" in scene.health.faults[0].sentence
    scene.go_on(12, age=0.03)
    assert scene.health.state is RunState.RUNNING


def test_camera_that_is_slower_than_it_says() -> None:
    scene = Scene()
    scene.go_on(12, rate=60)
    assert scene.kinds == [FaultKind.SOURCE_SLOW]
    assert "60.0 frames per second for 5 s and says 100; shorten" in scene.health.faults[0].sentence
    scene.go_on(12, rate=98)
    assert scene.health.state is RunState.RUNNING
    for _ in range(600):
        scene.go_on(0.02, rate=50)
        scene.number += 1
    assert (
        scene.kinds == [FaultKind.SOURCE_SLOW] * 2
        and "never came: the camera or its driver dropped" in scene.health.faults[1].sentence
    )


def test_silent_camera_is_frozen_and_lets_go_once() -> None:
    scene = Scene(frozen_after=0.5)
    scene.go_on(1)
    for _ in range(30):
        scene.clock.advance(0.1)
        scene.watch.look()
    assert scene.kinds == [FaultKind.SOURCE_FROZEN] and scene.made_safe == 1
    scene.go_on(8)
    assert FaultKind.SOURCE_FROZEN not in {kind for kind, _ in scene.health._going_on}
    scene.capture.going = False  # has come to its end
    scene.clock.advance(10)
    scene.watch.look()
    assert scene.kinds.count(FaultKind.SOURCE_FROZEN) == 1


@pytest.mark.parametrize(
    ("kind", "silent", "gaps", "slow", "later"),
    [
        (SourceKind.CAMERA, "cable", "exposure time", "exposure", "cable"),
        (SourceKind.VIDEO_FILE, "disk", "--unpaced", "time stamps", "disk"),
        (SourceKind.SIMULATED, "asked to freeze", "asked to lose", "too busy to draw", "busy"),
    ],
)
def test_advice_is_for_what_the_source_is(kind: SourceKind, silent: str, gaps: str, slow: str, later: str) -> None:
    scene = Scene(kind, frozen_after=0.5)
    scene.go_on(12)
    scene.go_on(12, age=0.06, transfer=0.031)
    scene.go_on(12, rate=60)
    scene.go_on(12)
    for _ in range(600):
        scene.go_on(0.02, rate=50)
        scene.number += 1
    scene.clock.advance(1)
    scene.watch.look()
    faults = {
        fault.kind: [one.sentence for one in scene.health.faults if one.kind is fault.kind]
        for fault in scene.health.faults
    }
    assert later in faults[FaultKind.LATENCY_DRIFTED][0] and silent in faults[FaultKind.SOURCE_FROZEN][0]
    without_gaps, with_gaps = faults[FaultKind.SOURCE_SLOW]
    assert slow in without_gaps and gaps in with_gaps
    said = "".join(sentence for sentences in faults.values() for sentence in sentences)
    assert ("cable" in said or "exposure time" in said) == (kind is SourceKind.CAMERA)


class Slow:
    """A session that takes a quarter of a second by the clock."""

    device, extra = "stub", 7

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock

    def run(self, inputs):
        self.clock.advance(0.25)
        if "wrong" in inputs:
            raise ZeroDivisionError
        return {"scores": np.zeros(1)}


def test_all_sessions_add_to_one_time() -> None:
    clock = MovedClock()
    session, other = Slow(clock), Slow(clock)
    pose = Analyzer(ModelSpec("single_animal", "drawn", ("snout",)), session)
    box = BoxAnalyzer(DetectorSpec(max_animals=1), other)
    again = Analyzer(pose.spec, session)
    pose.inner = {"box": box, "again": [again, pose]}  # pyright: ignore[reportAttributeAccessIssue]
    time = watch_sessions(pose, clock)
    assert isinstance(box.session, WatchedSession) and again.session is pose.session is not session
    assert pose.session.device == "stub" and pose.session.extra == 7  # pyright: ignore[reportAttributeAccessIssue]
    assert pose.session.run({})["scores"].shape == (1,)
    with pytest.raises(ZeroDivisionError):
        box.session.run({"wrong": np.zeros(1)})
    assert time.seconds == pytest.approx(0.5)
    watch_sessions(pose, clock)
    again.session.run({})
    assert time.seconds == pytest.approx(0.75)  # watched once
