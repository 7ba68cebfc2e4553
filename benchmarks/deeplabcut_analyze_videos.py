"""DeepLabCut's side of ``deeplabcut_videos.py``, run by a Python that has it: train a shuffle on, analyse a video.

Usage: python deeplabcut_analyze_videos.py REQUEST

REQUEST is a JSON file with ``config`` (the project), ``shuffle``, ``snapshots`` (to begin with: of the pose network,
and of the detector or null), ``epochs``, ``video`` and ``destination``. ``DESTINATION/answer.json`` names the
``snapshots`` that DeepLabCut wrote and analysed with, and its ``version``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from deeplabcut.pose_estimation_pytorch import (  # pyright: ignore[reportMissingImports]
    DLCLoader,
    analyze_videos,
    train_network,
)


def main() -> None:
    """Train, analyse, answer."""
    request: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    config, shuffle, (pose, detector) = request["config"], request["shuffle"], request["snapshots"]
    torch.hub.set_dir(tempfile.mkdtemp())  # nothing may be taken from a cache, and nothing can be fetched
    torch.set_num_threads(1)
    train_network(
        config,
        shuffle=shuffle,
        device="cpu",
        snapshot_path=pose,
        detector_path=detector,
        epochs=request["epochs"],
        detector_epochs=request["epochs"] if detector else 0,
        save_epochs=1,
        detector_save_epochs=1,
    )
    loader = DLCLoader(config=config, trainset_index=0, shuffle=shuffle)
    index, snapshot = newest(loader, detector=False)
    detector_index, detector_snapshot = newest(loader, detector=True) if detector else (None, None)
    analyze_videos(
        config,
        [request["video"]],
        shuffle=shuffle,
        snapshot_index=index,
        detector_snapshot_index=detector_index,
        device="cpu",
        destfolder=request["destination"],
        batch_size=1,
        auto_track=False,
    )
    answer = {"snapshots": [snapshot, detector_snapshot], "version": version("deeplabcut")}
    (Path(request["destination"]) / "answer.json").write_text(json.dumps(answer))


def newest(loader: DLCLoader, *, detector: bool) -> tuple[int, str]:
    """Index and file name of the snapshot of the last epoch."""
    snapshots = list(loader.snapshots(detector=detector))
    index = max(range(len(snapshots)), key=lambda i: snapshots[i].epochs)
    return index, Path(snapshots[index].path).name


if __name__ == "__main__":
    main()
