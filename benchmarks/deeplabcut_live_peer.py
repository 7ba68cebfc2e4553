"""DeepLabCut-Live's side of ``peers.py``, run by a Python that has it: frame after frame of a video, once per line.

Usage: python deeplabcut_live_peer.py REQUEST

REQUEST is a JSON file with ``model`` (what DeepLabCut exported), ``video``, ``threads`` and ``poses``, the file that
the poses of the last turn are written to, (F, ..., K, 3). Reading the video and ``get_pose`` are timed, one frame at a
time.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from dlclive import DLCLive  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Go through the video for each line that comes in."""
    request: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(request["threads"])
    live = DLCLive(request["model"], model_type="pytorch", device="cpu", precision="FP32", display=False)
    live.init_inference(next(frames(request["video"])))
    print("ready", flush=True)
    for _ in sys.stdin:
        poses: list[Any] = []
        each: list[float] = []
        wall, cpu = time.perf_counter(), time.process_time()
        for frame in frames(request["video"]):
            begun = time.perf_counter()
            poses.append(np.asarray(live.get_pose(frame)))
            each.append(1000 * (time.perf_counter() - begun))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        np.save(request["poses"], np.stack(poses))
        print("\nrate", len(poses) / wall)
        facts = {"cpu_ms": 1000 * cpu / len(poses), "p50_ms": float(np.median(each))}
        print("facts", json.dumps({**facts, "p99_ms": float(np.percentile(each, 99))}), flush=True)


def frames(video: str) -> Any:
    """Of a video, BGR as OpenCV gives them; DeepLabCut-Live turns them by itself."""
    capture = cv2.VideoCapture(video)
    while True:
        read, frame = capture.read()
        if not read:
            return
        yield frame


if __name__ == "__main__":
    main()
