"""How far a long run has come: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

SECONDS_BETWEEN_LINES = 10.0


class Advance(Protocol):
    """How the block reports."""

    def __call__(self, count: int, note: str = "") -> None:
        """Say that ``count`` more are done; the note, such as the loss, is shown beside them."""
        ...


Progress: TypeAlias = Callable[[str, "int | None", str], AbstractContextManager[Advance]]
"""Called with a description, the total (none if unknown) and the unit."""


@contextmanager
def progress(description: str, total: int | None, unit: str) -> Iterator[Advance]:
    """Show progress on stderr while the block runs."""
    show = _bar if sys.stderr.isatty() else _lines
    with show(_Run(description, total, unit, time.perf_counter())) as advance:
        yield advance


@contextmanager
def silent(description: str, total: int | None, unit: str) -> Iterator[Advance]:  # noqa: ARG001
    """Show nothing."""

    def advance(count: int, note: str = "") -> None:
        del count, note

    yield advance


@dataclass
class _Run:
    """What is known about a run at this moment."""

    description: str
    total: int | None
    unit: str
    begun: float
    done: int = 0
    note: str = ""

    def add(self, count: int, note: str) -> None:
        self.done += count
        self.note = note

    def counted(self) -> str:
        return f"{self.done}/{'?' if self.total is None else self.total} {self.unit}"

    def rate(self) -> str:
        return f"{self._per_second():.1f}/s"

    def left(self) -> str:
        """The time to the end at the pace so far, or nothing where that is not known."""
        if self.total is None or not 0 < self.done < self.total:
            return ""
        return f"{duration((self.total - self.done) / self._per_second())} left"

    def _per_second(self) -> float:
        return self.done / max(time.perf_counter() - self.begun, 1e-9)


def duration(seconds: float) -> str:
    """A duration with as much detail as an estimate deserves: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"


@contextmanager
def _bar(run: _Run) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    # Without markup, because a file name may hold square brackets.
    text = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("title", "counted", "rate", "left")]
    bar = Bar(text[0], BarColumn(), *text[1:], console=Console(stderr=True), transient=True)

    def fields() -> dict[str, Any]:
        title = f"{run.description}  {run.note}" if run.note else run.description
        return {"title": title, "counted": run.counted(), "rate": run.rate(), "left": run.left()}

    with bar:
        task = bar.add_task("", total=run.total, **fields())

        def advance(count: int, note: str = "") -> None:
            run.add(count, note)
            bar.update(task, advance=count, **fields())

        yield advance


@contextmanager
def _lines(run: _Run) -> Iterator[Advance]:
    out = sys.stderr
    last, said = run.begun, -1

    def say() -> None:
        nonlocal said
        said = run.done
        facts = [run.counted(), run.rate(), run.note, run.left()]
        out.write(f"{run.description}: {', '.join(filter(None, facts))}\n")
        out.flush()

    def advance(count: int, note: str = "") -> None:
        nonlocal last
        run.add(count, note)
        if time.perf_counter() - last >= SECONDS_BETWEEN_LINES:
            last = time.perf_counter()
            say()

    yield advance
    if said != run.done:
        say()
