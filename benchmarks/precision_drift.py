"""How far each precision moves the keypoints of a video, beside how far fp32 moves them when its frames tremble.

    python benchmarks/precision_drift.py my.bundle --video cage.mp4 --frames 300

The frames are spread evenly over the video. Distances are from the bundle's fp32 in ``--reference``, over the keypoints
that it is sure of (score 0.6, or half of them where fewer score so much). The last row is the yardstick: fp32 again,
after every value of every pixel was left alone, raised by one or lowered by one of 255 at random, the smallest change
that a camera of 8 bits can report. Where a network hesitates between two cells of its map, or two animals, that is
enough to decide: what a precision moves no further than this is not lost by rounding, as it was not there.

Of one bundle and one video; another network hesitates elsewhere. Prints the table of all lines so far, and appends one
to ``benchmarks/results/precision_drift.jsonl``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from record import lines, record
from sentences import in_sentences
from turns import table
from ways import each_way, open_way

from rigpose.arrays import Frames
from rigpose.bundles.bundle import Bundle
from rigpose.load import BundleAnalyzer
from rigpose.measures.drift import drift
from rigpose.poses import Poses
from rigpose.progress import progress
from rigpose.videos.video import Video

NAME = "precision_drift"
REFERENCE = "openvino fp32"
WAYS = ("openvino bf16", "openvino int8", "onnxruntime int8")
TREMBLING = "fp32, pixels off by one"
HEADER = (
    "video", "bundle", "architecture", "way", "sure keypoints", "lost", "median [px]", "p99 [px]", "worst [px]",
)  # fmt: skip


def main() -> None:
    """Measure what is asked for, and print the table."""
    options = _arguments()
    if not options.markdown:
        record(NAME, measure(options))
    print(table(HEADER, [row for line in newest() for row in rows(line)]))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The drift of every way that the bundle and this machine have."""
    frames = spread(options.video, options.frames)
    bundle = Bundle.open(options.bundle)
    exact = open_way(bundle, options.reference, options.threads)
    right = poses(exact, frames, options.reference)
    others, refused = each_way(bundle, options.ways, options.threads)
    found = {way: drift(right, poses(analyzer, frames, way)) for way, analyzer in others.items()}
    found[TREMBLING] = drift(right, poses(exact, trembling(frames), TREMBLING))
    return {
        "bundle": bundle.path.name, "checksum": bundle.checksum, "architecture": exact.spec.architecture,
        "video": options.video.name, "frames": len(frames), "reference": options.reference, "refused": refused,
        "drift": {way: asdict(each) for way, each in found.items()},
    }  # fmt: skip


def spread(video: Path, count: int) -> list[Frames]:
    """So many frames, evenly over the video; its first ones where it does not say how long it is."""
    with Video(video) as source:
        step = max(1, (source.frames_reported or count) // count)
        return [frame.image for frame in islice(source.frames(), 0, count * step, step)]


def poses(analyzer: BundleAnalyzer, frames: Sequence[Frames], what: str) -> list[Poses]:
    """Of each frame by itself, so that no batch of another size rounds in another way."""
    found = []
    with progress(f"Looking, {what}", len(frames), "frames") as advance:
        for frame in frames:
            found += analyzer.predict([frame])
            advance(1)
    return found


def trembling(frames: Sequence[Frames]) -> list[Frames]:
    """The frames with each value off by -1, 0 or 1."""
    random = np.random.default_rng(0)
    return [
        (frame.astype(np.int16) + random.integers(-1, 2, frame.shape)).clip(0, 255).astype(np.uint8) for frame in frames
    ]


def newest() -> list[dict[str, Any]]:
    """The newest line of each bundle and video."""
    return [*{(line["video"], line["bundle"]): line for line in lines(NAME)}.values()]


def rows(line: dict[str, Any]) -> list[list[Any]]:
    """A row for each way of a line."""
    first = [line[key] for key in ("video", "bundle", "architecture")]
    keys = ("compared", "lost", "median_px", "p99_px", "worst_px")
    return [[*first, way, *(each[key] for key in keys)] for way, each in line["drift"].items()]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE")
    parser.add_argument("--video", type=Path, help="that the network was not trained on")
    parser.add_argument("--frames", type=int, default=300, help="of the video (default: %(default)s)")
    parser.add_argument("--reference", default=REFERENCE, metavar="WAY", help="default: %(default)s")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), metavar="WAY", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of each session (default: %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines so far")
    options = parser.parse_args()
    if not options.markdown and not (options.bundle and options.video):
        parser.error("give a BUNDLE and its --video, or --markdown")
    return options


if __name__ == "__main__":
    in_sentences(main)
