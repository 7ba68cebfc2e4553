"""Whether a folder can be written and has room, asked before the work whose results go there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from rigpose.errors import ConfigError


def check_writable(folder: Path, what: str) -> None:
    """Write into a folder, or into the nearest one above it that is there, and leave nothing behind.

    Args:
        folder: It need not be there yet.
        what: What is to be written, as the error begins.

    Raises:
        ConfigError: It cannot be written.
    """
    there = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            return
    except OSError as error:
        raise ConfigError(f"{what} cannot be written ({there}: {error.strerror}); choose another place.") from error


def check_room(folder: Path, needed: int, what: str) -> None:
    """Compare what results will take with what is free.

    Args:
        folder: It need not be there yet.
        needed: In bytes, roughly.
        what: What is to be written, as the error begins.

    Raises:
        ConfigError: It is more than is free.
    """
    there = _nearest(folder)
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ConfigError(
            f"{what} need about {needed / 1e6:,.0f} MB, and {there} has {free / 1e6:,.0f} MB left; make room, or "
            "choose another place."
        )


def _nearest(folder: Path) -> Path:
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return there
