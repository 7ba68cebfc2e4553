"""Run by DeepLabCut's own Python: loads a snapshot as its analysis does and runs it.

Usage: python check_snapshot_loads.py FOLDER

FOLDER holds pytorch_config.yaml, one snapshot-*.pt, input.npz with ``images`` (B, 3, H, W) normalised RGB, and
pictures *.png. It gets outputs.npz: ``heatmap`` and ``locref`` of the images, and ``poses`` (F, N, K, 3) of the
pictures in the order of their names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from deeplabcut.pose_estimation_pytorch.apis.utils import (  # pyright: ignore[reportMissingImports]
    get_pose_inference_runner,
)


def main() -> None:
    folder = Path(sys.argv[1])
    (snapshot,) = folder.glob("snapshot-*.pt")
    runner = get_pose_inference_runner(folder / "pytorch_config.yaml", snapshot, device="cpu", batch_size=1)
    with np.load(folder / "input.npz") as arrays, torch.inference_mode():
        maps = runner.model.eval()(torch.from_numpy(arrays["images"]))["bodypart"]
    predictions = runner.inference([str(path) for path in sorted(folder.glob("*.png"))])
    np.savez(
        folder / "outputs.npz",
        heatmap=maps["heatmap"].numpy(),
        locref=maps["locref"].numpy(),
        poses=np.stack([prediction["bodyparts"] for prediction in predictions]),
    )


if __name__ == "__main__":
    main()
