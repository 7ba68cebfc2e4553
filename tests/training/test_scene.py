"""The drawn world: its truth is where the paint is, and it writes what a lab has."""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from rigpose.errors import MediaError, ProjectError
from rigpose_training.scene.drawing import Look
from rigpose_training.scene.project import write_project, write_video
from rigpose_training.scene.world import KEYPOINTS, Scene


def painted_centre(seed: int, t: int, keypoint: str) -> np.ndarray:
    """(2,) centre of mass x, y [pixel indices] of the paint that marks a keypoint.

    The same picture with the mark in two greys differs by the mark's coverage alone.
    """
    dark, bright = (
        Scene(seed, look=replace(Look(), **{keypoint: (grey, grey, grey)})).frame(t)[0].astype(float)
        for grey in (70, 180)
    )
    paint = (bright - dark).sum(axis=2)
    y, x = np.mgrid[: paint.shape[0], : paint.shape[1]]
    return np.array([(x * paint).sum(), (y * paint).sum()]) / paint.sum()


@pytest.mark.parametrize("keypoint", KEYPOINTS)
def test_the_truth_is_the_centre_of_mass_of_the_paint(keypoint):
    for seed, t in ((1, 0), (2, 77), (3, 310), (4, 123)):
        truth = Scene(seed).frame(t)[1][0, KEYPOINTS.index(keypoint)]
        # A half-pixel mistake in the convention is 0.5 off; OpenCV's outline and rounding stay below 0.15.
        np.testing.assert_allclose(painted_centre(seed, t, keypoint), truth, atol=0.15)


def test_the_same_scene_gives_the_same_pictures_in_any_order():
    forward, backward = Scene(5), Scene(5)
    pictures = {t: forward.frame(t) for t in (0, 3, 40)}
    for t in (40, 3, 0):
        picture, truth = backward.frame(t)
        np.testing.assert_array_equal(picture, pictures[t][0])
        np.testing.assert_array_equal(truth, pictures[t][1])


def test_another_seed_walks_elsewhere_over_another_part_of_the_ground():
    one, other = Scene(5).frame(9), Scene(6).frame(9)
    assert np.abs(one[0].astype(int) - other[0]).mean() > 5
    assert np.abs(one[1] - other[1]).max() > 10


def test_every_keypoint_is_inside_the_picture_at_all_times():
    for size in ((256, 256), (200, 320), (128, 128)):
        scene = Scene(11, size=size)
        truth = np.concatenate([scene.truth(t) for t in range(0, 3000, 3)])
        assert truth.min() >= 0
        assert truth[..., 0].max() <= size[1] - 1
        assert truth[..., 1].max() <= size[0] - 1


def test_the_animal_moves_smoothly_and_heads_everywhere():
    scene = Scene(12)
    truth = np.concatenate([scene.truth(t) for t in range(2000)])
    steps = np.linalg.norm(np.diff(truth, axis=0), axis=-1)
    assert steps.max() < 10  # px per frame: a tenth of its length, at the tip of the tail
    assert steps[:, KEYPOINTS.index("spine")].mean() > 0.5
    along = truth[:, KEYPOINTS.index("snout")] - truth[:, KEYPOINTS.index("tailbase")]
    turns, _ = np.histogram(np.arctan2(along[:, 1], along[:, 0]), bins=8, range=(-np.pi, np.pi))
    assert (turns > 20).all()


def test_the_animal_is_as_long_as_a_network_needs_it():
    truth = np.concatenate([Scene(seed).truth(50) for seed in range(10)])
    line = truth[:, [KEYPOINTS.index(k) for k in ("snout", "spine", "tailbase", "tailtip")]]
    length = np.linalg.norm(np.diff(line, axis=1), axis=-1).sum(axis=1)
    assert ((length > 80) & (length < 110)).all()


