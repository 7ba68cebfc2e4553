"""``rigpose analyze``: videos and images -> result files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rigpose.choice import AUTO
from rigpose.commands.argument_types import at_least_one
from rigpose.commands.automatic import auto_options, batch_size, say_choice, settled_batch
from rigpose.commands.backend_arguments import add_backend_arguments
from rigpose.commands.command import Command
from rigpose.commands.run_arguments import DYNAMIC, add_run_arguments, run_options
from rigpose.decoding.decoder import NAMES
from rigpose.errors import ConfigError

if TYPE_CHECKING:
    from rigpose.load import BundleAnalyzer
    from rigpose.videos.analysis import AnalysisOptions, VideoFailure, VideoResult
    from rigpose.videos.video import Crop

_BATCH = 8


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the exported model, a folder")
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="videos, images, or folders of them; a folder that holds videos is taken for its "
        "videos, videos that were drawn by an earlier run excepted",
    )
    parser.add_argument(
        "--destination",
        type=Path,
        metavar="FOLDER",
        help="where the results go (default: beside each video)",
    )
    parser.add_argument(
        "--batch",
        type=batch_size,
        default=_BATCH,
        metavar="N|auto",
        help="frames that go through the network at once; auto: the fastest, by a short measurement (default: "
        "%(default)s)",
    )
    add_backend_arguments(parser, auto=True)
    parser.add_argument("--threads", type=at_least_one, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument(
        "--decoder",
        choices=NAMES,
        default="auto",
        help="what decodes videos; all give the same frames. auto: OpenCV, and PyAV, where it is installed, for files "
        "that OpenCV cannot decode, such as AV1; nvdec: the NVIDIA GPU's decoder, for 8-bit 4:2:0 video (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--crop",
        action="append",
        default=[],
        metavar="x1,x2,y1,y2|dynamic",
        help="analyse this part of every video frame only; coordinates count from its corner. dynamic: look for the "
        "one animal in a region that follows it, and in the whole frame where it is lost; coordinates stay the "
        "frame's. Both may be given, each with its own --crop: the region then follows the animal inside the part",
    )
    add_run_arguments(parser)
    _configure_tracks(parser.add_argument_group("how several animals are followed through a video"))
    parser.add_argument(
        "--overwrite", action="store_true", help="analyse again videos that have results already (images always are)"
    )
    parser.add_argument("--no-csv", action="store_true", help="write the .h5 table only")
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="share the videos among all machines and GPUs of a Ray cluster, which must see bundle, videos and results "
        "by the same names: HOST:PORT of its head, auto on one of its machines, or local for all GPUs of this one; the "
        "files are those that one machine makes",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="also write one page with a row for each video, the worst first"
    )


def _configure_tracks(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--tracker",
        choices=("ellipse", "box", "skeleton", "none"),
        default="ellipse",
        help="what is compared from frame to frame; none leaves the animals in the order in which each frame has "
        "them; rigpose track follows them anew without another analysis (default: %(default)s)",
    )
    parser.add_argument(
        "--animals",
        type=at_least_one,
        metavar="N",
        help="how many animals are in the video, and so tracks in the table (default: as many as the project names)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Analyse everything that was named; 1 if anything failed, 130 after Ctrl-C."""
    # FFmpeg's own complaints would tear the progress bar; rigpose says what could not be decoded.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from rigpose.progress import progress
    from rigpose.videos.analysis import AnalysisInterrupted, VideoFailure

    videos, images = sort_sources(arguments.sources)
    failures: list[VideoFailure] = []
    done: list[VideoResult] = []

    def each(outcome: VideoResult | VideoFailure) -> None:
        if isinstance(outcome, VideoFailure):
            failures.append(outcome)
        else:
            done.append(outcome)
            _say(outcome)

    broken = False
    try:
        if arguments.cluster is None:
            broken = _analyze_here(arguments, videos, images, each)
        else:
            from rigpose.commands.analyze_on_cluster import analyze_there

            analyze_there(arguments, videos, images, analysis_options(arguments), each)
    except AnalysisInterrupted as stopped:
        print(f"rigpose analyze: {stopped}", file=sys.stderr)
        return 130
    finally:
        # At the end, where the lines of a hundred good videos do not bury them; after Ctrl-C, too.
        for failure in failures:
            print(f"rigpose analyze: {failure.sentence}", file=sys.stderr)
    if arguments.report is not None and (done or failures):
        from rigpose.report.report import write_batch_report

        sentences = [failure.sentence for failure in failures]
        tables = {result.h5: result.video for result in done}
        print(write_batch_report(tables, arguments.report, failures=sentences, show=progress))
    return 1 if failures or broken else 0


