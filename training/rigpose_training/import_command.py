"""``rigpose import``: labels of other tools -> a DeepLabCut project."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rigpose.commands.command import Command
from rigpose_training.imported import SOURCES


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "labels", type=Path, metavar="LABELS", help="a .slp or .pkg.slp, COCO .json, Lightning Pose .csv"
    )
    parser.add_argument(
        "--from",
        dest="source",
        choices=SOURCES,
        required=True,
        help="what made it: SLEAP, COCO key points, Lightning Pose",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="PROJECT",
        help="folder of a new DeepLabCut project, or of one that gets more labelled pictures",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="of the videos or images (default: where LABELS says, or beside it)",
    )
    parser.add_argument(
        "--origin",
        choices=("middle", "corner"),
        default="middle",
        help="where in the first pixel (0, 0) is; corner: of tools that count from the picture's edges, whose places "
        "then move by half a pixel (default: %(default)s, as SLEAP, COCO and DeepLabCut say)",
    )
    parser.add_argument(
        "--no-tracks",
        action="store_true",
        help="of a .slp: number the individuals in each picture, tracks are no names",
    )
    parser.add_argument(
        "--scorer",
        metavar="NAME",
        help="who labelled, for a new project (default: the one in PROJECT's or LABELS's names, or imported)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace pictures and labels of the same names")


def _run(arguments: argparse.Namespace) -> int:
    from rigpose.errors import ConfigError
    from rigpose_training.imported.coco import read_coco
    from rigpose_training.imported.lightning_pose import read_lightning_pose
    from rigpose_training.imported.slp import read_slp
    from rigpose_training.imported.write import write_labels

    corner = arguments.origin == "corner"
    if arguments.source == "slp":
        if corner:
            raise ConfigError("--origin corner: SLEAP's files say where they count from; leave it out.")
        labels = read_slp(arguments.labels, images=arguments.images, tracks=not arguments.no_tracks)
    else:
        if arguments.no_tracks:
            raise ConfigError(f"--no-tracks: {arguments.source} files have no tracks; leave it out.")
        read = read_coco if arguments.source == "coco" else read_lightning_pose
        labels = read(arguments.labels, images=arguments.images, corner=corner)
    done = write_labels(labels, arguments.output, scorer=arguments.scorer, overwrite=arguments.overwrite)
    made = "a new project" if done.new else "added"
    sys.stdout.write(f"{done.config}: {made}, {done.images} labelled pictures in {', '.join(done.folders)}\n")
    for note in done.notes:
        sys.stdout.write(f"  note: {note}\n")
    return 0


COMMAND = Command(
    name="import",
    help="Bring labels of SLEAP, COCO or Lightning Pose into a DeepLabCut project.",
    configure=_configure,
    run=_run,
    extra="sleap",
)
