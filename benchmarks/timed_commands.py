"""What a frame costs a program that can only be run as a command: two calls of it, on less and on more of a video."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SAID = 4000
"""Characters of a failed command's words that are shown."""


@dataclass(frozen=True)
class Call:
    """What one command took, on all cores: seconds by the clock, and of processor time."""

    wall: float
    cpu: float


def call(command: Sequence[str], said: Path, *, threads: int) -> Call:
    """Run a command and wait for it.

    Args:
        command: Of this or of another Python, which this one's ``PYTHONPATH`` does not reach.
        said: The file that gets its words.
        threads: Of what obeys OpenMP's variable; the command itself must say the rest.

    Raises:
        SystemExit: It failed; with the end of what it said.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if command[0] != sys.executable:
        environment.pop("PYTHONPATH", None)
    with said.open("w", encoding="utf-8") as file:
        cpu, begun = _processor_time(), time.perf_counter()
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
        found = Call(time.perf_counter() - begun, _processor_time() - cpu)
    if done.returncode:
        words = said.read_text(encoding="utf-8", errors="replace")[-_SAID:]
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}:\n{words}")
    return found


def per_frame(less: Call, more: Call, few: int, many: int) -> dict[str, float]:
    """What frames take and what a call takes besides, from a call on few of them and one on many.

    Raises:
        SystemExit: The difference is lost in how much calls vary.
    """
    wall, cpu = ((b - a) / (many - few) for a, b in ((less.wall, more.wall), (less.cpu, more.cpu)))
    if min(wall, cpu) <= 0:
        raise SystemExit(f"{many} frames took no longer than {few}; ask for more --frames.")
    return {"rate": 1 / wall, "cpu_ms": 1000 * cpu, "start_seconds": less.wall - few * wall}


def _processor_time() -> float:
    """Of all commands that have ended [s]."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
