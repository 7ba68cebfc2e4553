"""``rigpose live fit``: a recording -> what may be predicted of which keypoint, and how far ahead."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rigpose.commands.argument_types import at_least_one, fraction
from rigpose.commands.command import Command

SUFFIX = "_motion.yaml"


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

    from rigpose.live.prediction.choosing import LEADS, fit_motion
    from rigpose.live.prediction.motion_filter import Limits
    from rigpose.live.prediction.page import sentences, table
    from rigpose.live.prediction.pose_history import read_history
    from rigpose.progress import progress

    poses = read_history(recording, frames_per_second=fps, camera=camera)
    made = fit_motion(
        poses,
        leads=LEADS if leads is None else [each / 1000 for each in leads],
        limits=Limits(least_score=pcutoff),
        every=every,
        show=progress,
    )
    Console().print(table(made))
    print("\n".join(sentences(made)))
    whole = recording.resolve()
    path = output or whole.with_name((whole.name if whole.is_dir() else whole.stem) + SUFFIX)
    made.write(path)
    print(path)
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


def _rate(text: str) -> float:
    return _positive(text, "a rate in frames per second")


def _lead(text: str) -> float:
    return _positive(text, "a time in milliseconds")


def _positive(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} above 0")
    return value


COMMAND = Command(
    "live fit", "Find out on a recording how far ahead each keypoint can be predicted.", configure, run, extra="live"
)
