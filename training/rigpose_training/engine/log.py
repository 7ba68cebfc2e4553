"""What a training leaves to read: ``learning_stats.csv`` for plots, ``train.txt`` and the terminal for people."""

from __future__ import annotations

import csv
import logging
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

LOGGER = logging.getLogger("rigpose_training")
TEXT_NAME = "train.txt"


class LearningStats:
    """DeepLabCut's table of losses and metrics: one row per epoch, columns ``step`` and names in order."""

    def __init__(self, path: Path, *, until_epoch: int) -> None:
        """Open a table.

        Args:
            path: The CSV file; it need not exist.
            until_epoch: Rows of later epochs are dropped, because they are trained again.
        """
        self.path = path
        self._rows: dict[int, dict[str, float]] = {step: row for step, row in _read(path) if step <= until_epoch}

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write the row of an epoch; the file is replaced as a whole."""
        self._rows[epoch] = dict(values)
        columns = sorted({name for row in self._rows.values() for name in row})
        unfinished = self.path.with_name(f".{self.path.name}.tmp")
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["step", *columns])
            for step, row in sorted(self._rows.items()):
                writer.writerow([step, *(_cell(row.get(name)) for name in columns)])
        unfinished.replace(self.path)

    def close(self) -> None:
        """Nothing: every row is on disk."""


@contextmanager
def text_log(folder: Path) -> Iterator[None]:
    """Send what training says to ``train.txt`` (appended) and to stderr while the block runs."""
    in_file = logging.FileHandler(folder / TEXT_NAME, encoding="utf-8")
    in_file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    handlers: list[logging.Handler] = [in_file, _Terminal()]
    level, propagate = LOGGER.level, LOGGER.propagate
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    for handler in handlers:
        LOGGER.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            LOGGER.removeHandler(handler)
            handler.close()
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate


class _Terminal(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is at that moment: a progress bar stands in for it to keep lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _read(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Rows of an earlier run; lines that are not a row are passed over, for the table is a record and no input."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            step = row.pop("step", None)
            if step is not None and step.isdigit():
                yield int(step), {name: float(value) for name, value in row.items() if _is_number(value)}


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(float(value))
