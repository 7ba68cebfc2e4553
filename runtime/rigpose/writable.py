"""Whether a folder can be written, asked before the work whose results go there."""

from __future__ import annotations

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
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            return
    except OSError as error:
        raise ConfigError(f"{what} cannot be written ({there}: {error.strerror}); choose another place.") from error
