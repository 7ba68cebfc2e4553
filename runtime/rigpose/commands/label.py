"""``rigpose label``: a video and its results -> a video with the poses drawn in."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rigpose.commands.argument_types import at_least_zero, fraction
from rigpose.commands.command import Command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("video", type=Path, metavar="VIDEO", help="a video that was analysed")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="its .h5 or .csv table (default: that of the only analysis in the video's folder; of several animals the "
        "tracks made last)",
    )
    parser.add_argument(
        "--pcutoff",
        type=fraction,
        metavar="P",
        help="draw keypoints that score at least this (default: the project's, else 0.6)",
    )
    parser.add_argument("--skeleton", action="store_true", help="draw the project's skeleton")
    parser.add_argument(
        "--trail",
        type=at_least_zero,
        default=0,
        metavar="N",
        help="show where each keypoint was in the last N frames (default: %(default)s)",
    )
    parser.add_argument(
        "--color-by",
        choices=("bodypart", "individual"),
        help="what a colour tells apart (default: individual where there are several, else bodypart)",
    )
    parser.add_argument("--boxes", action="store_true", help="draw a box around each animal's keypoints")
    parser.add_argument("--overwrite", action="store_true", help="draw it again if it exists")


def run(arguments: argparse.Namespace) -> int:
    """Draw the video; say where it is."""
    # FFmpeg's own complaints would tear the progress bar.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from rigpose.progress import progress
    from rigpose.videos.labelled_video import find_table, is_current, label_video, labelled_path

    output = labelled_path(
        arguments.video, results=arguments.results, pcutoff=arguments.pcutoff, color_by=arguments.color_by
    )
    if not arguments.overwrite and is_current(output, find_table(arguments.video, arguments.results)):
        print(f"{output}: there already (--overwrite draws it again)")
        return 0
    label_video(
        arguments.video,
        results=arguments.results,
        pcutoff=arguments.pcutoff,
        skeleton=arguments.skeleton,
        trail=arguments.trail,
        color_by=arguments.color_by,
        boxes=arguments.boxes,
        overwrite=True,
        show=progress,
    )
    print(output)
    return 0


COMMAND = Command(
    name="label",
    help="Draw the poses into an analysed video.",
    configure=configure,
    run=run,
)
