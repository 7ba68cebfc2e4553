"""What a frame of a video takes on its way through a cluster, stage by stage, on one core; ``cluster.py`` records it.

Each stage is measured alone and as processor time, so that other work on the machine counts little: decoding into batch
buffers, the network, grouping; the bytes that travel to the driver, and what the driver does with them; tables and
tracks from the journal; bytes read and written; what a segment costs beside its frames. The network runs on a video's
first frames alone; the journal that tables are made of repeats their poses until it is as long as the video.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import statistics
import tempfile
import time
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from turns import rounded, take_turns

from rigpose.analyzers.analyzer import FrameRun
from rigpose.arrays import Frames
from rigpose.cluster.segments import SEGMENT_FRAMES, FrameMark, Segment, SegmentPoses
from rigpose.files.pose_layout import PoseLayout
from rigpose.load import BundleAnalyzer, load
from rigpose.poses import Poses
from rigpose.progress import silent
from rigpose.sessions.devices import usable_cores
from rigpose.videos.analysis import AnalysisOptions
from rigpose.videos.journal import FrameRecord, packed
from rigpose.videos.journalled_video import JournalledVideo
from rigpose.videos.pipeline import BatchFeed, run_batches
from rigpose.videos.video import Video

SEGMENTS = 50
"""Through the driver, so that what it does for one is no chance."""
SEEKS = 5
"""Segments' beginnings in one turn, spread over the video."""