def test_the_left_ear_is_on_the_left():
    for t in (0, 100, 200):
        snout, left, right, spine, *_ = Scene(13).truth(t)[0]
        ahead, across = snout - spine, left - right
        assert ahead[0] * across[1] - ahead[1] * across[0] < 0  # y points down


def test_several_animals_have_a_row_each():
    scene = Scene(3, animals=3)
    picture, truth = scene.frame(20)
    assert picture.shape == (256, 256, 3) and picture.dtype == np.uint8
    assert truth.shape == (3, len(KEYPOINTS), 2)
    np.testing.assert_array_equal(scene.truth(20), truth)


def test_a_frame_costs_little():
    scene = Scene(1)
    scene.frame(60)
    costs = []
    for t in range(60):
        start = time.perf_counter()
        scene.frame(t)
        costs.append(time.perf_counter() - start)
    # The fastest, as others may use the machine: 1 to 2 ms where this was written.
    assert min(costs) < 0.005


def test_a_video_shows_the_frames_in_order_and_keeps_its_truth(tmp_path):
    path = tmp_path / "walk.mp4"
    truth = write_video(path, Scene(2), 20, save_truth=True)
    saved = np.load(tmp_path / "walk_truth.npz")
    np.testing.assert_array_equal(saved["xy"], truth)
    assert list(saved["keypoints"]) == list(KEYPOINTS)
    capture, scene = cv2.VideoCapture(str(path)), Scene(2)
    for t in range(20):
        read, picture = capture.read()
        drawn, xy = scene.frame(t)
        assert read
        np.testing.assert_array_equal(truth[t], xy)
        assert np.abs(picture.astype(int) - drawn).mean() < 6  # grey levels: compression and noise
    assert not capture.read()[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["walk.mp4", "walk_truth.npz"]


def test_a_video_that_cannot_be_written_is_a_sentence(tmp_path):
    with pytest.raises(MediaError, match=r"nowhere.*walk\.mp4"):
        write_video(tmp_path / "nowhere" / "walk.mp4", Scene(2), 3)


def test_a_project_has_what_deeplabcut_expects(tmp_path):
    config = write_project(tmp_path / "lab", seed=4, labelled_frames=5, size=(128, 128))
    assert config == tmp_path / "lab" / "config.yaml"
    mapping = yaml.safe_load(config.read_text())
    assert mapping["bodyparts"] == list(KEYPOINTS)
    assert mapping["project_path"] == str(tmp_path / "lab")
    [video] = mapping["video_sets"]
    assert (tmp_path / "lab" / "videos" / "walk.mp4").samefile(video)
    folder = tmp_path / "lab" / "labeled-data" / "walk"
    table = pd.read_hdf(folder / "CollectedData_truth.h5", key="df_with_missing")
    assert isinstance(table, pd.DataFrame)
    assert table.columns.names == ["scorer", "bodyparts", "coords"]
    assert table.shape == (5, 2 * len(KEYPOINTS))
    for row, xy in zip(table.index, table.to_numpy().reshape(5, 1, -1, 2), strict=True):
        assert (tmp_path / "lab").joinpath(*row).is_file()
        number = int(row[2].removeprefix("img").removesuffix(".png"))
        np.testing.assert_allclose(xy, Scene(4, size=(128, 128)).truth(number))
    header = (folder / "CollectedData_truth.csv").read_text().splitlines()
    assert header[0].startswith("scorer,,,truth,truth")
    assert header[3].startswith("labeled-data,walk,img")


def test_a_project_of_several_animals_has_an_individuals_level(tmp_path):
    config = write_project(tmp_path / "lab", labelled_frames=2, size=(128, 128), animals=2)
    assert yaml.safe_load(config.read_text())["bodyparts"] == "MULTI!"
    table = pd.read_hdf(config.parent / "labeled-data/walk/CollectedData_truth.h5")
    assert isinstance(table, pd.DataFrame)
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert table.shape == (2, 2 * 2 * len(KEYPOINTS))


def test_a_folder_that_exists_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ProjectError, match="exists already"):
        write_project(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
