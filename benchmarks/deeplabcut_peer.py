"""DeepLabCut in a process of its own, which takes turns with a benchmark so that a busy machine slows both alike."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PYTHON = "RIGPOSE_DEEPLABCUT_PYTHON"
"""The environment variable that names a Python which has DeepLabCut 3."""


class Peer:
    """The other process: it says ``ready``, and answers every line that it hears with ``rate NUMBER``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def turn(self) -> float:
        """What it does per second, without its start."""
        if self._process.stdin is not None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        return float(self.hear("rate"))

    def hear(self, word: str) -> str:
        """The rest of the next line that begins with a word; DeepLabCut prints others."""
        for line in self._process.stdout or ():
            first, _, rest = line.partition(" ")
            if first.strip() == word:
                return rest
        raise SystemExit("DeepLabCut's process ended; its message is above.")


@contextmanager
def deeplabcut(script: str, argument: str) -> Iterator[Peer | None]:
    """A script of this folder, run by DeepLabCut's Python with one argument; none where no such Python is named."""
    python = os.environ.get(PYTHON)
    if not python:
        yield None
        return
    command = [python, str(Path(__file__).with_name(script)), argument]
    # This project's own path must not reach the other Python.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        peer = Peer(process)
        peer.hear("ready")  # its imports would slow our first turn
        yield peer
        process.communicate()


def version_of(package: str) -> str:
    """The version of a package that DeepLabCut's Python has, which need not be ours."""
    command = [os.environ[PYTHON], "-c", f"from importlib.metadata import version; print(version({package!r}))"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
