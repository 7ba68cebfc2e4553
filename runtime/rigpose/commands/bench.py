"""``rigpose bench``: can this machine keep up, and if not, why?"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from rigpose.commands.argument_types import at_least_one, positive
from rigpose.commands.automatic import auto_options, say_choice
from rigpose.commands.backend_arguments import add_backend_arguments
from rigpose.commands.command import Command
from rigpose.decoding.decoder import NAMES


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the exported model, a folder")
    parser.add_argument(
        "--video",
        type=Path,
        help="a recording of the rig, gone through again and again (default: the bundle's golden frames from memory, "
        "so that no decoder is measured)",
    )
    parser.add_argument(
        "--minutes",
        type=_minutes,
        default=0.5,
        metavar="M",
        help="how long the end-to-end run is; 30 and more show what heat does (default: %(default)s)",
    )
    parser.add_argument(
        "--target-fps",
        type=_rate,
        metavar="F",
        help="frames per second that are wanted: the exit status is 1 if any third of the run was slower",
    )
    parser.add_argument(
        "--decoder", choices=NAMES, default="auto", help="of the video, as in rigpose analyze (default: %(default)s)"
    )
    add_backend_arguments(parser, auto=True)
    parser.add_argument("--threads", type=at_least_one, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument(
        "--batch",
        type=at_least_one,
        default=8,
        metavar="N",
        help="frames that go through the network at once, end to end (default: %(default)s)",
    )
    parser.add_argument(
        "--detect-every", type=at_least_one, default=1, metavar="N", help="as in rigpose analyze (default: %(default)s)"
    )
    parser.add_argument(
        "--conditions", type=Path, metavar="BUNDLE", help="for a conditional top-down model, as in rigpose analyze"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the page; 1 where a rate was named and is not kept."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from rigpose.analyzers.run_options import RunOptions
    from rigpose.bench.measure import measure
    from rigpose.bench.page import Setting, facts, load_average, page
    from rigpose.bench.source import MemorySource, VideoSource
    from rigpose.bench.verdict import advice, judgement, keeps, steadiness
    from rigpose.load import load
    from rigpose.progress import progress
    from rigpose.videos.analysis import AnalysisOptions

    options = AnalysisOptions(batch=arguments.batch, decoder=arguments.decoder)
    auto = auto_options(arguments, [arguments.video] if arguments.video else [], [], options)
    busy, begun = load_average(), time.perf_counter()
    analyzer = load(
        arguments.bundle,
        device=arguments.device,
        threads=arguments.threads,
        backend=arguments.backend,
        precision=arguments.precision,
        conditions=arguments.conditions,
        options=RunOptions(detect_every=arguments.detect_every),
        auto=auto,
    )
    loaded = time.perf_counter() - begun
    analyzer.check_complete()
    say_choice(analyzer, "bench")
    source = (
        VideoSource.of(arguments.video, arguments.decoder) if arguments.video else MemorySource.golden(analyzer.bundle)
    )
    measured = measure(analyzer, source, seconds=60 * arguments.minutes, batch=arguments.batch, show=progress)
    target: float | None = arguments.target_fps
    said = judgement(measured, target) if target is not None else []
    if target is None and source.frames_per_second:
        times = measured.frames_per_second / source.frames_per_second
        said = [f"It runs at {times:.2f} times the recording's own {source.frames_per_second:g} frames/s."]
    said += steadiness(measured) + advice(measured, analyzer.bundle, analyzer.backend, analyzer.device)
    setting = Setting(analyzer, source, loaded, arguments.threads, target, busy)
    print(page(setting, measured, said))
    if arguments.json:
        arguments.json.write_text(json.dumps(facts(setting, measured, said), indent=1) + "\n", encoding="utf-8")
    return 0 if target is None or keeps(measured, target) else 1


def _minutes(text: str) -> float:
    return positive(text, "a number of minutes")


def _rate(text: str) -> float:
    return positive(text, "a rate in frames per second")


COMMAND = Command(
    "bench", "Measure whether this machine keeps up with a camera, and which stage limits.", configure, run
)
