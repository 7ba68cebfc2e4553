"""DeepLabCut's side of ``peers.py``, run by a Python that has it: its ``analyze_videos``, once for each line.

Usage: python deeplabcut_speed_peer.py REQUEST

REQUEST is a JSON file with ``config`` (the project), ``shuffle``, ``snapshots`` (file names: of the pose network, and
of the detector or null), ``video``, ``destination``, ``batch``, ``threads``, and ``export``: whether to export the
model for DeepLabCut-Live first. Of each call two times are told: that of ``video_inference`` inside it, which decodes,
infers and decodes maps for every frame, and that of the whole call, with building the networks and writing files.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from deeplabcut.pose_estimation_pytorch import (  # pyright: ignore[reportMissingImports]
    DLCLoader,
    analyze_videos,
)
from deeplabcut.pose_estimation_pytorch.apis import export, videos  # pyright: ignore[reportMissingImports]

spent: dict[str, float] = {}
original = videos.video_inference


def timed(*args: Any, **kwargs: Any) -> Any:
    """DeepLabCut's own function, with a stop watch around it."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = original(*args, **kwargs)
    spent.update(seconds=time.perf_counter() - wall, cpu=time.process_time() - cpu, frames=len(found))
    return found


def main() -> None:
    """Analyse the video for each line that comes in."""
    request: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(request["threads"])
    videos.video_inference = timed
    loader = DLCLoader(config=request["config"], trainset_index=0, shuffle=request["shuffle"])
    pose, detector = request["snapshots"]
    index = place(loader, pose, detector=False)
    detector_index = None if detector is None else place(loader, detector, detector=True)
    if request["export"]:
        export.export_model(
            request["config"],
            shuffle=request["shuffle"],
            snapshotindex=index,
            detector_snapshot_index=detector_index,
            overwrite=True,
        )
    print("ready", flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        analyze_videos(
            request["config"],
            [request["video"]],
            shuffle=request["shuffle"],
            snapshot_index=index,
            detector_snapshot_index=detector_index,
            device="cpu",
            destfolder=request["destination"],
            batch_size=request["batch"],
            detector_batch_size=request["batch"],
            auto_track=False,
            save_as_df=True,
            overwrite=True,
        )
        whole = time.perf_counter() - begun
        print("\nrate", spent["frames"] / spent["seconds"])
        facts = {"cpu_ms": 1000 * spent["cpu"] / spent["frames"], "whole_call_seconds": whole}
        print("facts", json.dumps(facts), flush=True)


def place(loader: Any, name: str, *, detector: bool) -> int:
    """Which of the shuffle's snapshots has this file name."""
    names = [Path(snapshot.path).name for snapshot in loader.snapshots(detector=detector)]
    if name not in names:
        raise SystemExit(f"{name}: is none of the shuffle's snapshots {', '.join(names)}")
    return names.index(name)


if __name__ == "__main__":
    main()
