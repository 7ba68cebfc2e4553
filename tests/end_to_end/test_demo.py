"""The demo is the real pipeline, from random weights to a labelled video, within its time and error."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from rigpose.commands.main import run
from rigpose.errors import ConfigError
from rigpose.files.results import read_results
from rigpose_export.commands import DEMO
from rigpose_export.demo.animals import places, plan_of, run_animals_demo
from rigpose_export.demo.road import NETWORK, SIZE, DemoPlan, prepare_project
from rigpose_export.demo.single import PLAN, run_demo
from rigpose_export.demo.tracks import measure_tracks
from rigpose_training.models import build_model
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import find_shuffle
from rigpose_training.scene.project import read_truth, write_project

FEW = 6


@pytest.mark.parametrize("plan", [PLAN, plan_of(3)], ids=["one", "several"])
@pytest.mark.parametrize("shuffle_was_made", [False, True])
def test_a_demo_that_was_stopped_while_it_prepared_goes_on(
    tmp_path: Path, plan: DemoPlan, *, shuffle_was_made: bool
) -> None:
    write_project(tmp_path / "project", seed=0, labelled_frames=FEW, size=SIZE, animals=plan.animals)
    if shuffle_was_made:
        create_training_dataset(tmp_path / "project", net_type="resnet_50", seed=0)
    config = read_pose_config(find_shuffle(prepare_project(tmp_path, plan, seed=0), index=1).pose_config_path)
    assert config["net_type"] == NETWORK
    assert config["model"]["backbone"]["model_name"] == "resnet18"
    # The parts fit each other.
    build_model(config)


def test_a_folder_of_another_number_of_animals_is_refused(tmp_path: Path) -> None:
    write_project(tmp_path / "project", seed=0, labelled_frames=2, size=SIZE, animals=2)
    with pytest.raises(ConfigError, match=r"holds a demo with 2 animals, not 3; name another folder"):
        prepare_project(tmp_path, plan_of(3), seed=0)


def test_no_animals_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    DEMO.configure(parser)
    assert run(DEMO, parser.parse_args([str(tmp_path / "demo"), "--animals", "0"])) != 0
    assert "--animals: there must be at least 1, found 0" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
def test_a_demo_with_fewer_epochs_ends_below_three_pixels_within_eight_minutes(tmp_path: Path) -> None:
    """A whole one, with 24 epochs and 300 frames, ends at 1 px; this spares minutes."""
    said: list[str] = []
    plan = replace(PLAN, epochs=14, video_frames=60)
    measured = run_demo(tmp_path / "demo", plan, say=said.append)
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
    assert int(labelled.get(cv2.CAP_PROP_FRAME_COUNT)) == plan.video_frames
    printed = "\n".join(said)
    for word in ("labelled video", "table", "plots", f"{measured.error_px:.2f} px", "frames/s"):
        assert word in printed


@pytest.mark.slow
def test_two_animals_walk_the_whole_road(tmp_path: Path) -> None:
    """Few frames and epochs: the road is what it is in full, and its figures are those of the files."""
    said: list[str] = []
    folder, frames = tmp_path / "demo", 40
    plan = replace(plan_of(2), labelled_frames=40, epochs=12, video_frames=frames)
    measured = run_animals_demo(folder, plan, say=said.append)
    print(*said, sep="\n")

    tracks = next(folder.glob("unseenDLC_*_el.h5"))
    table = next(path for path in folder.glob("unseenDLC_*.h5") if path != tracks)
    results = read_results(table)
    assert results.xy.shape == (frames, 2, 6, 2)
    assert results.individuals == ("individual1", "individual2")
    labelled = cv2.VideoCapture(str(next(folder.glob("unseenDLC_*_id_p60_labeled.mp4"))))
    assert int(labelled.get(cv2.CAP_PROP_FRAME_COUNT)) == frames
    assert cv2.imread(str(folder / "error-against-truth.png")) is not None

    # The evaluation chose the edges of the graph, and the figures are those of the written table.
    config = read_pose_config(next(folder.rglob("train/pytorch_config.yaml")))
    assert len(config["model"]["heads"]["bodypart"]["predictor"]["edges_to_keep"]) < 15
    truth = read_truth(folder / "unseen_truth.npz")
    again = measure_tracks(places(results), truth.xy, truth.visible)
    assert (again.found, again.missed, again.extra) == (
        measured.tracks.found,
        measured.tracks.missed,
        measured.tracks.extra,
    )
    assert again.switches == measured.tracks.switches
    assert np.isfinite([measured.tracks.error_px, measured.tracks.p99_px, measured.frames_per_second]).all()
    # Counted another way: each animal is found or missed in each frame, each pose is an animal's or extra.
    assert again.animals == again.found + again.missed == int((truth.visible.sum(axis=-1) >= 2).sum())
    poses = int((~np.isnan(places(results)).any(axis=-1).all(axis=-1)).sum())
    assert poses == again.extra + int((again.track >= 0).sum())
    printed = "\n".join(said)
    for word in ("tracks", "labelled video", f"{again.found} of {again.animals} found", f"{again.switches} switches"):
        assert word in printed
