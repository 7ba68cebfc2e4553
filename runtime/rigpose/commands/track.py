"""``rigpose track``: the animals of analysed videos -> tracks, without running the network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rigpose.commands.argument_types import at_least_one
from rigpose.commands.command import Command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "videos", type=Path, nargs="+", metavar="VIDEO", help="a video of several animals that was analysed"
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="its _assemblies.pickle, for one video (default: the only one in the video's folder)",
    )
    parser.add_argument(
        "--tracker",
        choices=("ellipse", "box", "skeleton"),
        default="ellipse",
        help="what of the animals is compared from frame to frame (default: %(default)s)",
    )
    parser.add_argument(
        "--animals",
        type=at_least_one,
        metavar="N",
        help="how many animals there are (default: as many as the model's individuals)",
    )
    parser.add_argument("--no-csv", action="store_true", help="write the .h5 tables only")


def run(arguments: argparse.Namespace) -> int:
    """Track every video; 1 if anything failed."""
    from rigpose.errors import ConfigError, RigposeError
    from rigpose.tracking import TrackingSettings
    from rigpose.videos.retracking import track_again

    if arguments.results is not None and len(arguments.videos) > 1:
        raise ConfigError("--results names the file of one video; track the others on their own.")
    failed = False
    for video in arguments.videos:
        try:
            done = track_again(
                video,
                results=arguments.results,
                settings=TrackingSettings(method=arguments.tracker),
                animals=arguments.animals,
                save_csv=not arguments.no_csv,
            )
        except RigposeError as error:  # noqa: PERF203
            print(f"rigpose track: {error}", file=sys.stderr)
            failed = True
        else:
            print(f"{done.h5}: {done.tracks} tracks of {done.tracklets} pieces in {done.frames} frames")
    return int(failed)


COMMAND = Command(
    name="track",
    help="Follow the animals of analysed videos again, with another tracker or number of animals.",
    configure=configure,
    run=run,
)
