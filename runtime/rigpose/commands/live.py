"""``rigpose live``: cameras, a bundle and outputs -> one live run."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rigpose.commands.command import Command
from rigpose.commands.live_arguments import add_live_arguments
from rigpose.errors import ConfigError, RigposeError
from rigpose.schema import suggest

if TYPE_CHECKING:
    from rigpose.commands.live_opened import Opened
    from rigpose.live.running.loop import LiveRun
    from rigpose.live.status import RunStatus

DEMONSTRATION_SECONDS = 20.0
DEMONSTRATION_REPORT = Path("rigpose-live.html")
"""Where the demonstration's report goes unless another place is named."""
TOLD_EVERY = 1.0
"""How often a line says how the run stands [s]; every ten times that where nobody looks at a terminal."""
HEARD = 0.1
"""How soon Ctrl-C is heard at the latest [s]."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_live_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run until it ends or somebody ends it; 1 where a part of it failed."""
    _quieten_opencv()
    from rigpose.commands.live_opened import open_run

    _complete(arguments)
    opened = open_run(arguments)
    if arguments.bundle is None:
        _say(["a demonstration of a simulated camera, with a stand-in for a model that takes 25 ms per frame."])
    with _ended_by_signals() as ending:
        status = _go(opened, arguments.seconds, ending)
        ending.wanted.set()
        ending.may_break = True  # what is recorded stays, and rigpose live finish does the rest
        return 0 if _close(opened, status, arguments) else 1


def _quieten_opencv() -> None:
    """A camera that is not there is one sentence, and not one for every driver that OpenCV tried.

    Whoever wants OpenCV's words sets its own variables.
    """
    from cv2.utils import logging

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)


def _complete(arguments: argparse.Namespace) -> None:
    """What was not typed: the first camera, or all of a demonstration."""
    if arguments.bundle is not None:
        arguments.source = arguments.source or ["camera:0"]
        return
    arguments.source = arguments.source or ["simulated"]
    for source in arguments.source:
        kind = re.split("[:@]", source)[0]
        if kind != "simulated":
            raise ConfigError(
                f"{source}: needs a BUNDLE to find animals with{suggest(kind, ['simulated'])}; name one, or see a "
                "demonstration with rigpose live --source simulated."
            )
    arguments.seconds = arguments.seconds or DEMONSTRATION_SECONDS
    arguments.report = arguments.report or DEMONSTRATION_REPORT


@dataclass
class _Ending:
    """What signals ask for.

    Attributes:
        wanted: Somebody has asked for the end.
        may_break: Whether another Ctrl-C breaks off what goes on. It must not while outputs are to be made safe.
    """

    wanted: threading.Event
    may_break: bool = True


def _go(opened: Opened, seconds: float | None, ending: _Ending) -> RunStatus:
    """The run itself; it is stopped whatever happens."""
    try:
        try:
            opened.run.start()
        except BaseException:
            opened.forget()
            raise
        ending.may_break = False
        _say(opened.told(), before="")
        _wait(opened.run, seconds, ending.wanted)
    finally:
        status = opened.run.stop()
    return status


def _wait(run: LiveRun, seconds: float | None, ended: threading.Event) -> None:
    """Until the run or its time is over or somebody ended it, telling how it stands."""
    from rigpose.live.clock import now
    from rigpose.live.report.lines import one_line

    shown = sys.stderr.isatty()
    every = TOLD_EVERY if shown else 10 * TOLD_EVERY
    told = every
    begun = now() - run.status().seconds
    while not ended.is_set():
        gone = now() - begun
        left = HEARD if seconds is None else min(HEARD, seconds - gone)
        if left <= 0 or run.wait(left):
            break
        if gone < told:
            continue
        told = gone + every
        line = one_line(run.status())
        if shown:
            _say([f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}"], before="", end="")
        else:
            _say([line], before="")
    if shown:
        _say(["\r\x1b[K"], before="", end="")


def _close(opened: Opened, status: RunStatus, typed: argparse.Namespace) -> bool:
    """Say how it went and write what is left to write, each part whatever became of the others; whether all is well."""
    from rigpose.live.report.lines import closing_lines
    from rigpose.live.report.page import write_report

    _say(closing_lines(status), before="", file=sys.stdout)
    closed = opened.close()
    written, troubles = closed.written, closed.troubles
    if typed.summary is not None and typed.summary.is_file() and not _failed(status, "summary"):
        written.append(f"wrote {typed.summary}")
    if typed.report is not None:
        try:
            written.append(f"wrote {write_report(status, typed.report)}")
        except RigposeError as error:
            troubles.append(f"{error}")
    _say(written, before="", file=sys.stdout)
    _say(troubles)
    return closed.whole and not troubles and _went_well(status)


def _say(lines: Iterable[str], *, before: str = "rigpose live: ", end: str = "\n", file: TextIO | None = None) -> None:
    """Print lines, on stderr if nothing else is said; where nobody listens any more, the run goes on all the same."""
    with suppress(OSError):
        for line in lines:
            print(f"{before}{line}", end=end, file=sys.stderr if file is None else file, flush=True)


@contextmanager
def _ended_by_signals() -> Iterator[_Ending]:
    """Let Ctrl-C, a polite end (SIGTERM) and a closed terminal end the run in good order."""
    ending = _Ending(threading.Event())

    def end(number: int, _frame: Any) -> None:
        if ending.wanted.is_set() and ending.may_break and number == signal.SIGINT:
            raise KeyboardInterrupt
        ending.wanted.set()

    heard = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup is at work
        heard.append(signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failed(status: RunStatus, where: str) -> bool:
    return any(fault.where == where for fault in status.faults)


def _went_well(status: RunStatus) -> bool:
    """Whether no part failed; being slow is none."""
    from rigpose.live.faults import FaultKind
    from rigpose.live.status import RunState

    slow = {FaultKind.SOURCE_FROZEN, FaultKind.SOURCE_SLOW, FaultKind.DEADLINE_MISSED, FaultKind.LATENCY_DRIFTED}
    return status.state is not RunState.FAULTED and all(fault.kind in slow for fault in status.faults)


COMMAND = Command(
    "live", "Find animals in the frames of cameras as they come, and act on their poses.", configure, run, extra="live"
)
