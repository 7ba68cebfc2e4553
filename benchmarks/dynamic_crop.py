"""What a region that follows the animal (``--crop dynamic``) costs in accuracy and saves in time.

    python benchmarks/dynamic_crop.py openfield.bundle m3v1mp4.mp4 --start 300 --frames 90 --size 320,256 192,192

Every frame is looked at as a whole, and again through regions of each size: how far the sure keypoints lie apart, how
many are no longer sure, and in how many frames the animal had to be looked for in the whole frame. All of it runs over
the same decoded frames with one loaded graph, whole frames and regions in turn for each stretch of ``--search-every``
frames, so that a busy machine slows both; times count neither decoding nor files. Where the truth of a drawn video lies
beside it (``NAME_truth.npz``), errors against that are added. Prints a table and appends a line per size to
``benchmarks/results/dynamic_crop.jsonl``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from record import record
from sentences import in_sentences

from rigpose.analyzers.analyzer import Analyzer, FrameRun
from rigpose.analyzers.tracking_crop import DynamicCrop, TrackingAnalyzer
from rigpose.arrays import Array, Floats, Frames
from rigpose.load import load
from rigpose.sessions import Session
from rigpose.videos.video import Video
from rigpose_training.scene.project import read_truth

SURE = 0.6
"""DeepLabCut's usual cutoff; where the whole frame's keypoints score less, nobody uses them."""


class CountedLooks:
    """A session that remembers how many pictures of each size it has seen."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.seen: dict[tuple[int, ...], int] = {}

    @property
    def device(self) -> str:
        """Where the graph runs."""
        return self.session.device

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Count, and run."""
        count, *size = inputs["frames"].shape[:3]
        self.seen[tuple(size)] = self.seen.get(tuple(size), 0) + count
        return self.session.run(inputs)


def main() -> None:
    """Measure, print, and append to the results."""
    arguments = _arguments()
    with Video(arguments.video) as video:
        frames = np.stack([frame.image for frame in islice(video.frames(start=arguments.start), arguments.frames)])
    loaded = load(
        arguments.bundle,
        device=arguments.device,
        threads=arguments.threads,
        backend=arguments.backend,
        precision=arguments.precision,
    )
    if not isinstance(loaded.model, Analyzer):
        raise SystemExit(f"{arguments.bundle}: sees no whole frames; name the bundle of a model of one animal.")
    truth = _truth(arguments)
    shared = {
        "bundle": loaded.bundle.manifest.scorer,
        "architecture": loaded.spec.architecture,
        "device": loaded.device,
        **loaded.backend.settings,
        "threads": arguments.threads,
        "video": arguments.video.name,
        "first_frame": arguments.start,
        "frames": len(frames),
        "frame_size": list(frames.shape[1:3]),
        "search_every": arguments.search_every,
    }
    lines = [compared(loaded.model, frames, size, arguments.search_every, truth) for size in arguments.size]
    paths = {record("dynamic_crop", {**shared, **line}) for line in lines}
    rows = (list(lines[0]), *(line.values() for line in lines))
    print("\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows))
    print("appended to", *paths)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="of a model of one animal")
    parser.add_argument("video", type=Path)
    parser.add_argument("--start", type=int, default=0, help="first frame")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", type=_size, nargs="+", default=[None], metavar="W,H", help="default: half the frame")
    parser.add_argument("--search-every", type=int, default=30)
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _size(text: str) -> tuple[int, int]:
    width, height = text.split(",")
    return int(width), int(height)


def _truth(arguments: argparse.Namespace) -> Floats | None:
    """(F, K, 2) where the one animal is [frame px], if somebody knows."""
    path = arguments.video.with_name(f"{arguments.video.stem}_truth.npz")
    if not path.exists():
        return None
    return read_truth(path).labels[0][arguments.start : arguments.start + arguments.frames, 0]


def compared(
    whole: Analyzer, frames: Frames, size: tuple[int, int] | None, search_every: int, truth: Floats | None
) -> dict[str, Any]:
    """Whole frames and regions of one size, in turn."""
    looks = CountedLooks(whole.session)
    following = TrackingAnalyzer(Analyzer(whole.spec, looks), DynamicCrop(size=size, search_every=search_every))
    height, width = frames.shape[1:3]
    runs = {"whole": whole.run_of(height, width), "region": following.run_of(height, width)}
    for name, run in runs.items():
        analysed(run, frames[:2], 1 if name == "whole" else 2)  # whatever happens once for each size of input
    looks.seen.clear()
    poses: dict[str, list[Floats]] = {name: [] for name in runs}
    spent = {name: np.zeros(2) for name in runs}
    for start in range(0, len(frames), search_every):
        for name, run in runs.items():
            begun = np.array([time.perf_counter(), time.process_time()])
            poses[name] += analysed(run, frames[start : start + search_every], 1 if name == "whole" else search_every)
            spent[name] += np.array([time.perf_counter(), time.process_time()]) - begun
    right, found = np.stack(poses["whole"]), np.stack(poses["region"])
    sure = right[..., 2] >= SURE
    apart = np.linalg.norm(found[..., :2] - right[..., :2], axis=-1)[sure]
    at_once = max(looks.seen)
    wall, processor = spent["whole"] / spent["region"]
    line: dict[str, Any] = {
        "region": list(min(looks.seen)),
        "share_whole": round(looks.seen[at_once] / len(frames), 3),
        "p50_px": round(float(np.percentile(apart, 50)), 3),
        "p99_px": round(float(np.percentile(apart, 99)), 3),
        "sure": int(sure.sum()),
        "no_longer_sure": int((found[..., 2][sure] < SURE).sum()),
        "whole_processor_ms": round(1e3 * float(spent["whole"][1]) / len(frames), 1),
        "region_processor_ms": round(1e3 * float(spent["region"][1]) / len(frames), 1),
        "processor_faster": round(float(processor), 2),
        "faster": round(float(wall), 2),
    }
    if truth is not None:
        for name, each in (("whole", right), ("region", found)):
            line[f"{name}_error_px"] = round(float(np.nanmean(np.linalg.norm(each[..., :2] - truth, axis=-1))), 3)
    return line


def analysed(run: FrameRun, frames: Frames, batch: int) -> list[Floats]:
    """(K, 3) x, y [frame px], score of each frame, in batches that begin where the run's periods do."""
    found: list[Floats] = []
    for start in range(0, len(frames), batch):
        some = frames[start : start + batch]
        slots = np.empty((len(some), *run.slot_size, 3), np.uint8)
        for frame, slot in zip(some, slots, strict=True):
            run.write(frame, out=slot)
        found += [poses.to_array()[0] for poses in run.poses(run.infer(slots))]
    return found


if __name__ == "__main__":
    in_sentences(main)
