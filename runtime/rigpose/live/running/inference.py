"""What happens to the frames that were taken out of their slots, on the one thread that runs the graphs."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.faults import FaultKind
from rigpose.live.finding.pose_finder import Found, PoseFinder
from rigpose.live.live_pose import NO_TRIGGERS, LivePose, Stamps
from rigpose.live.running.health import Health
from rigpose.live.running.ledger import Ledger
from rigpose.live.running.output_thread import OutputThread
from rigpose.live.running.slot import Slots
from rigpose.live.running.stage_times import StageTimes
from rigpose.live.watched_session import SessionTime, TakesTime
from rigpose.poses import Poses


class Predictor(Protocol):
    """Says where the animals of a frame will be."""

    latency: float
    """From a frame's exposure to its output, as it was lately [s]; the run tells it about once a second."""

    @property
    def lead(self) -> float:
        """How far ahead [s]."""
        ...

    def predict(self, frame: CapturedFrame, found: Found) -> Poses:
        """The same animals, ``lead`` after the frame's exposure [frame px]."""
        ...


class Triggers(Protocol):
    """Rules on poses."""

    def judge(self, frame: CapturedFrame, found: Found, predicted: Poses | None) -> Mapping[str, bool]:
        """Rule -> whether it holds; always all rules. What was returned does not change any more."""
        ...

    def safe(self) -> Mapping[str, bool]:
        """Switch all rules off: something has failed. It may be called by any thread."""
        ...


@dataclass(frozen=True)
class Looking:
    """Everything that says what is in a frame and what follows from it.

    Attributes:
        finder: Finds the animals.
        predictor: Says where they will be; none predicts nothing.
        triggers: Rules; none has none.
        session_time: What the finder's sessions add their time to.
    """

    finder: PoseFinder
    predictor: Predictor | None = None
    triggers: Triggers | None = None
    session_time: TakesTime | None = None


class Inference:
    """Takes frames, finds their animals, judges them and tells the outputs, one turn after the other.

    Args:
        looking: What is done to a frame.
        slots: Where frames are taken from.
        ledger: Where it is written what became of them.
        times: Where it is written what they took.
        outputs: Who is told.
        health: Where faults are reported.
        failures: So many failures in a row end the run.
        clock: The run's.
    """

    def __init__(  # noqa: PLR0913  # here all parts of a run meet
        self,
        looking: Looking,
        slots: Slots,
        ledger: Ledger,
        times: StageTimes,
        *,
        outputs: Sequence[OutputThread],
        health: Health,
        failures: int = 10,
        clock: Clock = now,
    ) -> None:
        self._looking = looking
        self._slots, self._ledger, self._times = slots, ledger, times
        self._outputs, self._health, self._clock = tuple(outputs), health, clock
        self._session_time = SessionTime() if looking.session_time is None else looking.session_time
        self._failures, self._in_a_row = failures, 0
        self._held: Mapping[str, bool] = NO_TRIGGERS
        self._telling = threading.Lock()

    @property
    def triggers(self) -> dict[str, bool]:
        """Rule -> whether it holds now."""
        return dict(self._held)

    def make_safe(self, *, lost: Collection[str] = ()) -> None:
        """Let no rule hold and bring all outputs to their safe state, whatever result is on its way to them.

        Args:
            lost: Cameras whose results drive nothing any more.
        """
        with self._telling:
            self.switch_off()
            for output in self._outputs:
                output.make_safe(lost=lost)

    def switch_off(self) -> None:
        """Let no rule hold."""
        self._held = dict.fromkeys(self._held, False)
        if self._looking.triggers is not None:
            with suppress(Exception):  # rules that cannot be switched off are told as off all the same
                self._held = dict.fromkeys(self._looking.triggers.safe(), False)

    def turn(self) -> None:
        """Take what is there and see it through; where nothing is, nothing happens."""
        frames = self._slots.take()
        if not frames:
            return
        taken = self._clock()
        before = self._session_time.seconds
        try:
            found = self._looking.finder.find(frames)
            if len(found) != len(frames):
                raise RuntimeError(f"{len(found)} answers to {len(frames)} frames")  # noqa: TRY301
        except BaseException as error:  # noqa: BLE001  # one bad frame must not end a run
            self._fail(frames, error)
            return
        there = self._clock()
        in_sessions = self._session_time.seconds - before
        self._in_a_row = 0
        self._health.over(FaultKind.INFERENCE_FAILED, "inference")
        for frame, animals in zip(frames, found, strict=True):
            self._ledger.inferred(frame.camera)
            with self._telling:
                self._tell(frame, animals, (taken, there, in_sessions))

    def _tell(self, frame: CapturedFrame, found: Found, times: tuple[float, float, float]) -> None:
        taken, there, in_sessions = times
        predicted, lead, triggers = self._judge(frame, found)
        stamps = Stamps(frame.exposed, frame.arrived, taken, there, self._clock(), in_sessions)
        pose = LivePose(frame, found, stamps, predicted, lead, triggers)
        for output in self._outputs:
            output.offer(pose)
        self._times.add(stamps, self._clock())

    def _judge(self, frame: CapturedFrame, found: Found) -> tuple[Poses | None, float, Mapping[str, bool]]:
        """Prediction, its lead, and rules; when any of it raises, there is no prediction and no rule holds."""
        predicted, lead, triggers = None, 0.0, NO_TRIGGERS
        try:
            if self._looking.predictor is not None:
                predicted, lead = self._looking.predictor.predict(frame, found), self._looking.predictor.lead
            if self._looking.triggers is not None:
                triggers = self._held = self._looking.triggers.judge(frame, found, predicted)
        except Exception as error:  # noqa: BLE001  # a rule that raises is a fault, and a safe answer
            self.switch_off()
            self._health.report(
                FaultKind.JUDGING_FAILED,
                "judging",
                f"judging: triggers or prediction raised {type(error).__name__} on frame {frame.number} of "
                f"{frame.camera} ({error}); no rule holds while that goes on.",
            )
            return None, 0.0, self._held
        self._health.over(FaultKind.JUDGING_FAILED, "judging")
        return predicted, lead, triggers

    def _fail(self, frames: Sequence[CapturedFrame], error: BaseException) -> None:
        self._in_a_row += 1
        for frame in frames:
            self._ledger.failed(frame.camera, frame.number)
            with suppress(Exception):  # what was followed may be half changed; the failure is reported below
                self._looking.finder.forget(frame.camera)
        self.make_safe()
        which = " and ".join(f"frame {frame.number} of {frame.camera}" for frame in frames)
        ends = self._in_a_row >= self._failures
        end = f"; it failed {self._in_a_row} times in a row, so the run is over" if ends else ""
        self._health.report(
            FaultKind.INFERENCE_FAILED,
            "inference",
            f"inference: {which} raised {type(error).__name__} ({error}){end}; run rigpose check on the bundle.",
            ends_run=ends,
        )
