"""``rigpose convert``: results -> the formats of other tools."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from functools import partial
from pathlib import Path

from rigpose.commands.argument_types import positive
from rigpose.commands.command import Command
from rigpose.formats import FORMATS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "results", type=Path, nargs="+", metavar="RESULTS", help="a .h5 or .csv of rigpose analyze or DeepLabCut"
    )
    parser.add_argument(
        "--to",
        choices=FORMATS,
        required=True,
        help="nwb: Neurodata Without Borders with ndx-pose; slp: SLEAP; parquet: a row per frame, individual and "
        "keypoint; csv, h5: DeepLabCut's layout",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="for one result (default: beside it, with another ending)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--video", type=Path, metavar="FILE", help="of one result (default: the video beside it)")
    parser.add_argument(
        "--fps",
        type=partial(positive, what="a number of frames per second"),
        metavar="N",
        help="frames per second (default: the video's)",
    )
    parser.add_argument(
        "--times",
        type=Path,
        metavar="FILE",
        help="time of each frame in seconds, .npy or text with one per line (default: frame number / rate; of a "
        "recording of rigpose live, when each frame was exposed)",
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="BUNDLE", help="whose skeleton to write (default: that in the _meta.pickle)"
    )
    parser.add_argument(
        "--session-start",
        type=_moment,
        metavar="TIME",
        help="when the recording began, which NWB asks for, such as 2026-11-20T14:03:00+01:00 (without +01:00: in this "
        "computer's time zone)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Convert every result; 1 if anything failed."""
    from rigpose.errors import ConfigError, RigposeError
    from rigpose.formats.beside import Asked
    from rigpose.formats.converting import Conversion, check_installed, convert_results

    for option in ("output", "video", "times"):
        if getattr(arguments, option) is not None and len(arguments.results) > 1:
            raise ConfigError(f"--{option} names the file of one result; convert the others on their own.")
    check_installed(arguments.to)
    asked = Asked(arguments.video, arguments.fps, arguments.times, arguments.session_start)
    wanted = Conversion(arguments.to, arguments.output, arguments.overwrite, arguments.bundle, asked)
    failed = False
    for results in arguments.results:
        try:
            done = convert_results(results, wanted)
        except RigposeError as error:  # noqa: PERF203
            print(f"rigpose convert: {error}", file=sys.stderr)
            failed = True
        else:
            print(f"{done.path}: {done.frames} frames, {done.individuals} individuals")
            for note in done.notes:
                print(f"  note: {note}")
    return int(failed)


def _moment(text: str) -> datetime:
    try:
        # Older Pythons do not read the Z of Zulu time.
        moment = datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith("Z") else text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-11-20T14:03:00+01:00") from None
    return moment if moment.tzinfo else moment.astimezone()


COMMAND = Command(
    name="convert",
    help="Write results in the formats of other tools: NWB, SLEAP, Parquet, DeepLabCut's tables.",
    configure=configure,
    run=run,
)
