"""A live run: cameras -> newest frame of each -> poses -> outputs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence

from rigpose.live.clock import Clock, now
from rigpose.live.faults import FaultKind, LiveError
from rigpose.live.finding.pose_finder import PoseFinder
from rigpose.live.outputs.output import Output
from rigpose.live.running.capture import Capture, Tap
from rigpose.live.running.health import Health
from rigpose.live.running.inference import Inference, Looking, Predictor, Triggers
from rigpose.live.running.ledger import Fate, Ledger, Missing
from rigpose.live.running.output_thread import OutputThread
from rigpose.live.running.run_options import LiveOptions
from rigpose.live.running.slot import Slots
from rigpose.live.running.stage_times import StageTimes
from rigpose.live.running.steady_python import SteadyPython
from rigpose.live.running.summary import write_summary
from rigpose.live.running.watch import Watch
from rigpose.live.sources.frame_source import Applied, FrameSource
from rigpose.live.status import RunState, RunStatus
from rigpose.live.watched_session import TakesTime

TICK = 0.1
"""How often the run is looked at from outside, and longest single wait for a frame [s]."""


TICKS_PER_LATENCY = 10
"""A predictor is told so seldom what results take until they are out."""


class LiveRun:
    """One run, from cameras to outputs. It is started once.

    One thread per camera, one that runs the graphs, one per output, and one that looks at all of them.

    Args:
        finder: Finds the animals.
        sources: Cameras, each of a name of its own.
        outputs: Receivers of the newest result: what they cannot take in time gives way to what is newer.
        recorders: Receivers of all results, in order, up to ``options.kept`` behind.
        taps: Get every captured frame.
        predictor: Says where the animals will be; it is told what the first output's results take.
        triggers: Rules.
        options: How it behaves.
        session_time: What the finder's sessions add their time to (``watch_sessions(finder)``); without it, all of a
            frame's time counts as the software's.
        facts: Who runs on what, for people: handed on in ``RunStatus.facts``.
        clock: The one clock of the run, which sources and session time go by, too.

    Raises:
        LiveError: No camera at all, or two cameras or outputs of one name.
    """

    def __init__(  # noqa: PLR0913  # everything that a run is made of, each a word that a user says
        self,
        finder: PoseFinder,
        sources: Sequence[FrameSource],
        *,
        outputs: Sequence[Output] = (),
        recorders: Sequence[Output] = (),
        taps: Sequence[Tap] = (),
        predictor: Predictor | None = None,
        triggers: Triggers | None = None,
        options: LiveOptions | None = None,
        session_time: TakesTime | None = None,
        facts: Mapping[str, str] | None = None,
        clock: Clock = now,
    ) -> None:
        _check_names([source.name for source in sources], "camera")
        _check_names([output.name for output in (*outputs, *recorders)], "output")
        if not sources:
            raise LiveError("cameras: a live run needs at least one; name a source.")
        self._options = options = LiveOptions() if options is None else options
        self._looking = Looking(finder, predictor, triggers, session_time)
        self._facts = dict(facts or {})
        self._clock = clock
        self._health = Health(clock)
        cameras = [source.name for source in sources]
        self._ledger = Ledger(cameras)
        self._slots = Slots(
            cameras,
            self._ledger,
            max_age=options.max_age,
            max_wait=options.max_wait,
            together=options.together,
            clock=clock,
        )
        self._captures = [
            Capture(source, self._slots, taps=taps, health=self._health, on_lost=self._lose, clock=clock)
            for source in sources
        ]
        self._outputs = [self._output(output, keep_all=False) for output in outputs]
        self._outputs += [self._output(output, keep_all=True) for output in recorders]
        self._times: StageTimes | None = None
        self._inference: Inference | None = None
        self._watch: Watch | None = None
        self._begun = clock()
        self._python = SteadyPython()
        self._warm, self._go = threading.Event(), threading.Event()
        self._stopping = False
        self._stopped = threading.Event()
        self._cold: BaseException | None = None
        self._infers = threading.Thread(target=self._infer, name="rigpose-inference", daemon=True)
        self._watches = threading.Thread(target=self._look, name="rigpose-watch", daemon=True)
        self._last: RunStatus | None = None

    def start(self) -> None:
        """Open cameras and outputs, warm up, and begin; back when it is running.

        Raises:
            LiveError: A camera or output cannot be used, or the run was started before.
            RigposeError: The graphs cannot run frames of these sizes.
        """
        if self._health.state is not RunState.STOPPED or self._last is not None:
            raise LiveError("live run: it was started before; make a new one.")
        self._health.go(RunState.LOADING)
        try:
            self._load()
            self._health.go(RunState.WARM)
            self._begin()
        except BaseException:
            self.stop()
            raise

    def wait(self, seconds: float | None = None) -> bool:
        """Until every camera has come to its end or the run is faulted, at most so long; whether that happened."""
        return self._health.ended.wait(seconds)

    def status(self) -> RunStatus:
        """How it stands; at any time, from any thread."""
        if self._last is not None:
            return self._last
        times, inference = self._times, self._inference
        seconds = 0.0 if times is None else self._clock() - self._begun
        faults = self._health.faults
        left_out = self._health.count - len(faults)
        stages = {} if times is None else times.percentiles()
        stages |= {f"sent to {output.name}": output.latency for output in self._outputs}
        return RunStatus(
            state=self._health.state,
            seconds=seconds,
            cameras=self._ledger.counts(),
            stages=stages,
            histogram={} if times is None else times.bars(),
            moments=() if times is None else times.moments(seconds),
            deadline=self._options.deadline,
            deadline_misses=0 if times is None else times.misses,
            outputs={output.name: output.counts for output in self._outputs},
            triggers={} if inference is None else inference.triggers,
            faults=faults,
            facts=self._facts
            | ({} if times is None else self._sources())
            | ({"faults left out": str(left_out)} if left_out else {}),
            begun=None if times is None else self._begun,
            sources={capture.name: capture.kind for capture in self._captures},
        )

    def _sources(self) -> dict[str, str]:
        """What gives the frames, for people."""
        said = {}
        for capture in self._captures:
            does = capture.applied()
            rate = "" if does.frames_per_second is None else f", {does.frames_per_second:g} frames per second"
            said[f"source {capture.name}"] = f"{capture.kind.value}, {does.width}x{does.height} px{rate}"
        return said

    def applied(self) -> dict[str, Applied]:
        """What each camera says that it does; after ``start``."""
        return {capture.name: capture.applied() for capture in self._captures}

    def missing(self) -> dict[str, dict[Fate, Missing]]:
        """Camera -> why -> the numbers of the frames that have no poses."""
        return {capture.name: self._ledger.missing(capture.name) for capture in self._captures}

    def stop(self) -> RunStatus:
        """End the run: outputs go to their safe state, cameras are closed, and then what waits has its end.

        A second call does nothing.

        Afterwards the ledger is closed, no frame waits any more, and the summary is written. Cameras, outputs and
        graphs that do not come back within ``options.patience`` are reported and left alone.

        Returns:
            How it ended. A run that was faulted stays so.
        """
        if self._last is not None:
            return self._last
        patience = self._options.patience
        over = self._health.ended.is_set() and self._health.state is not RunState.FAULTED
        if not over:  # by hand: what is driven is let go first, and the frames still in work drive it no more
            for output in self._outputs:
                output.make_safe(lost=[capture.name for capture in self._captures])
        for capture in self._captures:
            capture.stop()
        for capture in self._captures:
            capture.join(patience)
        self._end_inference(patience)
        for output in self._outputs:
            output.stop(patience, send_waiting=over)
        self._stopped.set()
        self._python.end()
        if self._health.state not in (RunState.STOPPED, RunState.FAULTED):
            self._health.go(RunState.STOPPED)
        self._health.ended.set()
        if self._watches.ident is not None:
            self._watches.join(patience)
        self._last = self._summed_up()
        return self._last

    def _output(self, output: Output, *, keep_all: bool) -> OutputThread:
        return OutputThread(
            output,
            capacity=self._options.kept if keep_all else self._options.waiting,
            keep_all=keep_all,
            stale_after=self._options.stale_after,
            stalled_after=self._options.stalled_after,
            health=self._health,
            clock=self._clock,
        )

    def _load(self) -> None:
        """All that can be refused: cameras, which open side by side, outputs, and the graphs."""
        for capture in self._captures:
            capture.open()
        for output in self._outputs:
            output.start()
        for capture in self._captures:
            capture.applied()
        self._infers.start()
        self._warm.wait()
        if self._cold is not None:
            raise self._cold

    def _begin(self) -> None:
        self._python.begin()
        self._begun = self._clock()
        times = StageTimes(self._begun, deadline=self._options.deadline)
        self._inference = Inference(
            self._looking,
            self._slots,
            self._ledger,
            times,
            outputs=self._outputs,
            health=self._health,
            failures=self._options.failures,
            clock=self._clock,
        )
        self._watch = Watch(
            self._captures,
            self._outputs,
            times,
            self._ledger,
            options=self._options,
            make_safe=self._inference.make_safe,
            health=self._health,
            clock=self._clock,
        )
        self._times = times
        self._health.go(RunState.RUNNING)
        self._go.set()
        for capture in self._captures:
            capture.begin()
        self._watches.start()

    def _infer(self) -> None:
        """The thread that runs the graphs, the warm-up included: some keep what they prepare per thread."""
        try:
            sizes = Counter((applied.height, applied.width) for applied in self.applied().values())
            for (height, width), cameras in sizes.items():
                self._looking.finder.warm_up(height, width, min(cameras, self._options.together or cameras))
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits for it
            self._cold = error
            return
        finally:
            self._warm.set()
        self._go.wait()
        if self._inference is None:
            return
        try:
            self._run_graphs(self._inference)
        except BaseException as error:  # noqa: BLE001  # a run without this thread would look as if it went on
            self._health.report(
                FaultKind.INFERENCE_FAILED,
                "inference",
                f"inference: the loop itself raised {type(error).__name__} ({error}), so the run is over; report this.",
                ends_run=True,
            )
        self._slots.clear()
        if self._health.state is RunState.FAULTED:
            self._inference.make_safe()

    def _run_graphs(self, inference: Inference) -> None:
        while self._may_go_on():
            if self._slots.wait(TICK):
                inference.turn()

    def _may_go_on(self) -> bool:
        """Whether there may be a frame to infer; where there never will be one again, the run has ended."""
        if self._health.state is RunState.FAULTED:
            return False
        over = all(capture.done for capture in self._captures) and self._slots.empty
        if over:
            self._health.ended.set()
        return not over and not (self._stopping and self._slots.empty)

    def _look(self) -> None:
        watch, ticks = self._watch, 0
        while watch is not None and not self._stopped.wait(TICK):
            watch.look()
            ticks += 1
            if ticks % TICKS_PER_LATENCY == 0:
                self._tell_latency()

    def _tell_latency(self) -> None:
        """Tell the predictor how old results are when the first output, which acts on them, has got them."""
        predictor = self._looking.predictor
        if predictor is not None and self._outputs and self._outputs[0].latency.count:
            predictor.latency = self._outputs[0].latency.p50 / 1000

    def _lose(self, camera: str, sentence: str) -> None:
        """Called by the thread of a camera that is lost: no other one takes its place."""
        if self._inference is not None:
            self._inference.make_safe(lost=(camera,))
        last = not any(capture.going for capture in self._captures)
        self._health.report(FaultKind.SOURCE_LOST, camera, sentence, ends_run=last)

    def _end_inference(self, patience: float) -> None:
        """Let the frames that wait have their end, and no rule hold."""
        self._stopping = True
        self._go.set()
        self._slots.close()
        if self._infers.ident is not None:
            self._infers.join(patience)
        if not self._infers.is_alive():
            self._slots.clear()  # cameras go on for a moment when the graphs do not
            if self._inference is not None:
                self._inference.switch_off()
        else:
            self._health.report(
                FaultKind.INFERENCE_FAILED,
                "inference",
                f"inference: the graphs did not come back within {patience:g} s and were left alone, so that the "
                "frames in work still wait in the ledger; look at the device (nvidia-smi) and end this process.",
            )

    def _summed_up(self) -> RunStatus:
        """The last status, and its file."""
        status = self.status()
        if self._options.summary is None or self._times is None:
            return status
        try:
            write_summary(self._options.summary, status, self.missing())
        except LiveError as error:
            self._health.report(FaultKind.RECORDING_FAILED, "summary", str(error))
            return self.status()
        return status


def _check_names(names: Sequence[str], what: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise LiveError(f"{twice[0]}: two {what}s have this name, so nobody could tell them apart; rename one.")
