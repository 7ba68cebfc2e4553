"""``rigpose live fit``: a recording -> what may be predicted of which keypoint, and how far ahead."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rigpose.commands.argument_types import at_least_one, fraction, positive
from rigpose.commands.command import Command
from rigpose.errors import ConfigError
from rigpose.writable import check_writable

SUFFIX = "_motion.yaml"
TABLES = (".h5", ".csv")
WIDEST = 400
"""Columns of text, which no table has [characters]."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "recording", type=Path, metavar="RECORDING", help="a folder that rigpose live recorded, or a .h5 or .csv table"
    )
    parser.add_argument("--fps", type=_rate, metavar="F", help="frames per second of a table, which does not say it")
    parser.add_argument("--camera", metavar="NAME", help="of a recording of several cameras")
    parser.add_argument(
        "--leads",
        type=_lead,
        nargs="+",
        metavar="MS",
        help="how far ahead, in milliseconds (default: 10 20 30 50 100)",
    )
    parser.add_argument(
        "--pcutoff",
        type=fraction,
        default=0.6,
        metavar="P",
        help="keypoints below it are not seen (default: %(default)s)",
    )
    parser.add_argument(
        "--every",
        type=at_least_one,
        default=1,
        metavar="N",
        help="predict from every Nth frame only, as where the network is slower than the camera (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help=f"where to write the fit (default: beside it, with {SUFFIX})"
    )


def fit(  # noqa: PLR0913  # each a word that a user says
    recording: Path,
    *,
    fps: float | None = None,
    camera: str | None = None,
    leads: Sequence[float] | None = None,
    pcutoff: float = 0.6,
    every: int = 1,
    output: Path | None = None,
) -> int:
    """Go through the recording, print the table, write the fit; 0.

    Args:
        recording: A folder of ``rigpose live``, or a table.
        fps: Frames per second of a table.
        camera: Of a recording of several.
        leads: [ms].
        pcutoff: Keypoints that score less are not seen.
        every: Predict from every so manieth frame.
        output: Where the fit goes; beside the recording if none.
    """
    from rich.console import Console
    from rich.measure import Measurement

    from rigpose.live.prediction.choosing import LEADS, fit_motion
    from rigpose.live.prediction.motion_filter import Limits
    from rigpose.live.prediction.page import sentences, table
    from rigpose.live.prediction.pose_history import read_history
    from rigpose.progress import progress

    path = output or _beside(recording)
    _check(recording, path, fps, camera)
    poses = read_history(recording, frames_per_second=fps, camera=camera)
    made = fit_motion(
        poses,
        leads=LEADS if leads is None else [each / 1000 for each in leads],
        limits=Limits(least_score=pcutoff),
        every=every,
        show=progress,
    )
    console, drawn = Console(), table(made)
    # A cell that is cut says nothing; lines that a narrow terminal breaks still do.
    Console(
        width=max(console.width, Measurement.get(console, console.options.update(width=WIDEST), drawn).maximum)
    ).print(drawn)
    print("\n".join(sentences(made)))
    made.write(path)
    print(f"wrote {path}")
    return 0


def run(arguments: argparse.Namespace) -> int:
    """What was typed."""
    return fit(
        arguments.recording,
        fps=arguments.fps,
        camera=arguments.camera,
        leads=arguments.leads,
        pcutoff=arguments.pcutoff,
        every=arguments.every,
        output=arguments.output,
    )


def _beside(recording: Path) -> Path:
    whole = recording.resolve()
    return whole.with_name((whole.name if whole.is_dir() else whole.stem) + SUFFIX)


def _check(recording: Path, output: Path, fps: float | None, camera: str | None) -> None:
    """What would come to nothing after minutes of work, or be given in vain."""
    if recording.is_dir():
        if fps is not None:
            raise ConfigError("fps: a recording knows when its frames were; leave it out.")
    elif not recording.is_file():
        raise ConfigError(
            f"{recording}: is not there; name a folder that rigpose live recorded, or a .h5 or .csv table."
        )
    elif recording.suffix not in TABLES:
        raise ConfigError(f"{recording}: is no table; name the folder of its recording, or a .h5 or .csv table.")
    elif camera is not None:
        raise ConfigError("camera: a table is of one video; leave it out.")
    if output.is_dir():
        raise ConfigError(f"output: {output} is a folder; name a file.")
    check_writable(output.parent, f"output: {output}")


def _rate(text: str) -> float:
    return positive(text, "a rate in frames per second")


def _lead(text: str) -> float:
    return positive(text, "a time in milliseconds")


COMMAND = Command(
    "live fit", "Find out on a recording how far ahead each keypoint can be predicted.", configure, run, extra="live"
)
