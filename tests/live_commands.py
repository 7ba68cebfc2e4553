"""``rigpose live`` and what is beside it, as they are typed, here or in a process of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from live_recordings import same_modules

from rigpose.commands import live, live_finish, live_fit
from rigpose.commands import main as main_module

SMALL = "simulated:160x120@100"
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


def rigpose(*words: str | Path) -> int:
    """What the shell gets back; the arguments' own refusals, too."""
    found = [live.COMMAND, live_fit.COMMAND, live_finish.COMMAND]
    with patch.object(main_module, "find_commands", lambda: found):
        try:
            return main_module.main([str(word) for word in words])
        except SystemExit as refused:
            return int(refused.code or 0)


@contextmanager
def rigpose_elsewhere(*words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The same in another process, which is killed at the end."""
    process = subprocess.Popen([sys.executable, __file__, *map(str, words)], text=True, env=same_modules())
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def rigpose_apart(*words: str | Path, hangup: signal.Handlers) -> subprocess.CompletedProcess[str]:
    """The same in another process until it ends, with what a terminal's end does to it."""
    call = f"import signal, sys, live_commands; signal.signal(signal.SIGHUP, signal.Handlers({int(hangup)})); "
    call += "handled = [signal.getsignal(n) for n in live_commands.SIGNALS]; "
    call += "code = live_commands.rigpose(*sys.argv[1:]); "
    call += "sys.exit(code or 99 * (handled != [signal.getsignal(n) for n in live_commands.SIGNALS]))"
    command = [sys.executable, "-c", call, *map(str, words)]
    return subprocess.run(command, text=True, env=same_modules(), capture_output=True, check=False, timeout=300)


if __name__ == "__main__":
    sys.exit(rigpose(*sys.argv[1:]))
