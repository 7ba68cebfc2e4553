"""Several drawn animals: what hides what is where the paint is, and projects and videos keep it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from rigpose.errors import ProjectError
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.project.create import create_training_dataset
from rigpose_training.scene import world
from rigpose_training.scene.drawing import Look
from rigpose_training.scene.occlusion import Crossing, cover, find_crossings, overlapping, visible_points
from rigpose_training.scene.project import read_truth, write_project, write_video
from rigpose_training.scene.world import KEYPOINTS, Scene, Staging

SQUARE = np.array([[0.0, 0.0], [9.0, 0.0], [9.0, 9.0], [0.0, 9.0]])


def test_a_point_is_hidden_by_what_lies_above_it_only():
    layers = cover([[SQUARE], [SQUARE + 5]], (20, 20))
    points = np.array([[[2.0, 2.0], [7.0, 7.0]], [[7.0, 7.0], [13.0, 13.0]]])
    # The first animal is below the second square, the second below nothing.
    assert visible_points(points, layers, above=(1, 2)).tolist() == [[True, False], [True, True]]
    assert overlapping(layers).tolist() == [[False, True], [True, False]]
    apart = cover([[SQUARE], [SQUARE + 10]], (20, 20))
    assert not overlapping(apart).any()


def test_a_crossing_is_an_unbroken_overlap():
    overlaps = np.zeros((10, 3, 3), bool)
    overlaps[2:5, 0, 2] = overlaps[7:, 0, 2] = overlaps[2, 1, 2] = True
    assert find_crossings(overlaps) == (Crossing((0, 2), 2, 4), Crossing((1, 2), 2, 2), Crossing((0, 2), 7, 9))
    assert find_crossings(overlaps[:0]) == ()


@pytest.mark.parametrize("animals", [2, 3, 10])
def test_animals_cross_and_hide_each_other(animals):
    scene = Scene(1000, animals=animals)
    assert len(scene.crossings(300)) >= animals / 2
    truth = [scene.full_truth(t).visible for t in range(0, 300, 10)]
    assert 0.85 < np.mean(truth) < 0.995


@pytest.mark.parametrize("animals", [3, 10])
def test_what_is_visible_is_painted_and_what_is_hidden_is_not(animals):
    # The marks of one animal in two greys: where the picture changes, that animal's mark is seen.
    staging, rear = Staging(shelter=True), 0
    checked = {True: 0, False: 0}
    for t in range(0, 240, 30):
        scenes = [Scene(7, size=(512, 512), animals=animals, staging=staging) for _ in range(2)]
        for scene, grey in zip(scenes, (60, 200), strict=True):
            marks = dict.fromkeys(KEYPOINTS, (grey, grey, grey))
            scene._looks[rear] = replace(Look(), **marks)
        dark, bright = (scene.frame(t)[0].astype(float) for scene in scenes)
        truth = scenes[0].full_truth(t)
        # A mark of 130 grey levels more; where it is half covered, only the rounding of pixels decides.
        changed = (bright - dark).mean(axis=2)
        for (x, y), visible in zip(np.round(truth.xy[rear]).astype(int), truth.visible[rear], strict=True):
            light = changed[y, x]
            if not 15 < light < 110:
                assert visible == (light >= 110), f"frame {t} at {x}, {y}: {light}"
                checked[bool(visible)] += 1
    assert checked[True] > 12
    assert checked[False] > 1


def test_an_animal_disappears_under_the_shelter_and_comes_back():
    scene = Scene(3, animals=4, staging=Staging(shelter=True))
    seen = np.array([scene.full_truth(t).visible.sum(axis=1) for t in range(0, 900, 3)])  # (F, N)
    for animal in seen.T:
        if (animal <= 1).any():
            gone = np.flatnonzero(animal <= 1)
            assert (animal[: gone[0]] > 3).any() or (animal[gone[-1] :] > 3).any()
    assert (seen <= 1).any(axis=0).sum() >= 2


def test_ten_animals_fit_into_the_picture_and_shrink_for_it():
    def extent(animals):
        xy = Scene(2, animals=animals).truth(30)
        assert xy.min() >= 0 and xy.max() <= 255
        return np.linalg.norm(xy[:, 0] - xy[:, 4], axis=1).mean()

    # Ten share the area of two.
    assert extent(10) == pytest.approx(extent(2) * 0.2**0.5, rel=0.1)


def test_staging_changes_the_look_and_not_the_walks():
    plain, staged = Scene(4, animals=3), Scene(4, animals=3, staging=Staging(marked=True, landmark=True))
    np.testing.assert_array_equal(plain.truth(50), staged.truth(50))
    assert (plain.frame(50)[0] != staged.frame(50)[0]).any()
    assert plain.full_truth(50).unique.shape == (0, 2)
    np.testing.assert_array_equal(staged.full_truth(0).unique, Scene(9, staging=Staging(landmark=True))._unique)


def test_dye_tells_the_animals_apart():
    scene = Scene(4, animals=3, staging=Staging(marked=True))
    assert len({look.dye for look in scene._looks}) == 3
    assert len(set(world.DYES)) == 10


def test_a_video_keeps_what_is_hidden(tmp_path):
    staging = Staging(shelter=True, landmark=True)
    scene = Scene(1, size=(96, 128), animals=4, staging=staging)
    xy = write_video(tmp_path / "walk.mp4", scene, 40, save_truth=True)
    truth = read_truth(tmp_path / "walk_truth.npz")
    np.testing.assert_array_equal(truth.xy, xy)
    assert truth.visible.shape == (40, 4, len(KEYPOINTS)) and truth.overlaps.shape == (40, 4, 4)
    assert truth.unique.shape == (40, 1, 2) and truth.unique_visible.shape == (40, 1)
    np.testing.assert_array_equal(truth.visible[17], scene.full_truth(17).visible)
    with np.load(tmp_path / "walk_truth.npz") as arrays:
        crossings = [Crossing((int(i), int(j)), int(a), int(b)) for i, j, a, b in arrays["crossings"]]
    assert tuple(crossings) == find_crossings(truth.overlaps) and crossings


def test_a_project_labels_what_is_seen(tmp_path):
    staging = Staging(marked=True, shelter=True, landmark=True)
    config = write_project(tmp_path / "lab", seed=5, labelled_frames=8, size=(128, 128), animals=3, staging=staging)
    mapping = yaml.safe_load(config.read_text())
    assert mapping["identity"] is True and mapping["uniquebodyparts"] == ["landmark"]
    table = pd.read_hdf(config.parent / "labeled-data/walk/CollectedData_truth.h5")
    assert isinstance(table, pd.DataFrame)
    assert table.columns.get_level_values("individuals").unique().tolist() == [*mapping["individuals"], "single"]
    scene = Scene(5, size=(128, 128), animals=3, staging=staging)
    hidden = 0
    for row, values in zip(table.index, table.to_numpy(), strict=True):
        xy, unique = scene.full_truth(int(row[2].removeprefix("img").removesuffix(".png"))).labels
        np.testing.assert_allclose(values, np.concatenate([xy.ravel(), unique.ravel()]))
        hidden += int(np.isnan(xy).any(axis=-1).sum())
    assert hidden > 0
    create_training_dataset(config, net_type="resnet_50")
    loader = DLCLoader(config)
    assert tuple(loader.unique_bodyparts) == ("landmark",)
    assert all(image.unique_xy.shape == (1, 2) for image in loader.images("train"))


def test_one_animal_has_no_identity(tmp_path):
    with pytest.raises(ProjectError, match="more animals"):
        write_project(tmp_path / "lab", staging=Staging(marked=True))
    assert not (tmp_path / "lab").exists()
