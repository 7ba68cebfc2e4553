"""What a sub-command of ``rigpose`` is; packages add theirs through the entry-point group ``rigpose.commands``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A sub-command.

    Attributes:
        name: As typed.
        help: One line for the overview.
        configure: Adds the arguments.
        run: Does the work and returns the exit status; a ``RigposeError`` is printed as its sentence.
        extra: Which optional dependencies it needs; none for the plain install.
    """

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    extra: str | None = None
