"""When rules went on and off."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Literal

from rigpose.errors import ResultError


@dataclass(frozen=True, slots=True)
class TriggerChange:
    """A rule went on or off.

    Attributes:
        rule: Its name.
        on: What it became.
        cause: Its conditions and times; its camera, which gave nothing for too long; or the run's safe state.
        camera: Whose frames it is judged on.
        frame: Number of the last of them that was judged.
        exposed: When that was exposed [s].
        judged: When the change was made [s]; both by the run's clock.
    """

    rule: str
    on: bool
    cause: Literal["rule", "stale", "safe"]
    camera: str
    frame: int
    exposed: float
    judged: float


def write_changes(path: str | Path, changes: Iterable[TriggerChange]) -> None:
    """Write a CSV table with a row per change; ``on`` is 1 or 0.

    Raises:
        ResultError: The file cannot be written.
    """
    try:
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([field.name for field in fields(TriggerChange)])
            table.writerows(astuple(replace(change, on=int(change.on))) for change in changes)
    except OSError as error:
        raise ResultError(f"{path}: cannot be written ({error.strerror}); check the folder and its space.") from error
