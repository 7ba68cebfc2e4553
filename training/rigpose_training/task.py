"""What a network is trained to do, in DeepLabCut's words."""

from __future__ import annotations

from enum import Enum

from rigpose.errors import ConfigError
from rigpose.schema import suggest


class Task(Enum):
    """How a network sees the animals of a frame; the value is DeepLabCut's abbreviation."""

    BOTTOM_UP = "BU"
    DETECT = "DT"
    TOP_DOWN = "TD"
    COND_TOP_DOWN = "CTD"

    @classmethod
    def _missing_(cls, value: object) -> Task:
        """The task of any spelling: ``bu`` (as in ``pytorch_config.yaml``), ``bottom_up``, ``BottomUp``."""
        wanted = _letters(str(value))
        for task in cls:
            if wanted in (_letters(task.name), _letters(task.value)):
                return task
        known = [name for task in cls for name in (task.name, task.value)]
        raise ConfigError(f"{value!r} is no task{suggest(str(value).upper(), known)}; use one of {', '.join(known)}.")

    @property
    def snapshot_prefix(self) -> str:
        """How the files of this task's snapshots begin."""
        return "snapshot-detector" if self is Task.DETECT else "snapshot"


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalpha())
