"""``rigpose live finish``: the tables of a recording whose process was killed."""

from __future__ import annotations

import argparse
from pathlib import Path

from rigpose.commands.command import Command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("recording", type=Path, metavar="FOLDER", help="what rigpose live --record wrote")
    parser.add_argument("--csv", action="store_true", help="write each table as .csv, too")


def run(arguments: argparse.Namespace) -> int:
    """Make what is missing, and say what there is; 1 where something could not be recorded before the kill."""
    from rigpose.live.recording.finish import finish
    from rigpose.live.report.recorded import recorded, went_wrong

    finished = finish(arguments.recording, save_csv=arguments.csv)
    print("\n".join(line for one in finished for line in recorded(one)))
    return 1 if any(went_wrong(one) for one in finished) else 0


COMMAND = Command(
    "live finish", "Make the tables of a recording whose process was killed.", configure, run, extra="live"
)
