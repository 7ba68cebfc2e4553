"""What takes long to export is exported once for all tests of a run, also where several processes share the run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """The folder of the whole run: each worker of pytest-xdist has its own folder in it."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def made_once(shared: Path, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first who needs it fills, while all others wait; tests only read it.

    Args:
        shared: The folder of the whole run.
        name: Of the folder.
        make: Fills the folder that it is given.
    """
    folder = shared / "made once" / name
    folder.parent.mkdir(exist_ok=True)
    whole = folder.with_name(f"{name}.whole")
    with FileLock(f"{folder}.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder
