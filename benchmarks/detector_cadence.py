"""What a detector that looks at every N-th frame costs in accuracy and saves in time, against known truth.

    python benchmarks/detector_cadence.py PAIR.bundle unseen-3.mp4 --every 1 2 5 10

The video is one that the project drew, with its truth beside it (``unseen-3_truth.npz``; ``multi_animal.py`` makes such
a pair). All cadences run in turn, over the same decoded frames and with the same loaded graphs, as often as
``--repeats`` says, so that a busy machine slows all of them; times are medians and count neither decoding nor files.
Errors and mAP are those of ``rigpose evaluate``, against all visible keypoints of every frame. Prints a table and
appends a line per cadence to ``benchmarks/results/detector_cadence.jsonl``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from record import record
from sentences import in_sentences

from rigpose.analyzers.analyzer import FrameRun
from rigpose.analyzers.run_options import RunOptions
from rigpose.analyzers.top_down import TopDownAnalyzer
from rigpose.arrays import Floats, Frames
from rigpose.load import load
from rigpose.measures.metrics import evaluate_poses, pair_poses
from rigpose.poses import Poses
from rigpose.videos.video import Video
from rigpose_training.scene.project import read_truth


def main() -> None:
    """Measure, print, and append to the results."""
    arguments = _arguments()
    with Video(arguments.video) as video:
        frames = np.stack([frame.image for frame in islice(video.frames(), arguments.frames)])
    labels = read_truth(arguments.video.with_name(f"{arguments.video.stem}_truth.npz")).labels[0][: len(frames)]
    loaded = load(
        arguments.bundle,
        device=arguments.device,
        threads=arguments.threads,
        backend=arguments.backend,
        precision=arguments.precision,
        options=RunOptions(),
    )
    pair = loaded.model
    if not isinstance(pair, TopDownAnalyzer):
        raise SystemExit(f"{arguments.bundle}: has no detector, whose cadence could be measured; name a top-down pair.")
    runs = {every: _run(pair, every, frames) for every in arguments.every}
    for run in runs.values():
        analysed(run, frames[: run.period], run.period)  # whatever happens once, such as allocating
    spent: dict[int, list[tuple[float, float]]] = {every: [] for every in runs}
    found: dict[int, list[Poses]] = {}
    for _ in range(arguments.repeats):
        for every, run in runs.items():
            wall, processor = time.perf_counter(), time.process_time()
            found[every] = analysed(run, frames, arguments.batch)
            spent[every].append((time.perf_counter() - wall, time.process_time() - processor))
    shared = {
        "bundle": loaded.bundle.manifest.scorer,
        "architecture": loaded.spec.architecture,
        "device": loaded.device,
        **loaded.backend.settings,
        "threads": arguments.threads,
        "video": arguments.video.name,
        "frames": len(frames),
        "frame_size": list(frames.shape[1:3]),
        "batch": arguments.batch,
        "repeats": arguments.repeats,
    }
    lines = []
    for every, times in spent.items():
        wall, processor = np.median(np.array(times), axis=0) / len(frames)
        lines.append(
            {
                "detect_every": every,
                **accuracy(found[every], list(labels)),
                "ms_per_frame": round(1e3 * float(wall), 2),
                "processor_ms_per_frame": round(1e3 * float(processor), 2),
            }
        )
    for line in lines:
        faster = [round(lines[0][name] / line[name], 2) for name in ("ms_per_frame", "processor_ms_per_frame")]
        line |= {"faster_than_first": faster[0], "processor_faster_than_first": faster[1]}
    paths = {record("detector_cadence", {**shared, **line}) for line in lines}
    names = list(lines[0])
    print("\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in (names, *(d.values() for d in lines))))
    print("appended to", *paths)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a top-down pair")
    parser.add_argument("video", type=Path, help="with its truth beside it")
    parser.add_argument("--every", type=int, nargs="+", default=[1, 2, 5, 10], metavar="N")
    parser.add_argument("--frames", type=int, default=300, help="from the beginning of the video")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=10, help="frames at once; the next multiple of N")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _run(pair: TopDownAnalyzer, every: int, frames: Frames) -> FrameRun:
    return TopDownAnalyzer(pair.detector, pair.crops, detect_every=every).run_of(*frames.shape[1:3])


def analysed(run: FrameRun, frames: Frames, batch: int) -> list[Poses]:
    """Poses of all frames, batch by batch as the pipeline runs them, in one thread."""
    batch = -(-batch // run.period) * run.period
    slots = np.empty((batch, *run.slot_size, 3), np.uint8)
    found: list[Poses] = []
    for start in range(0, len(frames), batch):
        some = frames[start : start + batch]
        for frame, slot in zip(some, slots, strict=False):
            run.write(frame, out=slot)
        found += run.poses(run.infer(slots[: len(some)]))
    return found


def accuracy(found: Sequence[Poses], labels: Sequence[Floats]) -> dict[str, Any]:
    """Errors of matched animals [px], mAP and mAR, and how many animals there are too few or too many."""
    metrics = evaluate_poses(found, labels)
    errors = pair_poses(found, labels).error
    there = [int((~np.isnan(animals)).any(axis=(1, 2)).sum()) for animals in labels]
    gap = np.array([len(poses) for poses in found]) - there
    return {
        "mAP": round(metrics.mAP, 2),
        "mAR": round(metrics.mAR, 2),
        "error_px": round(metrics.rmse, 3),
        "p50_px": round(float(np.nanpercentile(errors, 50)), 3),
        "p99_px": round(float(np.nanpercentile(errors, 99)), 3),
        "too_few": int(-gap.clip(max=0).sum()),
        "too_many": int(gap.clip(min=0).sum()),
    }


if __name__ == "__main__":
    in_sentences(main)
