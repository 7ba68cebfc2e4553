"""``rigpose report``: results, a bundle or a shuffle -> one HTML page to look at."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rigpose.commands.command import Command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="RESULTS|BUNDLE|SHUFFLE",
        help="the .h5 or .csv table of an analysed video, or several, or a folder of them; or one bundle; or the "
        "folder of one shuffle of a DeepLabCut project",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the page (default: beside what it is about, in its name)"
    )
    parser.add_argument(
        "--video", type=Path, metavar="FILE", help="the video of one table (default: looked for beside the table)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the page; say where it is."""
    # FFmpeg's own complaints would tear the progress bar.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from rigpose.progress import progress
    from rigpose.report.report import write_report

    print(write_report(arguments.sources, arguments.output, video=arguments.video, show=progress))
    return 0


COMMAND = Command("report", "Show results, a bundle or a training as one page for a browser.", configure, run)