def _analyze_here(
    arguments: argparse.Namespace,
    videos: Sequence[Path],
    images: Sequence[Path],
    each: Callable[[VideoResult | VideoFailure], None],
) -> bool:
    """Analyse videos, then images, in this process; whether any image is broken."""
    from rigpose.load import load
    from rigpose.progress import progress
    from rigpose.videos.analysis import analyze_videos

    options = analysis_options(arguments)
    auto = auto_options(arguments, videos, images, options)
    analyzer = load(
        arguments.bundle,
        device=arguments.device,
        threads=arguments.threads,
        backend=arguments.backend,
        precision=arguments.precision,
        conditions=arguments.conditions,
        options=run_options(arguments),
        auto=auto,
    )
    analyzer.check_complete()
    say_choice(analyzer, "analyze")
    batch = settled_batch(arguments.batch, analyzer, auto, threads=arguments.threads, command="analyze")
    options = replace(options, batch=batch)
    if videos:
        analyze_videos(analyzer, videos, identity=analyzer.identity(), options=options, show=progress, each=each)
    return bool(images) and _analyze_images(analyzer, images, arguments, batch)


def analysis_options(arguments: argparse.Namespace) -> AnalysisOptions:
    """What was typed about videos and their files."""
    from rigpose.tracking.settings import TrackingSettings
    from rigpose.videos.analysis import AnalysisOptions
    from rigpose.videos.video import Crop

    return AnalysisOptions(
        batch=_BATCH if arguments.batch == AUTO else arguments.batch,
        overwrite=arguments.overwrite,
        destination=arguments.destination,
        cropping=_one_crop([Crop.parse(text) for text in arguments.crop if text != DYNAMIC]),
        save_csv=not arguments.no_csv,
        tracking=None if arguments.tracker == "none" else TrackingSettings(method=arguments.tracker),
        animals=arguments.animals,
        decoder=arguments.decoder,
    )


def _one_crop(crops: list[Crop]) -> Crop | None:
    if len(crops) > 1:
        raise ConfigError(f"crop: one part of the frames can be analysed, and {len(crops)} were given; give one.")
    return crops[0] if crops else None


def sort_sources(sources: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Videos and images; a folder without videos but with images counts as images."""
    from rigpose.videos import images, video

    def is_image(source: Path) -> bool:
        if not source.is_dir():
            return source.suffix.lower() in images.SUFFIXES
        suffixes = {path.suffix.lower() for path in source.iterdir()}
        return bool(suffixes & images.SUFFIXES) and not suffixes & video.SUFFIXES

    pictures = [source for source in sources if is_image(source)]
    return [source for source in sources if source not in pictures], pictures


def _analyze_images(
    analyzer: BundleAnalyzer,
    images: Sequence[Path],
    arguments: argparse.Namespace,
    batch: int,
) -> bool:
    """Analyse images into one table; whether any is broken."""
    from rigpose.progress import progress
    from rigpose.videos.images import ImageOptions, analyze_images

    result = analyze_images(
        analyzer,
        images,
        scorer=analyzer.bundle.manifest.scorer,
        options=ImageOptions(batch, arguments.destination, not arguments.no_csv),
        show=progress,
    )
    print(f"{result.h5}: {len(result.images)} images")
    for warning in result.warnings:
        print(f"rigpose analyze: {warning}", file=sys.stderr)
    return bool(result.broken)


def _say(result: VideoResult) -> None:
    if result.skipped:
        print(f"{result.h5}: {result.frames} frames, there already (--overwrite analyses again)")
    else:
        continued = f", continued at frame {result.resumed_at}" if result.resumed_at else ""
        by = "" if result.decoder == "opencv" else f", decoded by {result.decoder}"
        print(f"{result.h5}: {result.frames} frames at {result.frames_per_second:.1f} frames/s{by}{continued}")
    for warning in result.warnings:
        print(f"rigpose analyze: {warning}", file=sys.stderr)


COMMAND = Command(
    name="analyze",
    help="Find the poses in videos or images and write DeepLabCut's result files.",
    configure=configure,
    run=run,
)
