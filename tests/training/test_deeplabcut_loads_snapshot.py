"""DeepLabCut itself loads the snapshots written here and gives the same maps and the same poses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from exported_pairs import calibrate, documented_config, drawn
from reference_weights import fill, network_input

from rigpose_training.engine.snapshots import load_weights, read_snapshot, write_whole
from rigpose_training.models import build_model
from rigpose_training.pose_config.files import write_pose_config
from rigpose_training.torch_session import torch_analyzer

PYTHON = os.environ.get("RIGPOSE_DEEPLABCUT_PYTHON", "")
SCRIPT = Path(__file__).parents[1] / "deeplabcut" / "check_snapshot_loads.py"
# Relative to each map's spread; both run torch in float32, and only the order of sums may differ.
RELATIVE = 1e-4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="RIGPOSE_DEEPLABCUT_PYTHON names no Python that has DeepLabCut 3"),
]


@pytest.mark.parametrize("net_type", ["resnet_50", "hrnet_w18"])
def test_deeplabcut_gives_the_maps_and_poses_of_a_snapshot(net_type: str, tmp_path: Path) -> None:
    config = documented_config(net_type)
    write_pose_config(tmp_path / "pytorch_config.yaml", config)
    written = build_model(config).eval()
    fill(written, "deeplabcut")
    calibrate(written, config)
    metadata = {"epoch": 3, "metrics": {"metrics/test.rmse": 1.5}, "losses": {}}
    snapshot = tmp_path / "snapshot-003.pt"
    write_whole({"model": written.state_dict(), "metadata": metadata}, snapshot)
    images = network_input([2, 3, 96, 128], seed=4)
    np.savez(tmp_path / "input.npz", images=images.numpy())
    frames = [drawn(i, 96, 128) for i in range(3)]  # multiples of 32: DeepLabCut pads at a random side
    for i, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{i}.png"), frame)

    done = subprocess.run([PYTHON, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(tmp_path / "outputs.npz") as arrays:
        theirs = {name: arrays[name] for name in arrays.files}

    model = build_model(tmp_path / "pytorch_config.yaml").eval()
    load_weights(model, read_snapshot(snapshot)["model"], source=snapshot)
    with torch.inference_mode():
        ours = model(images)["bodypart"]
    for name in ("heatmap", "locref"):
        expected = theirs[name]
        assert np.ptp(expected) > 0
        assert np.abs(ours[name].numpy() - expected).max() <= RELATIVE * np.ptp(expected), name
    poses = np.stack([p.to_array() for p in torch_analyzer(model, config).predict(frames)])
    assert poses.shape == theirs["poses"].shape == (3, 1, 4, 3)
    np.testing.assert_allclose(poses[..., :2], theirs["poses"][..., :2], atol=0.01)  # half a cell would be 1 px or more
    np.testing.assert_allclose(poses[..., 2], theirs["poses"][..., 2], atol=1e-4)
