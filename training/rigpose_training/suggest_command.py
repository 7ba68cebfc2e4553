"""``rigpose suggest``: the frames of analysed videos that are worth labelling -> the project, with machine labels."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rigpose.commands.argument_types import at_least_one, at_least_zero, fraction
from rigpose.commands.command import Command

if TYPE_CHECKING:
    from rigpose.triage.choosing import Suggestion
    from rigpose.triage.recording import Recording
    from rigpose_training.project.config import ProjectConfig


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "results",
        type=Path,
        nargs="+",
        metavar="RESULTS",
        help="a .h5 or .csv table of poses with its video beside it, or an analysed video",
    )
    parser.add_argument(
        "--project",
        type=Path,
        metavar="PROJECT",
        help="the DeepLabCut project, its folder or its config.yaml (default: the one that the model was trained in)",
    )
    parser.add_argument("--video", type=Path, metavar="VIDEO", help="the video of one table that is elsewhere")
    parser.add_argument(
        "--frames", type=at_least_one, default=20, metavar="N", help="most frames of each video (default: %(default)s)"
    )
    parser.add_argument(
        "--by",
        nargs="+",
        choices=("score", "jumps", "rare", "count", "switches"),
        metavar="WAY",
        help="what makes a frame worth it: score (unsure keypoints), jumps, rare (poses), count (of animals), switches "
        "(of their names) (default: all)",
    )
    parser.add_argument(
        "--gap", type=at_least_zero, metavar="N", help="frames between any two (default: half a second of the video)"
    )
    parser.add_argument(
        "--pcutoff", type=fraction, metavar="P", help="keypoints that score at least this are sure (default: project's)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show the frames; nothing is written")


def run(arguments: argparse.Namespace) -> int:
    """Choose, show and extract the frames of every video; 1 if anything failed."""
    # FFmpeg's own complaints would tear the progress bar.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    return _run(arguments, say=print, complain=partial(print, "rigpose suggest:", file=sys.stderr))


def _run(arguments: argparse.Namespace, *, say: Callable[[str], None], complain: Callable[[object], None]) -> int:
    from rigpose.errors import ConfigError, RigposeError
    from rigpose.progress import progress
    from rigpose_training.project.refinement import extract_frames

    if arguments.video is not None and len(arguments.results) > 1:
        raise ConfigError("--video names the video of one table; suggest frames of the others on their own.")
    failed = False
    for path in arguments.results:
        try:
            recording, project, suggestions = _suggest(path, arguments)
            if suggestions:
                _show(recording, suggestions)
            else:
                frames = len(recording.results.xy)
                say(f"{recording.table}: none of {frames} frames looks worth labelling")
            if arguments.dry_run or project is None or not suggestions:
                continue
            wanted = [suggestion.frame for suggestion in suggestions]
            done = extract_frames(project, recording, wanted, show=progress)
        except RigposeError as error:
            complain(error)
            failed = True
        else:
            new = f"; {project.path.name} lists the video now" if done.video_added else ""
            say(f"{done.machine_labels}: {len(done.images)} frames to refine in DeepLabCut{new}")
    return int(failed)


def _suggest(path: Path, arguments: argparse.Namespace) -> tuple[Recording, ProjectConfig | None, Sequence[Suggestion]]:
    from rigpose.triage.recording import open_recording
    from rigpose.triage.suggest import SECONDS_APART, WAYS, suggest_frames
    from rigpose_training.project.refinement import check_fits, frames_in_project

    recording = open_recording(path, video=arguments.video)
    project = _project(recording, arguments)
    labelled: frozenset[int] = frozenset()
    pcutoff = recording.pcutoff
    if project is not None:
        check_fits(project, recording)
        labelled = frames_in_project(project, recording.video)
        pcutoff = project.pcutoff
    gap = arguments.gap
    if gap is None:
        gap = round((recording.frames_per_second or 25.0) * SECONDS_APART)
    suggestions = suggest_frames(
        recording.results,
        pcutoff=pcutoff if arguments.pcutoff is None else arguments.pcutoff,
        count=arguments.frames,
        gap=gap,
        by=arguments.by or WAYS,
        labelled=labelled,
        lost=recording.lost,
    )
    return recording, project, suggestions


def _project(recording: Recording, arguments: argparse.Namespace) -> ProjectConfig | None:
    """The project that was named, else the model's own if it is still there; a dry run needs none."""
    from rigpose.errors import ProjectError
    from rigpose_training.project.config import read_project_config

    if arguments.project is not None:
        return read_project_config(arguments.project)
    if recording.project is not None and (recording.project / "config.yaml").is_file():
        return read_project_config(recording.project)
    if arguments.dry_run:
        return None
    where = f"the project of its model ({recording.project}) is not here" if recording.project else "names no project"
    raise ProjectError(f"{recording.table}: {where}; name it with --project, or look only, with --dry-run.")


def _show(recording: Recording, suggestions: Sequence[Suggestion]) -> None:
    """A table of the frames, worst first."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = f"{recording.video.name}: {len(suggestions)} of {len(recording.results.xy)} frames are worth labelling"
    # Text, because a name in square brackets would be taken for a style.
    table = Table("frame", "time", "severity", "why", title=Text(title), title_justify="left", box=box.SIMPLE)
    for suggestion in suggestions:
        rate = recording.frames_per_second
        time = f"{suggestion.frame / rate:.2f} s" if rate else ""
        table.add_row(str(suggestion.frame), time, f"{suggestion.severity:.2f}", Text("; ".join(suggestion.reasons)))
    Console().print(table)


COMMAND = Command(
    name="suggest",
    help="Extract frames of analysed videos that are worth labelling into the project, with machine labels.",
    configure=configure,
    run=run,
)
