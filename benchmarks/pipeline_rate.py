"""How much of its slowest stage's rate a video analysis keeps, be that stage inference or decoding.

    pipeline_rate.py session BUNDLE VIDEO     against the bundle's session alone, on prepared frames in memory
    pipeline_rate.py decoder VIDEO            against the decoder alone, with a network that costs next to nothing

In one process and alternating, so that a busy machine slows both alike: (a) the stage alone; (b) ``analyze_video``,
which decodes, prepares, infers, groups and writes the result files. Prints both rates and (b)/(a), and appends a JSON
line to ``benchmarks/results/pipeline_rate.jsonl``. On a machine that does other work, too, a stage alone has more of it
than a stage among others: then look at the CPU times, which say what the analysis adds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from record import record
from sentences import in_sentences
from tiny_network import IDENTITY, tiny_analyzer

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Frames
from rigpose.decoding.decoder import NAMES
from rigpose.load import load
from rigpose.videos.analysis import AnalysisOptions, ResultIdentity, analyze_video
from rigpose.videos.video import Video

MOST_IN_MEMORY = 256
"""Prepared frames for the bare session; it goes over them again until it has had as many as the video."""


@dataclass(frozen=True)
class Pass:
    """One time through a video: frames, and what they took [s]."""

    frames: int
    wall: float
    cpu: float


def main() -> None:
    """Measure, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="against", required=True)
    session = commands.add_parser("session")
    session.add_argument("bundle", type=Path)
    session.add_argument("--device", default="auto")
    session.add_argument("--threads", type=int)
    decoder = commands.add_parser("decoder")
    for command in (session, decoder):
        command.add_argument("video", type=Path)
        command.add_argument("--decoder", choices=NAMES, default="auto")
        command.add_argument("--batch", type=int, default=8)
        command.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    facts, alone, whole = _against_session(arguments) if arguments.against == "session" else _against_decoder(arguments)
    line = {"against": arguments.against, "video": arguments.video.name, "batch": arguments.batch, **facts}
    line |= compare(alone, whole, arguments.repeats)
    print(f"ratio: median {line['ratio_median']}, from {line['ratio_range'][0]} to {line['ratio_range'][1]}")
    print(f"appended to {record('pipeline_rate', line)}")


def compare(alone: Callable[[], Pass], whole: Callable[[], Pass], repeats: int) -> dict[str, Any]:
    """The rates of both, taken in turn, and their ratio."""
    # What only a first analysis does, such as importing what writes tables, is no part of a rate.
    whole()
    pairs: list[tuple[Pass, Pass]] = []
    for repeat in range(repeats):
        pairs.append((alone(), whole()))
        rates = [one.frames / one.wall for one in pairs[-1]]
        print(f"{repeat + 1}/{repeats}: alone {rates[0]:.2f}, whole analysis {rates[1]:.2f} frames/s")
    ratios = [(b.frames / b.wall) / (a.frames / a.wall) for a, b in pairs]
    return {
        "frames": pairs[0][1].frames,
        "alone_frames_per_second": [round(a.frames / a.wall, 2) for a, _ in pairs],
        "pipeline_frames_per_second": [round(b.frames / b.wall, 2) for _, b in pairs],
        "alone_cpu_ms": round(statistics.median(1000 * a.cpu / a.frames for a, _ in pairs), 3),
        "pipeline_cpu_ms": round(statistics.median(1000 * b.cpu / b.frames for _, b in pairs), 3),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def _against_session(arguments: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], Pass], Callable[[], Pass]]:
    analyzer = load(arguments.bundle, device=arguments.device, threads=arguments.threads)
    if not isinstance(model := analyzer.model, Analyzer):
        raise SystemExit(f"{arguments.bundle}: has several graphs; use a bundle of a model that sees whole frames.")
    batches = prepared_batches(model, arguments.video, arguments.batch)
    with Video(arguments.video) as video:
        frames = video.frames_reported or len(batches) * arguments.batch
    model.infer(batches[0])
    facts = {
        "bundle": arguments.bundle.name,
        "architecture": analyzer.spec.architecture,
        "input": list(batches[0].shape[1:3]),
        "device": analyzer.device,
    }
    return facts, lambda: session_alone(model, batches, frames), _analysis(model, analyzer.identity(), arguments)


def _against_decoder(arguments: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], Pass], Callable[[], Pass]]:
    with Video(arguments.video, decoder=arguments.decoder) as video:
        facts = {"decoder": video.decoder, "input": [video.height, video.width]}
    whole = _analysis(tiny_analyzer(), IDENTITY, arguments)
    return facts, lambda: decoder_alone(arguments.video, arguments.decoder), whole


def prepared_batches(model: Analyzer, path: Path, batch: int) -> list[Frames]:
    """Whole batches (B, h, w, 3) of the first frames of a video, ready for the session."""
    with Video(path) as video:
        preparation = model.preparation(video.height, video.width)
        images = [frame.image for frame in islice(video.frames(), MOST_IN_MEMORY)]
    batches = []
    for start in range(0, len(images) - batch + 1, batch):
        inputs = np.empty((batch, *preparation.input_size, 3), np.uint8)
        for image, slot in zip(images[start : start + batch], inputs, strict=True):
            preparation.write(image, out=slot)
        batches.append(inputs)
    if not batches:
        raise SystemExit(f"{path}: has fewer than {batch} frames; use a longer video or a smaller --batch.")
    return batches


def session_alone(model: Analyzer, batches: Sequence[Frames], frames: int) -> Pass:
    """The session over about ``frames`` frames."""
    runs = max(1, frames // len(batches[0]))
    wall, cpu = time.perf_counter(), time.process_time()
    for run in range(runs):
        model.infer(batches[run % len(batches)])
    return Pass(runs * len(batches[0]), time.perf_counter() - wall, time.process_time() - cpu)


def decoder_alone(path: Path, decoder: str) -> Pass:
    """A decoder over a video, from opening it to its last frame in colours."""
    wall, cpu = time.perf_counter(), time.process_time()
    with Video(path, decoder=decoder) as video:
        frames = sum(1 for _ in video.frames())
    return Pass(frames, time.perf_counter() - wall, time.process_time() - cpu)


def _analysis(model: Analyzer, identity: ResultIdentity, arguments: argparse.Namespace) -> Callable[[], Pass]:
    """An analysis of a video, from opening it to its last result file."""

    def run() -> Pass:
        with tempfile.TemporaryDirectory() as folder:
            options = AnalysisOptions(batch=arguments.batch, destination=Path(folder), decoder=arguments.decoder)
            wall, cpu = time.perf_counter(), time.process_time()
            result = analyze_video(model, arguments.video, identity=identity, options=options)
            return Pass(result.frames, time.perf_counter() - wall, time.process_time() - cpu)

    return run


if __name__ == "__main__":
    in_sentences(main)
