"""DeepLabCut's side of ``zoo_peers.py``, run by a Python that has it: its ``video_inference``, once for each line.

Usage: python deeplabcut_zoo_peer.py REQUEST

REQUEST is a JSON file with ``config`` (a ``pytorch_config.yaml``), ``snapshots`` (of the pose network, and of the
detector or null), ``video``, ``batch``, ``threads`` and, of a conditional network, ``conditions``: ``config`` and
``snapshot`` of the bottom-up one. What is timed decodes, infers and decodes maps for every frame.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from deeplabcut.pose_estimation_pytorch import (  # pyright: ignore[reportMissingImports]
    get_detector_inference_runner,
    get_pose_inference_runner,
    video_inference,
)
from deeplabcut.pose_estimation_pytorch.config.ctd_conditions import (  # pyright: ignore[reportMissingImports]
    ConditionsModelConfig,
)
from torchvision.models import detection


def main() -> None:
    """Analyse the video for each line that comes in."""
    request: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(request["threads"])
    config = yaml.safe_load(Path(request["config"]).read_text())
    pose, detector = request["snapshots"]
    without_download()
    options = {"batch_size": request["batch"], "device": "cpu"}
    told_by = request.get("conditions")
    rough = told_by and ConditionsModelConfig(config_path=told_by["config"], snapshot_path=told_by["snapshot"])
    runner = get_pose_inference_runner(config, pose, cond_provider=rough, **options)
    boxes = None if detector is None else get_detector_inference_runner(config, detector, **options)
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        found = video_inference(request["video"], runner, boxes)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print("\nrate", len(found) / wall)
        facts = {"cpu_ms": 1000 * cpu / len(found), "animals": float(np.mean([_animals(frame) for frame in found]))}
        print("facts", json.dumps(facts), flush=True)


def without_download() -> None:
    """Keep torchvision from fetching weights for a detector's backbone, which the snapshot's then replace."""
    for name in ("fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2", "ssdlite320_mobilenet_v3_large"):
        setattr(detection, name, functools.partial(getattr(detection, name), weights_backbone=None))


def _animals(frame: dict[str, np.ndarray]) -> int:
    """How many animals have a keypoint; scores of absent ones are NaN or -1, those of random ones may be 0."""
    return int((frame["bodyparts"][..., 2] >= 0).any(axis=1).sum())


if __name__ == "__main__":
    main()
