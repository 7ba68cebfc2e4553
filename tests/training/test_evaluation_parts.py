"""Which keypoints and snapshots an evaluation is of, and how well a model knows individuals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rigpose.errors import ConfigError, SnapshotError
from rigpose.poses import Poses
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.evaluation.choice import choose_snapshots, named_snapshots
from rigpose_training.evaluation.identity import identity_accuracy
from rigpose_training.evaluation.parts import choose_parts, cutoff_of_each
from rigpose_training.project.shuffle import Snapshot

BODYPARTS, UNIQUE = ("nose", "ear", "tail"), ("door", "lamp")
FOLDER = Path("train")
SNAPSHOTS = [
    Snapshot(FOLDER / "snapshot-010.pt", 10, best=False),
    Snapshot(FOLDER / "snapshot-020.pt", 20, best=False),
    Snapshot(FOLDER / "snapshot-best-015.pt", 15, best=True),
]


def test_chosen_keypoints_stay_in_the_models_order():
    parts = choose_parts(BODYPARTS, UNIQUE, ["lamp", "tail", "nose"])
    assert parts.names == ("nose", "tail", "lamp")
    xy = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    unique = np.arange(6, dtype=np.float32).reshape(2, 3)
    poses = parts.of_poses(Poses(xy, xy[..., 0], unique=unique, identity_scores=xy.repeat(2, axis=2)))
    np.testing.assert_array_equal(poses.xy, xy[:, [0, 2]])
    np.testing.assert_array_equal(poses.score, xy[:, [0, 2], 0])
    assert poses.unique is not None and poses.identity_scores is not None
    np.testing.assert_array_equal(poses.unique, unique[[1]])
    assert poses.identity_scores.shape == (2, 2, 4)
    image = parts.of_image(LabelledImage(Path("a.png"), xy, unique[:, :2]))
    np.testing.assert_array_equal(image.xy, xy[:, [0, 2]])
    np.testing.assert_array_equal(image.unique_xy, unique[[1], :2])


@pytest.mark.parametrize("wanted", [None, "all", [*BODYPARTS, *UNIQUE]])
def test_all_keypoints_count_unless_some_are_named(wanted):
    assert choose_parts(BODYPARTS, UNIQUE, wanted).names == BODYPARTS + UNIQUE


def test_one_name_may_stand_alone_and_a_wrong_one_is_a_sentence():
    assert choose_parts(BODYPARTS, UNIQUE, "door").names == ("door",)
    with pytest.raises(ConfigError, match=r"comparison_bodyparts: nos is no body part.*nose"):
        choose_parts(BODYPARTS, UNIQUE, ["nos"])
    with pytest.raises(ConfigError, match="names no body part"):
        choose_parts(BODYPARTS, UNIQUE, [])


def test_cutoffs_follow_the_keypoints_that_count():
    parts, names = choose_parts(BODYPARTS, UNIQUE, ["tail", "door"]), [*BODYPARTS, *UNIQUE]
    assert cutoff_of_each(0.3, parts, names) == 0.3
    assert cutoff_of_each([0.1, 0.2, 0.3, 0.4, 0.5], parts, names) == [0.3, 0.4]
    assert cutoff_of_each({"door": 0.9, "nose": 0.1}, parts, names) == [0.6, 0.9]
    with pytest.raises(ConfigError, match="2 values for 5 body parts"):
        cutoff_of_each([0.1, 0.2], parts, names)


@pytest.mark.parametrize(("index", "epochs"), [(0, [10]), (-1, [15]), (1, [20]), ("best", [15]), ("all", [10, 20, 15])])
def test_snapshots_are_counted_as_in_deeplabcut(index, epochs):
    assert [s.epoch for s in choose_snapshots(SNAPSHOTS, index, FOLDER)] == epochs


def test_snapshots_that_are_not_there_are_sentences():
    with pytest.raises(SnapshotError, match="snapshotindex 3"):
        choose_snapshots(SNAPSHOTS, 3, FOLDER)
    with pytest.raises(SnapshotError, match="'best'"):
        choose_snapshots(SNAPSHOTS[:2], "best", FOLDER)
    with pytest.raises(SnapshotError, match=r"no snapshot snapshot-011.*snapshot-010"):
        named_snapshots(SNAPSHOTS, ["snapshot-011"], FOLDER)
    named = named_snapshots(SNAPSHOTS, ["snapshot-best-015", "snapshot-010.pt"], FOLDER)
    assert [s.epoch for s in named] == [10, 15]


def test_identity_is_the_share_of_keypoints_that_look_like_their_owner():
    truth = np.array([[[10, 10], [20, 10]], [[50, 50], [60, 50]]], float)  # two animals, two keypoints
    looks = np.array(
        [[[0.9, 0.1], [0.2, 0.8]], [[0.3, 0.7], [0.1, 0.9]]]
    )  # one keypoint takes the first for the second
    right = Poses(truth + 1, np.ones((2, 2)), identity_scores=looks)
    np.testing.assert_allclose(identity_accuracy([right], [truth]), [1.0, 0.5])
    # The order of the animals is not their identity.
    np.testing.assert_allclose(identity_accuracy([right.take(np.array([1, 0]))], [truth]), [1.0, 0.5])
    # One animal found for two labels: the label that is nearer to it counts, the other is compared with nobody.
    np.testing.assert_allclose(identity_accuracy([right.take(np.array([0]))], [truth]), [1.0, 0.0])


def test_identity_without_labels_or_animals_is_nan():
    truth = np.full((2, 2, 2), np.nan)
    poses = Poses(np.zeros((1, 2, 2)), np.ones((1, 2)), identity_scores=np.ones((1, 2, 2)))
    assert np.isnan(identity_accuracy([poses], [truth])).all()
    nobody = Poses(np.zeros((0, 2, 2)), np.zeros((0, 2)), identity_scores=np.zeros((0, 2, 2)))
    assert np.isnan(identity_accuracy([nobody], [np.ones((2, 2, 2))])).all()
