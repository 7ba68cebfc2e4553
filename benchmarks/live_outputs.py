"""What must not disturb a live run: outputs, recordings, browsers and cameras at their worst, one at a time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from live_case import SPEC, PlainOutput, TimedFinder, played

from rigpose.bundles.bundle import Display
from rigpose.live.faults import FaultKind
from rigpose.live.live_pose import LivePose
from rigpose.live.outputs.output import Output
from rigpose.live.outputs.zeromq import ZeroMqOutput
from rigpose.live.recording.recorder import Recorder
from rigpose.live.running.capture import Tap
from rigpose.live.running.loop import LiveRun
from rigpose.live.running.run_options import LiveOptions
from rigpose.live.sources.simulated import SimulatedCamera, SimulatedFaults
from rigpose.live.status import RunStatus
from rigpose.live.viewing.picture import LiveDrawing
from rigpose.live.viewing.web import WebPage

RATE, SESSION = 150.0, 0.004
"""Frames per second of all cameras together, and what a frame takes in the graph [s]: two thirds of the time."""
CAMERA = "camera"
DIES_AFTER = 0.3
"""Part of a turn after which a camera dies."""
_LARGE, _TIMES = 500_000, 60
"""Bytes of a message, of which so many are more than a system's buffers of a connection that nobody reads."""


@dataclass
class Added:
    """What a turn has beside the usual.

    Attributes:
        outputs: As of ``LiveRun``, and so are the next two.
        recorders: See there.
        taps: See there.
        happened: Whether it did what it is there for, so that a turn in which nothing was wrong is no result.
    """

    happened: Callable[[RunStatus], bool]
    outputs: Sequence[Output] = ()
    recorders: Sequence[Output] = ()
    taps: Sequence[Tap] = ()


@dataclass
class Turn:
    """What the frames of one turn took.

    Attributes:
        found: From taking a frame to its poses [ms].
        overhead: The same without the session.
        age_p99: Of the frames when their poses were there [ms].
    """

    found: list[float] = field(repr=False)
    overhead: list[float] = field(repr=False)
    age_p99: float

    @property
    def found_p99(self) -> float:
        """[ms]."""
        return float(np.percentile(self.found, 99))

    @property
    def overhead_p99(self) -> float:
        """[ms]."""
        return float(np.percentile(self.overhead, 99))


def turn(name: str, seconds: float, *, disturbed: bool) -> Turn:
    """A run, with or without the disturbance of that name."""
    runs: list[LiveRun] = []
    finder = TimedFinder.exact(lambda: SESSION)

    def status_now() -> RunStatus:
        return runs[0].status()

    with ExitStack() as stack:
        add = DISTURBANCES[name]
        added = add(stack, status_now) if disturbed and add is not None else None
        rest = {} if added is None else {"recorders": added.recorders, "taps": added.taps}
        status = played(
            finder,
            _cameras(name, seconds, dies=disturbed),
            finder.session_time,
            outputs=[PlainOutput(), *(() if added is None else added.outputs)],
            # Each frame by itself, so that a turn in which one camera is left has batches of the same size.
            options=LiveOptions(together=1),
            started=runs.append,
            **rest,
        )
        happened = _lost_one(status) if disturbed and added is None else added is None or added.happened(status)
    if not happened:
        raise SystemExit(f"{name}: did not happen, so that nothing was measured; {status.outputs}, {status.faults}")
    return Turn(finder.found[CAMERA], finder.overhead[CAMERA], status.stages["age"].p99)


def _cameras(name: str, seconds: float, *, dies: bool) -> list[SimulatedCamera]:
    if DISTURBANCES[name] is not None:
        return [SimulatedCamera(CAMERA, frames_per_second=RATE, seconds=seconds)]
    faults = SimulatedFaults(unplug_after=DIES_AFTER * seconds if dies else None)
    other = SimulatedCamera("the other", frames_per_second=RATE / 2, seconds=seconds, faults=faults)
    return [SimulatedCamera(CAMERA, frames_per_second=RATE / 2, seconds=seconds), other]


def _lost_one(status: RunStatus) -> bool:
    return [fault.where for fault in status.faults if fault.kind is FaultKind.SOURCE_LOST] == ["the other"]


class _FilledZeroMq(ZeroMqOutput):
    """Begins with all buffers between it and its subscriber full, as after hours of a subscriber that hangs."""

    def __init__(self, port: int, heard: Callable[[], bool]) -> None:
        super().__init__(f"tcp://127.0.0.1:{port}", SPEC, connect=True, name="zeromq")
        self._heard = heard

    def open(self) -> None:
        super().open()
        end = time.monotonic() + 10
        while not self._heard():
            if time.monotonic() > end:
                raise SystemExit("zeromq: the subscriber of this computer's own heard nothing within 10 s.")
            self._publish(b"{}")
        for _ in range(_TIMES):
            self._publish(bytes(_LARGE))
            time.sleep(0.005)


