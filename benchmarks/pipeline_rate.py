"""How much of the bare session's rate the whole video pipeline keeps: ``pipeline_rate.py BUNDLE VIDEO``.

In one process and alternating, so that a busy machine slows both alike: (a) the session alone on the video's
prepared frames, which lie in memory; (b) ``analyze_video``, which decodes, prepares, infers, groups and writes the
result files. Prints both rates and (b)/(a), and appends a JSON line to ``benchmarks/results/pipeline_rate.jsonl``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from record import record

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Frames
from rigpose.load import BundleAnalyzer, load
from rigpose.videos.analysis import AnalysisOptions, analyze_video
from rigpose.videos.video import Video

MOST_IN_MEMORY = 256
"""Prepared frames for the bare session; it goes over them again until it has had as many as the video."""


def main() -> None:
    """Measure, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    analyzer = load(arguments.bundle, device=arguments.device, threads=arguments.threads)
    if not isinstance(model := analyzer.model, Analyzer):
        raise SystemExit(f"{arguments.bundle}: has several graphs; use a bundle of a model that sees whole frames.")
    batches = prepared_batches(model, arguments.video, arguments.batch)
    model.infer(batches[0])
    bare: list[float] = []
    whole: list[float] = []
    frames = 0
    for repeat in range(arguments.repeats):
        frames, rate = pipeline_rate(analyzer, arguments.video, arguments.batch)
        whole.append(rate)
        bare.append(session_rate(model, batches, frames))
        print(f"{repeat + 1}/{arguments.repeats}: session {bare[-1]:.2f}, pipeline {whole[-1]:.2f} frames/s")
    ratios = [w / b for w, b in zip(whole, bare, strict=True)]
    line = {
        "bundle": arguments.bundle.name,
        "architecture": analyzer.spec.architecture,
        "video": arguments.video.name,
        "frames": frames,
        "input": list(batches[0].shape[1:3]),
        "batch": arguments.batch,
        "device": analyzer.device,
        "session_frames_per_second": rounded(bare),
        "pipeline_frames_per_second": rounded(whole),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }
    print(f"ratio: median {line['ratio_median']}, from {min(ratios):.3f} to {max(ratios):.3f}")
    print(f"appended to {record('pipeline_rate', line)}")


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


def session_rate(model: Analyzer, batches: Sequence[Frames], frames: int) -> float:
    """Frames per second of the session alone, over about ``frames`` frames."""
    runs = max(1, frames // len(batches[0]))
    begun = time.perf_counter()
    for run in range(runs):
        model.infer(batches[run % len(batches)])
    return runs * len(batches[0]) / (time.perf_counter() - begun)


def pipeline_rate(analyzer: BundleAnalyzer, path: Path, batch: int) -> tuple[int, float]:
    """Frames of a video, and frames per second of its analysis from opening to the last result file."""
    with tempfile.TemporaryDirectory() as folder:
        options = AnalysisOptions(batch=batch, destination=Path(folder))
        begun = time.perf_counter()
        result = analyze_video(analyzer, path, identity=analyzer.identity(), options=options)
        return result.frames, result.frames / (time.perf_counter() - begun)


def rounded(rates: Sequence[float]) -> list[float]:
    """For the record."""
    return [round(rate, 2) for rate in rates]


if __name__ == "__main__":
    main()
