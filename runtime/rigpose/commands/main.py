"""The ``rigpose`` command: finds the sub-commands, runs one, and turns errors into sentences."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

from rigpose import __version__
from rigpose.commands.command import Command
from rigpose.errors import MissingExtraError, RigposeError

GROUP = "rigpose.commands"
ORDER = (
    "demo", "models", "import", "create-training-dataset", "train", "evaluate", "export",
    "engine", "analyze", "track", "label", "report", "convert", "suggest", "live", "live fit", "live finish",
    "inspect", "bench", "check", "doctor",
)  # fmt: skip
"""The order of the overview: as the work goes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        return _main(argv)
    except KeyboardInterrupt:
        # While the commands are being found; they catch their own.
        print("rigpose: stopped.", file=sys.stderr)
        return 130


def _main(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="rigpose",
        description="Train a pose model on a DeepLabCut project, export it to one bundle with proven parity, and run "
        "the bundle on videos without torch.",
        epilog="rigpose COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"rigpose {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands = {command.name: command for command in find_commands()}
    for command in commands.values():
        sub = subparsers.add_parser(command.name, help=command.help, description=command.help)
        command.configure(sub)
    words = list(sys.argv[1:] if argv is None else argv)
    if " ".join(words[:2]) in commands:
        words[:2] = [" ".join(words[:2])]
    arguments = parser.parse_args(words)
    return run(commands[arguments.command], arguments)


def find_commands() -> list[Command]:
    """All sub-commands of the installed packages, in the order of the work."""
    found = [point.load() for point in entry_points(group=GROUP)]
    return sorted(found, key=lambda c: ORDER.index(c.name) if c.name in ORDER else len(ORDER))


def run(command: Command, arguments: argparse.Namespace) -> int:
    """Run a command; print an error as one sentence on stderr and return 1 (130 after Ctrl-C)."""
    try:
        return command.run(arguments)
    except RigposeError as error:
        print(f"rigpose {command.name}: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        missing = (error.name or str(error)).split(".")[0]
        if command.extra is None or missing.startswith("rigpose"):
            raise
        sentence = missing_extra(command.extra, missing)
        print(f"rigpose {command.name}: {sentence}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"rigpose {command.name}: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def missing_extra(extra: str, package: str) -> MissingExtraError:
    """The error that says which extra brings a package."""
    return MissingExtraError(
        f'needs {package}, which the plain install leaves out; install it with: pip install "rigpose[{extra}]" '
        f'(in a clone of rigpose: pip install ".[{extra}]").'
    )


if __name__ == "__main__":
    sys.exit(main())
