"""The user's folder for what can be made again; bundles may lie on a disk that cannot be written."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_home() -> Path:
    """Where programs keep such things: ``XDG_CACHE_HOME`` where it is set, else the operating system's place."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    return Path.home() / ".cache"
