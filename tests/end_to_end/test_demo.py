"""The demo keeps the README's promise: the real pipeline, from random weights, within its time and error."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rigpose.results import read_results
from rigpose_export.demo import LABELLED_FRAMES, NETWORK, SIZE, VIDEO_FRAMES, _project, run_demo
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import find_shuffle
from rigpose_training.scene.project import write_project


@pytest.mark.parametrize("shuffle_was_made", [False, True])
def test_a_demo_that_was_stopped_while_it_prepared_goes_on(tmp_path: Path, *, shuffle_was_made: bool) -> None:
    write_project(tmp_path / "project", seed=0, labelled_frames=LABELLED_FRAMES, size=SIZE)
    if shuffle_was_made:
        create_training_dataset(tmp_path / "project", net_type="resnet_50", seed=0)
    config = read_pose_config(find_shuffle(_project(tmp_path, seed=0), index=1).pose_config_path)
    assert config["net_type"] == NETWORK
    assert config["model"]["backbone"]["model_name"] == "resnet18"


@pytest.mark.slow
def test_the_demo_ends_below_three_pixels_within_eight_minutes(tmp_path: Path) -> None:
    said: list[str] = []
    measured = run_demo(tmp_path / "demo", say=said.append)
    print(*said, sep="\n")
    assert measured.error_px < 3.0
    assert measured.seconds < 480

    # What was printed is there, and the error was measured from the table that was written.
    table = next((tmp_path / "demo").glob("unseenDLC_*.h5"))
    results = read_results(table)
    with np.load(tmp_path / "demo" / "unseen_truth.npz") as arrays:
        error = float(np.linalg.norm(results.xy - arrays["xy"], axis=-1).mean())
    assert error == pytest.approx(measured.error_px, abs=1e-6)
    labelled = cv2.VideoCapture(str(next((tmp_path / "demo").glob("unseenDLC_*_labeled.mp4"))))
    assert int(labelled.get(cv2.CAP_PROP_FRAME_COUNT)) == VIDEO_FRAMES
    printed = "\n".join(said)
    for word in ("labelled video", "table", "plots", f"{measured.error_px:.2f} px", "frames/s"):
        assert word in printed
