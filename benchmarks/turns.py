"""What the benchmarks share: taking turns, ratios with their spread, a process for each case, and tables.

On a machine that does other work, too, a rate says little and a ratio of neighbours in time says much: whoever is
compared takes turns within one run, the first turn of everybody warms up and is not counted, and a ratio is made turn
by turn before its median is taken.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from deeplabcut_peer import Peer

K = TypeVar("K")
T = TypeVar("T")
OUTCOME = "outcome"
"""The word that a case's own process says its facts behind."""


def take_turns(contestants: Mapping[K, Callable[[], T]], repeats: int) -> dict[K, list[T]]:
    """What each contestant's turns gave; one more turn than ``repeats`` comes first and is left out."""
    turns: dict[K, list[T]] = {name: [] for name in contestants}
    for repeat in range(repeats + 1):
        for name, turn in contestants.items():
            found = turn()
            if repeat:
                turns[name].append(found)
    return turns


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Ours over theirs, turn by turn: median, smallest and largest."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"median": round(statistics.median(each), 3), "min": round(min(each), 3), "max": round(max(each), 3)}


def rounded(values: Sequence[float], digits: int = 3) -> list[float]:
    """For the record."""
    return [round(value, digits) for value in values]


def in_own_process(script: str, case: Mapping[str, Any]) -> dict[str, Any]:
    """Let a script measure one case by ``--one``, so that memory is its own and a crash ends this case alone.

    Returns:
        The facts that it gave to ``tell``, or ``{"reason": ...}`` where it ended without any.
    """
    command = [sys.executable, script, "--one", json.dumps(case)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        if word == OUTCOME:
            return json.loads(rest)
    return {"reason": f"the process ended with {done.returncode}; its message is above"}


def tell(facts: Mapping[str, Any]) -> None:
    """Hand a case's facts to the process that asked for them."""
    print(OUTCOME, json.dumps(facts), flush=True)


@contextmanager
def beside(python: str, script: str, argument: str) -> Iterator[Peer]:
    """A script of this folder in another Python, which takes turns with us; see ``deeplabcut_peer``."""
    command = [python, str(Path(__file__).with_name(script)), argument]
    # This project's own path must not reach the other Python.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        peer = Peer(process)
        peer.hear("ready")
        yield peer
        process.communicate()


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table whose columns are as wide as they need."""
    texts = [[_cell(value) for value in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    made = [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in texts]
    made.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(row)} |" for row in made)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
