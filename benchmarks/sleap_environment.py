"""A Python that has sleap-nn, made by pip in an environment of its own; it is no dependency of anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from live_environment import packages_of

PYTHON = "RIGPOSE_SLEAP_PYTHON"
"""The environment variable that names such a Python where there is one already."""
VERSION = "0.3.5"


def sleap_python(cache: Path, *, torch_from: Path | None) -> Path:
    """The Python, installed below ``cache`` if it is not there.

    Args:
        cache: Where environments are kept.
        torch_from: A Python of the same version whose torch and torchvision are used, and what else of its packages
            fits; none to download them, about 6 GB.
    """
    if named := os.environ.get(PYTHON):
        return Path(named)
    folder = cache / f"sleap-nn-{VERSION}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "complete"
    if done.exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    if torch_from is not None:
        # Before pip looks, which then takes what it finds there as installed, and installs beside it what does not fit.
        (packages_of(python) / "torch-of-another-environment.pth").write_text(f"{packages_of(torch_from)}\n")
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"sleap-nn[export]=={VERSION}"], check=True)
    subprocess.run([str(program(python)), "--version"], check=True, stdout=subprocess.DEVNULL)
    done.touch()
    return python


def program(python: Path) -> Path:
    """sleap-nn's command of an environment."""
    return python.with_name("sleap-nn.exe" if os.name == "nt" else "sleap-nn")


def versions_of(python: Path) -> dict[str, str]:
    """What of that environment matters for speed."""
    names = ("sleap-nn", "onnxruntime", "torch", "sleap-io", "opencv-python", "numpy")
    code = f"from importlib.metadata import version\nfor name in {names}: print(name, version(name))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())
