"""What nobody notices who waits for the next frame: cameras that freeze, outputs that stall, a run that slows down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rigpose.live.clock import Clock, now
from rigpose.live.faults import FaultKind
from rigpose.live.running.capture import Capture
from rigpose.live.running.health import Health
from rigpose.live.running.ledger import Ledger
from rigpose.live.running.output_thread import OutputThread
from rigpose.live.running.run_options import LiveOptions
from rigpose.live.running.stage_times import StageTimes

WINDOW = 5.0
"""Rates, deadlines and drift are judged over so long [s]."""
ENOUGH = 20
"""Frames without which a median or a rate says nothing."""
SLOWER = 1.5
"""A window's median age over the first window's from which on the run has drifted."""
RATE_SHARE = 0.9
"""Part of the rate that a camera says it has, and must keep."""

_LOOK_AT: Mapping[str, str] = {
    "wait": "frames wait longer for the graphs: look at what else keeps the processor busy",
    "sessions": "the graphs take longer: look at the temperature, clock and power limit of the device, and at what "
    "else uses it (nvidia-smi -q -d PERFORMANCE)",
    "overhead": "the software around the graphs takes longer: look at other processes, the machine's power mode, and "
    "the number of animals",
}


class Watch:
    """Looks at a run from outside, now and then.

    Args:
        captures: Its cameras.
        outputs: Its outputs.
        times: What its frames took.
        ledger: Where its frames went.
        options: What is a fault.
        make_safe: Lets go of everything that is driven.
        health: Where faults are reported.
        clock: The run's.
    """

    def __init__(  # noqa: PLR0913  # it looks at every part of a run
        self,
        captures: Sequence[Capture],
        outputs: Sequence[OutputThread],
        times: StageTimes,
        ledger: Ledger,
        *,
        options: LiveOptions,
        make_safe: Callable[[], None],
        health: Health,
        clock: Clock = now,
    ) -> None:
        self._captures, self._outputs, self._times, self._ledger = captures, outputs, times, ledger
        self._options, self._make_safe, self._health, self._clock = options, make_safe, health, clock
        self._begun = clock()
        self._before, self._counts = times.sums(), ledger.counts()
        self._at_first: dict[str, float] | None = None

    def look(self) -> None:
        """Report what is wrong by now, and what is right again."""
        time = self._clock()
        for capture in self._captures:
            self._frozen(capture, time - capture.heard)
        for output in self._outputs:
            output.check()
        if time - self._begun >= WINDOW:
            self._judge_window(time - self._begun)
            self._begun = time

    def frozen(self, capture: Capture) -> bool:
        """Whether a camera that should give frames gives none."""
        return capture.going and self._clock() - capture.heard > self._options.frozen_after

    def _frozen(self, capture: Capture, silent: float) -> None:
        if not self.frozen(capture):
            self._health.over(FaultKind.SOURCE_FROZEN, capture.name)
        elif self._health.report(
            FaultKind.SOURCE_FROZEN,
            capture.name,
            f"{capture.name}: gave no frame for {silent:.1f} s; {capture.kind.advice.silent}.",
        ):
            self._make_safe()

    def _judge_window(self, seconds: float) -> None:
        sums, counts = self._times.sums(), self._ledger.counts()
        frames = sums.frames - self._before.frames
        for capture in self._captures:
            then, till_now = self._counts[capture.name], counts[capture.name]
            dropped = till_now.dropped_by_device - then.dropped_by_device
            self._rate(capture, till_now.captured - then.captured, dropped, seconds)
            self._staleness(capture.name, till_now.stale - then.stale, till_now.inferred - then.inferred)
        if frames >= ENOUGH:
            self._deadline((sums.misses - self._before.misses) / frames)
            self._drift(sums.medians_since(self._before))
        self._before, self._counts = sums, counts

    def _rate(self, capture: Capture, frames: int, dropped: int, seconds: float) -> None:
        promised = capture.applied().frames_per_second
        if promised is None or promised * seconds < ENOUGH or not capture.going or self.frozen(capture):
            return
        if frames >= RATE_SHARE * promised * seconds:
            self._health.over(FaultKind.SOURCE_SLOW, capture.name)
            return
        if frames + dropped >= RATE_SHARE * promised * seconds:
            cause = f"{dropped} never came: {capture.kind.advice.gaps}"
        else:
            cause = capture.kind.advice.slow
        self._health.report(
            FaultKind.SOURCE_SLOW,
            capture.name,
            f"{capture.name}: gave {frames / seconds:.1f} frames per second for {WINDOW:g} s and says {promised:g}; "
            f"{cause}.",
        )

    def _staleness(self, camera: str, stale: int, inferred: int) -> None:
        if self._options.max_age is None or stale <= self._options.missed_share * (stale + inferred):
            self._health.over(FaultKind.DEADLINE_MISSED, camera)
            return
        self._health.report(
            FaultKind.DEADLINE_MISSED,
            camera,
            f"{camera}: {stale / (stale + inferred):.1%} of the frames that were taken in {WINDOW:g} s were older than "
            f"{1000 * self._options.max_age:g} ms and so have no poses; allow older ones, or look at how long the "
            "camera takes to hand frames over.",
        )

    def _deadline(self, share: float) -> None:
        if self._options.deadline is None or share <= self._options.missed_share:
            self._health.over(FaultKind.DEADLINE_MISSED, "inference")
            return
        self._health.report(
            FaultKind.DEADLINE_MISSED,
            "inference",
            f"inference: {share:.1%} of the frames of {WINDOW:g} s were older than the deadline of "
            f"{self._options.deadline:g} ms when their poses were there, and {self._options.missed_share:.1%} may be; "
            "take a smaller region or model, or a later deadline.",
        )

    def _drift(self, medians: dict[str, float]) -> None:
        if self._at_first is None:
            self._at_first = medians
            return
        first = self._at_first
        if medians["age"] <= SLOWER * first["age"]:
            self._health.over(FaultKind.LATENCY_DRIFTED, "inference")
            return
        advice = dict.fromkeys(capture.kind.advice.later for capture in self._captures)
        look_at = {"transfer": f"frames come later after their exposure: {' and '.join(advice)}", **_LOOK_AT}
        grown = max(look_at, key=lambda stage: medians[stage] - first[stage])
        self._health.report(
            FaultKind.LATENCY_DRIFTED,
            "inference",
            f"inference: poses are there after {medians['age']:.1f} ms and were after {first['age']:.1f} ms at first; "
            f"{look_at[grown]}.",
        )
