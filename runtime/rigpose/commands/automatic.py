"""What a command does where a user said ``auto``: the arguments, the first frame's size, and what was chosen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rigpose.choice import AUTO
from rigpose.commands.argument_types import at_least_one
from rigpose.errors import MediaError

if TYPE_CHECKING:
    from rigpose.choice.backend import AutoOptions
    from rigpose.load import BundleAnalyzer
    from rigpose.videos.analysis import AnalysisOptions


def batch_size(text: str) -> int | str:
    """A whole number from 1 on, or ``auto``."""
    return text if text == AUTO else at_least_one(text)


def auto_options(
    arguments: argparse.Namespace, videos: Sequence[Path], images: Sequence[Path], options: AnalysisOptions
) -> AutoOptions | None:
    """What was typed for ``auto``; none where it was not.

    Args:
        arguments: Of ``add_backend_arguments`` with ``auto``, and ``batch``.
        videos: What will be analysed: the first frame that can be read says for which size is measured.
        images: The same.
        options: How.

    Raises:
        ConfigError: An accuracy that is none, or a crop that leaves the frame.
    """
    if AUTO not in (arguments.backend, arguments.precision, arguments.batch):
        return None
    from rigpose.choice.backend import ACCURACY_PX, AutoOptions

    accuracy = ACCURACY_PX if arguments.accuracy is None else arguments.accuracy
    return AutoOptions(first_frame_size(videos, images, options), accuracy, arguments.choose_again, options.batch)


def first_frame_size(
    videos: Sequence[Path], images: Sequence[Path], options: AnalysisOptions
) -> tuple[int, int] | None:
    """(H, W) of the first video that can be read, else of the first image; none where none can."""
    from rigpose.videos.analysis import find_videos
    from rigpose.videos.images import find_images, read_image
    from rigpose.videos.video import Video

    for source in videos:
        try:
            for path in find_videos(source):
                with Video(path, crop=options.cropping, decoder=options.decoder) as video:
                    return video.height, video.width
        except MediaError:  # noqa: PERF203  # the analysis will say so
            continue
    for source in images:
        try:
            frame = read_image(find_images(source)[0])
        except MediaError:
            continue
        if frame is not None:
            return frame.shape[0], frame.shape[1]
    return None


def say_choice(analyzer: BundleAnalyzer, command: str) -> None:
    """Print what ``load`` chose, if it did."""
    if analyzer.choice is not None:
        print(f"rigpose {command}: {analyzer.choice.sentence}", file=sys.stderr)


def settled_batch(
    batch: int | str, analyzer: BundleAnalyzer, auto: AutoOptions | None, *, threads: int | None, command: str
) -> int:
    """The batch that was typed, or the one that is fastest here, which is printed."""
    if auto is None or not isinstance(batch, str):
        return int(batch)
    from rigpose.choice.batch import choose_batch

    chosen = choose_batch(analyzer.bundle, analyzer, auto.frame_size, threads=threads, again=auto.again)
    print(f"rigpose {command}: {chosen.sentence}", file=sys.stderr)
    return chosen.batch
