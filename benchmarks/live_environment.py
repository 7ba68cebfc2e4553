"""A Python that has DeepLabCut-Live, made by pip in an environment of its own; it is no dependency of anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PYTHON = "RIGPOSE_DEEPLABCUT_LIVE_PYTHON"
"""The environment variable that names such a Python where there is one already."""
VERSION = "1.1.0"


def live_python(cache: Path, *, torch_from: Path | None) -> Path:
    """The Python, installed below ``cache`` if it is not there.

    Args:
        cache: Where environments are kept.
        torch_from: A Python whose torch, torchvision and timm are used; none to download them, about 6 GB.
    """
    if named := os.environ.get(PYTHON):
        return Path(named)
    folder = cache / f"deeplabcut-live-{VERSION}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "complete"
    if done.exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    extra = "[pytorch]" if torch_from is None else ""
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, f"deeplabcut-live{extra}=={VERSION}"], check=True)
    if torch_from is not None:
        # After its own packages on the path, so that its own numpy, which must be below 2, is found first.
        (packages_of(python) / "torch-of-another-environment.pth").write_text(f"{packages_of(torch_from)}\n")
    subprocess.run([str(python), "-c", "import dlclive, torch, timm"], check=True)
    done.touch()
    return python


def packages_of(python: Path) -> Path:
    """The folder of a Python's packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())