def _subscriber_never_reads(stack: ExitStack, _status: Callable[[], RunStatus]) -> Added:
    import zmq

    context = stack.enter_context(zmq.Context())
    subscriber = stack.enter_context(context.socket(zmq.SUB))
    subscriber.setsockopt(zmq.RCVHWM, 1)
    subscriber.setsockopt(zmq.RCVBUF, 65_536)
    subscriber.setsockopt(zmq.LINGER, 0)
    subscriber.setsockopt(zmq.SUBSCRIBE, b"")
    port = subscriber.bind_to_random_port("tcp://127.0.0.1")

    def heard() -> bool:
        """Whether the first message is there; it is not taken."""
        return bool(subscriber.poll(20))

    def happened(status: RunStatus) -> bool:
        """Whether most of what was sent never came through."""
        came = 0
        while subscriber.poll(100):
            subscriber.recv()
            came += 1
        return 0 < came < status.outputs["zeromq"].sent / 2

    return Added(happened, outputs=[_FilledZeroMq(port, heard)])


def _sleeps(_stack: ExitStack, _status: Callable[[], RunStatus]) -> Added:
    output = PlainOutput("sleeps", lambda _: time.sleep(0.1))
    return Added(lambda status: status.outputs["sleeps"].dropped > status.outputs["sleeps"].sent > 0, outputs=[output])


def _raises(_stack: ExitStack, _status: Callable[[], RunStatus]) -> Added:
    def send(_pose: LivePose) -> None:
        raise ConnectionError("the valve does not answer")

    return Added(lambda status: status.outputs["raises"].failed > 0, outputs=[PlainOutput("raises", send)])


def _recorder(stack: ExitStack) -> Recorder:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return Recorder(folder / "run", CAMERA, spec=SPEC, scorer="stand-in", frames_per_second=RATE)


def _records(stack: ExitStack, _status: Callable[[], RunStatus]) -> Added:
    recorder = _recorder(stack)

    def happened(status: RunStatus) -> bool:
        """Whether everything was recorded, so that no time was won with frames that are missing."""
        counts, captured = recorder.counts, status.cameras[CAMERA].captured
        return counts.recorded == counts.offered == captured and counts.poses > 0

    return Added(happened, recorders=[recorder], taps=[recorder])


def _disk_is_full(stack: ExitStack, _status: Callable[[], RunStatus]) -> Added:
    recorder = _recorder(stack)
    recorder.open()
    recorder.files.video.symlink_to("/dev/full")  # every write into it says that there is no space left

    def happened(status: RunStatus) -> bool:
        return FaultKind.RECORDING_FAILED in [fault.kind for fault in status.faults]

    return Added(happened, recorders=[recorder], taps=[recorder])


def _page(browsers: int) -> Callable[[ExitStack, Callable[[], RunStatus]], Added]:
    """The web page, with so many that look at it, in a process of their own."""

    def added(stack: ExitStack, status: Callable[[], RunStatus]) -> Added:
        page = WebPage(status, LiveDrawing.of(SPEC, Display()))
        page.open()
        if not browsers:
            return Added(lambda status: status.outputs[page.name].sent > 0, outputs=[page])
        script = str(Path(__file__).with_name("live_browsers.py"))
        pipe = subprocess.PIPE
        process = stack.enter_context(
            subprocess.Popen([sys.executable, script, page.address, CAMERA, str(browsers)], stdin=pipe, stdout=pipe)
        )
        assert process.stdout is not None
        process.stdout.readline()  # they are there

        def happened(_: RunStatus) -> bool:
            pictures = process.communicate()[0]
            return min(map(int, pictures.split())) > 0

        return Added(happened, outputs=[page])

    return added


DISTURBANCES: Mapping[str, Callable[[ExitStack, Callable[[], RunStatus]], Added] | None] = {
    "a ZeroMQ subscriber that never reads": _subscriber_never_reads,
    "an output that sleeps": _sleeps,
    "an output that raises": _raises,
    "a full disk": _disk_is_full,
    "recording h264": _records,
    "web page, no browser": _page(0),
    "web page, 1 browser": _page(1),
    "web page, 3 browsers": _page(3),
    "a second camera that dies": None,
}
"""Name -> what it adds to a run; none where it is the cameras themselves."""