def stages(bundle: Path, video: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What a frame of a video takes; see ``cluster_model.Stages``, and the seconds of the network on one core."""
    analyzer = load(bundle, device="cpu", threads=1, backend=options.backend, precision=options.precision)
    capture = cv2.VideoCapture(str(video))
    codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("ascii", "replace").strip("\0 ")
    with Video(video, threads=1) as source:
        run, height, width = analyzer.run_of(source.height, source.width), source.height, source.width
        total = source.frames_reported
    if not total:
        raise SystemExit(f"{video}: its container does not say how many frames it has; choose another video.")
    batches = filled(video, run, min(options.frames, total), options.batch)
    poses = [found for batch in batches for found in run.poses(run.infer(batch))]
    layout = PoseLayout.of(analyzer.spec)
    turns = take_turns(
        {
            "decode": lambda: {"decode": decoding(video, run, min(total, 20 * options.frames))},
            "network": lambda: through(run, batches),
            "tables": lambda: tables(analyzer, video, journal_of(layout, poses, total), total),
            "segments": lambda: {"seek": seeking(video, total), "gap": gap(video, run, options.batch)},
            "merge": lambda: {"merge": merging(journal_of(layout, poses, SEGMENT_FRAMES))},
        },
        options.repeats,
    )
    measured = {key: [turn[key] for turn in each] for each in turns.values() for key in each[0]}
    measured["read"] = [video.stat().st_size / total]
    measured["result"] = [len(journal_of(layout, poses, total)) / total]
    return {
        "bundle": bundle.name, "architecture": analyzer.spec.architecture, "backend": options.backend,
        "precision": options.precision, "video": video.name, "height": height, "width": width, "codec": codec,
        "frames": total, "batch": options.batch, "animals": statistics.mean(map(len, poses)),
        "cores": usable_cores(), "ray": version("ray"),
        "stages": {key: rounded(values, 9) for key, values in measured.items()},
    }  # fmt: skip


def filled(video: Path, run: FrameRun, frames: int, batch: int) -> list[Frames]:
    """Whole batch buffers of a video's first frames."""
    with Video(video, threads=1) as source:
        slots = np.empty((max(1, frames // batch), batch, *run.slot_size, 3), np.uint8)
        for slot, frame in zip(slots.reshape(-1, *run.slot_size, 3), source.frames(), strict=False):
            run.write(frame.image, out=slot)
    return list(slots)


def decoding(video: Path, run: FrameRun, frames: int) -> float:
    """Processor seconds of a frame, from the file into its slot."""
    slot = np.empty((*run.slot_size, 3), np.uint8)
    with Video(video, threads=1) as source:
        cpu, done = time.process_time(), 0
        for frame in islice(source.frames(), frames):
            run.write(frame.image, out=slot)
            done += 1
    return (time.process_time() - cpu) / done


def through(run: FrameRun, batches: list[Frames]) -> dict[str, float]:
    """Processor seconds of a frame in the network, and in grouping."""
    network = group = 0.0
    for batch in batches:
        begun = time.process_time()
        inferred = run.infer(batch)
        ended = time.process_time()
        run.poses(inferred)
        network, group = network + ended - begun, group + time.process_time() - ended
    frames = sum(map(len, batches))
    return {"network": network / frames, "group": group / frames}


def journal_of(layout: PoseLayout, poses: list[Poses], frames: int) -> bytes:
    """So many frames as a journal has them, with these poses again and again."""
    return packed(layout, (FrameRecord(i, 40.0 * i, poses[i % len(poses)]) for i in range(frames)))


def tables(analyzer: BundleAnalyzer, video: Path, data: bytes, frames: int) -> dict[str, float]:
    """Processor seconds of a frame in tracks and tables, and its bytes in them."""
    with tempfile.TemporaryDirectory() as folder:
        whole = JournalledVideo(
            analyzer,
            video,
            identity=analyzer.identity(),
            options=AnalysisOptions(destination=Path(folder)),
            period_of=lambda _height, _width: 1,
        )
        with whole:
            whole.journal.append_packed(data, frames)
            cpu = time.process_time()
            whole.write(silent, frames_per_second=1.0)
            cpu = time.process_time() - cpu
        written = sum(path.stat().st_size for path in Path(folder).iterdir())
    return {"tables": cpu / frames, "written": written / frames}


def seeking(video: Path, frames: int) -> float:
    """Processor seconds from opening a video to the checked first frame of a segment, and the check of its end."""
    cpu = time.process_time()
    for i in range(SEEKS):
        with Video(video, threads=1) as source:
            first = next(iter(source.frames(start=frames * (i + 1) // (SEEKS + 1), sought=True)))
            FrameMark.of(first)
            FrameMark.of(first)
    return (time.process_time() - cpu) / SEEKS


class _Watched:
    """A run that notes when its network begins and ends."""

    def __init__(self, run: FrameRun) -> None:
        self._run = run
        self.slot_size, self.period = run.slot_size, run.period
        self.begun: list[float] = []
        self.ended: list[float] = []

    def write(self, frame: Frames, out: Frames) -> None:
        self._run.write(frame, out)

    def infer(self, batch: Frames) -> Any:
        self.begun.append(time.perf_counter())
        inferred = self._run.infer(batch)
        self.ended.append(time.perf_counter())
        return inferred

    def poses(self, inferred: Any) -> list[Poses]:
        return self._run.poses(inferred)


def gap(video: Path, run: FrameRun, batch: int) -> float:
    """Seconds between the last batch of one segment in the network and the first one of the next, which is decoded."""
    watched = _Watched(run)
    with Video(video, threads=1) as first, Video(video, threads=1) as second:
        frames = [islice(source.frames(), 2 * batch) for source in (first, second)]
        with BatchFeed(watched, frames[0], batch=batch) as one, BatchFeed(watched, frames[1], batch=batch) as other:
            other.filling.result()
            run_batches(watched, one, sink=lambda *_: None)
            between = len(watched.ended)
            run_batches(watched, other, sink=lambda *_: None)
    return watched.begun[between] - watched.ended[between - 1]


def merging(data: bytes) -> float:
    """Processor seconds of the driver for a frame: asking for its segment, fetching its poses, writing them down."""
    # Its decorators' types are not those of what they make.
    ray: Any = importlib.import_module("ray")
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "journal").open("wb", buffering=0) as journal:
        ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        try:
            giver = ray.remote(_Giver).options(max_concurrency=2).remote(data)
            asked = [giver.give.remote(Segment(i, i + 1)) for i in range(2)]
            ray.get(asked[0])
            cpu = time.process_time()
            for i in range(SEGMENTS):
                (ready,), _ = ray.wait(asked, num_returns=1, timeout=60)
                found: SegmentPoses = ray.get(ready)
                asked.remove(ready)
                journal.write(found.data)
                asked.append(giver.give.remote(Segment(i, i + 1)))
            return (time.process_time() - cpu) / (SEGMENTS * SEGMENT_FRAMES)
        finally:
            ray.shutdown()


class _Giver:
    """An actor that has its poses already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def give(self, segment: Segment) -> SegmentPoses:
        return SegmentPoses(segment, bytes(bytearray(self._data)), SEGMENT_FRAMES, None, None, 0.0)
