"""Accuracy against speed: which model, in which precision, should a lab choose? The caller gives trained bundles.

    python benchmarks/pareto.py BUNDLE... --project PROJECT --shuffle 1
    python benchmarks/pareto.py BUNDLE... --video unseen.mp4 --truth unseen_truth.npz

Accuracy is measured either on the labelled test images of a shuffle (error [px] and mAP, as ``rigpose evaluate`` gives
them), or against the known truth of a drawn video (every ``--every``-th frame; mAP is by object keypoint similarity).
Give only bundles that have not seen these images in training: the split of one shuffle is taken for all. Speed is from
frames in memory to poses, in batches, and all bundles and ways of a call take turns; compare it within a call alone.
Networks that were trained for minutes say which trade there is, not which architecture is best. Appends a line per
bundle and way to ``benchmarks/results/pareto.jsonl`` and draws ``benchmarks/figures/pareto-*.png``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from figures import draw_pareto
from record import lines, record
from sentences import in_sentences
from turns import rounded, table, take_turns
from ways import each_way

from rigpose.arrays import Frames
from rigpose.load import BundleAnalyzer
from rigpose.measures.metrics import Metrics, evaluate_poses
from rigpose.progress import progress, silent
from rigpose.videos.video import Video
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.evaluation.evaluate import evaluate_model
from rigpose_training.evaluation.frames import read_frame
from rigpose_training.scene.project import read_truth

NAME = "pareto"
WAYS = ("onnxruntime fp32", "onnxruntime int8", "openvino fp32", "openvino bf16", "openvino int8")
HEADER = ("data", "bundle", "architecture", "way", "error [px]", "mAP", "frames/s", "from", "to")


@dataclass(frozen=True)
class Data:
    """What accuracy is measured on: labelled images, or frames of a video and their truth.

    Attributes:
        name: For people.
        images: Labelled images; empty for a video.
        frames: Of the video; of images, those that speed is measured on.
        truth: (F, N, K, 2) of the video's frames [frame px], NaN where a keypoint is hidden.
    """

    name: str
    images: Sequence[LabelledImage]
    frames: list[Frames]
    truth: list[np.ndarray]

    def judge(self, analyzer: BundleAnalyzer) -> Metrics:
        """How good an analyzer is here."""
        if self.images:
            return evaluate_model(analyzer, self.images, show=silent)[1]
        found = []
        for start in range(0, len(self.frames), 8):
            found += analyzer.predict(self.frames[start : start + 8])
        return evaluate_poses(found, self.truth)


def main() -> None:
    """Measure, print, draw."""
    options = _arguments()
    if not options.markdown:
        data = labelled(options) if options.project else filmed(options)
        loaded = dict(opened(options))
        call = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with progress("Judging", len(loaded), "ways") as advance:
            judged = {}
            for key, analyzer in loaded.items():
                judged[key] = data.judge(analyzer)
                advance(1, " ".join(key))
        batch = data.frames[: options.batch]
        turns = take_turns({key: partial(rate, analyzer, batch) for key, analyzer in loaded.items()}, options.repeats)
        for key, rates in turns.items():
            record(NAME, {**facts(key, loaded[key], judged[key]), "data": data.name, "call": call,
                          "batch": len(batch), "frames_per_second": rounded(rates)})  # fmt: skip
    print(table(HEADER, [row(line) for line in newest(lines(NAME))]))
    for path in draw_pareto(newest(lines(NAME)), options.figures):
        print(f"drew {path}")


def labelled(options: argparse.Namespace) -> Data:
    """The test images of a shuffle."""
    images = DLCLoader(options.project, shuffle=options.shuffle).images("test")
    frames = [read_frame(image.path) for image in images[: options.batch]]
    alike = [frame for frame in frames if frame.shape == frames[0].shape]
    name = f"{len(images)} test images of {options.project.resolve().name}"
    return Data(name, images, (alike * options.batch)[: options.batch], [])


def filmed(options: argparse.Namespace) -> Data:
    """Every so manieth frame of a drawn video."""
    truth, _ = read_truth(options.truth).labels
    with Video(options.video) as video:
        chosen = islice(video.frames(), 0, options.most * options.every, options.every)
        frames = [frame.image for frame in chosen]
    return Data(
        f"{len(frames)} frames of {options.video.name}", (), frames, list(truth[:: options.every][: len(frames)])
    )


def opened(options: argparse.Namespace) -> list[tuple[tuple[str, str], BundleAnalyzer]]:
    """Every bundle in every way that it and this machine have; the others are named."""
    found = []
    for path in options.bundles:
        loaded, refused = each_way(path, options.only, options.threads, device=options.device)
        for way, why in refused.items():
            print(f"{path.name}, {way}: left out ({why})")
        found += [((path.resolve().name, way), analyzer) for way, analyzer in loaded.items()]
    return found


def rate(analyzer: BundleAnalyzer, frames: Sequence[Frames]) -> float:
    """Frames per second from memory to poses, over one batch."""
    begun = time.perf_counter()
    analyzer.predict(frames)
    return len(frames) / (time.perf_counter() - begun)


def facts(key: tuple[str, str], analyzer: BundleAnalyzer, found: Metrics) -> dict[str, Any]:
    """About a bundle run in a way."""
    number = {name: None if np.isnan(value) else round(float(value), 4) for name, value in
              (("px_error", found.rmse), ("mAP", found.mAP))}  # fmt: skip
    spec = analyzer.spec
    return {
        "bundle": key[0], "checksum": analyzer.bundle.checksum, "architecture": spec.architecture, "task": spec.task,
        "way": key[1], "threads": analyzer.backend.threads, **number,
    }  # fmt: skip


def newest(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest line of every bundle and way on the same data."""
    return [*{(line["data"], line["bundle"], line["way"]): line for line in found}.values()]


def row(line: dict[str, Any]) -> list[Any]:
    """Of the table."""
    rates = line["frames_per_second"]
    first = [line[key] for key in ("data", "bundle", "architecture", "way", "px_error", "mAP")]
    return [*first, float(statistics.median(rates)), min(rates), max(rates)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="*", metavar="BUNDLE")
    parser.add_argument("--project", type=Path, help="whose labelled test images are taken")
    parser.add_argument("--shuffle", type=int, default=1, help="whose split is taken (default: %(default)s)")
    parser.add_argument("--video", type=Path, help="a drawn video, in place of --project")
    parser.add_argument("--truth", type=Path, help="its truth, the .npz beside it")
    parser.add_argument("--every", type=int, default=5, help="so manieth frame of it (default: %(default)s)")
    parser.add_argument("--most", type=int, default=120, help="frames of it (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=list(WAYS), metavar="WAY", help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="turns that count (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of each session; default: all cores")
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument("--figures", type=Path, default=Path(__file__).parent / "figures", help="where they are drawn")
    parser.add_argument("--markdown", action="store_true", help="print and draw the lines so far")
    options = parser.parse_args()
    if not options.markdown and not (options.bundles and (options.project or (options.video and options.truth))):
        parser.error("give BUNDLES with --project, or with --video and --truth; or --markdown")
    return options


if __name__ == "__main__":
    in_sentences(main)
