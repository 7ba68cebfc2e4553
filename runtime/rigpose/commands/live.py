"""``rigpose live``: cameras, a bundle and outputs -> one live run."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rigpose.commands.command import Command
from rigpose.commands.live_arguments import add_live_arguments
from rigpose.errors import ConfigError

if TYPE_CHECKING:
    from rigpose.commands.live_opened import Opened
    from rigpose.live.running.loop import LiveRun
    from rigpose.live.status import RunStatus

DEMONSTRATION_SECONDS = 20.0
DEMONSTRATION_REPORT = Path("rigpose-live.html")
"""Where the demonstration's report goes unless another place is named."""
TOLD_EVERY = 1.0
"""How often a line says how the run stands [s]; every ten times that where nobody looks at a terminal."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_live_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run until it ends or somebody ends it; 1 where a camera was lost or the run failed."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from rigpose.commands.live_opened import open_run
    from rigpose.live.report.lines import closing_lines
    from rigpose.live.report.page import write_report

    _complete(arguments)
    opened = open_run(arguments)
    with _ended_by_signals() as ended:
        status = _go(opened, arguments.seconds, ended)
    print("\n".join([*closing_lines(status), *opened.close()]))
    if arguments.report is not None:
        print(f"wrote {write_report(status, arguments.report)}")
    return 0 if _went_well(status) else 1


def _complete(arguments: argparse.Namespace) -> None:
    """What was not typed: the first camera, or all of a demonstration."""
    if arguments.bundle is not None:
        arguments.source = arguments.source or ["camera:0"]
        return
    simulated = [source for source in arguments.source or ["simulated"] if source.split(":")[0] == "simulated"]
    if len(simulated) != len(arguments.source or simulated):
        raise ConfigError(
            f"{arguments.source[0]}: needs a BUNDLE to find animals with; name one, or see a demonstration with "
            "rigpose live --source simulated."
        )
    arguments.source = simulated
    arguments.seconds = arguments.seconds or DEMONSTRATION_SECONDS
    arguments.report = arguments.report or DEMONSTRATION_REPORT
    print(
        "rigpose live: a demonstration of a simulated camera, with a stand-in for a model that takes 25 ms per frame.",
        file=sys.stderr,
    )


def _go(opened: Opened, seconds: float | None, ended: threading.Event) -> RunStatus:
    """The run itself; it is stopped whatever happens."""
    try:
        opened.run.start()
        for line in opened.told():
            print(line, file=sys.stderr)
        _wait(opened.run, seconds, ended)
    finally:
        status = opened.run.stop()
    return status


def _wait(run: LiveRun, seconds: float | None, ended: threading.Event) -> None:
    """Until the run or its time is over or somebody ended it, telling how it stands."""
    from rigpose.live.report.lines import one_line

    shown = sys.stderr.isatty()
    told = 0
    while not ended.is_set():
        left = TOLD_EVERY if seconds is None else min(TOLD_EVERY, seconds - run.status().seconds)
        if left <= 0 or run.wait(left):
            break
        told += 1
        if shown:
            print(f"\r\x1b[K{one_line(run.status())}", end="", file=sys.stderr, flush=True)
        elif told % 10 == 0:
            print(one_line(run.status()), file=sys.stderr)
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def _ended_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and a polite end (SIGTERM) set: both are how a live run ends in good order."""
    ended = threading.Event()

    def end(number: int, _frame: Any) -> None:
        if ended.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _went_well(status: RunStatus) -> bool:
    from rigpose.live.faults import FaultKind
    from rigpose.live.status import RunState

    lost = any(fault.kind is FaultKind.SOURCE_LOST for fault in status.faults)
    return status.state is not RunState.FAULTED and not lost


COMMAND = Command(
    "live", "Find animals in the frames of cameras as they come, and act on their poses.", configure, run, extra="live"
)
