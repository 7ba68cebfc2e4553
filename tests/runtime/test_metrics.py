"""Metrics against what DeepLabCut 3.0.2 and pycocotools gave for the same poses, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rigpose.arrays import Floats
from rigpose.metrics import (
    evaluate_poses,
    object_keypoint_similarity,
    pair_poses,
    percent_correct,
)
from rigpose.poses import Poses

# Two implementations of the same sums in double precision differ by their order only.
ROUNDING = 1e-9


def random_scenes(
    seed: int, frames: int, animals: int, keypoints: int, spread: float
) -> tuple[list[Poses], list[Floats]]:
    """Labels with gaps; poses with noise, gaps, missing and false animals and empty frames."""
    rng = np.random.default_rng(seed)
    truth, predicted = [], []
    for _ in range(frames):
        label = rng.uniform(20, 380, (animals, 1, 2)) + rng.normal(0, 30, (animals, keypoints, 2))
        label[rng.random((animals, keypoints)) < 0.15] = np.nan
        n = int(rng.integers(0, animals + 1)) if animals > 1 else int(rng.random() < 0.9)
        xy = label[rng.permutation(animals)[:n]] if animals > 1 else label[:n]
        xy = np.where(np.isnan(xy), rng.uniform(0, 400, xy.shape), xy)
        xy = xy + rng.normal(0, spread * rng.random((n, 1, 1)), (n, keypoints, 2))
        if animals > 1 and rng.random() < 0.3:
            xy = np.concatenate([xy, rng.uniform(0, 400, (1, keypoints, 2))])[: animals + 1]
        score = rng.uniform(0, 1, xy.shape[:2])
        gone = rng.random(xy.shape[:2]) < 0.1
        xy[gone] = np.nan
        score[gone] = np.nan
        if rng.random() < 0.1:
            label[:] = np.nan
        truth.append(label)
        predicted.append(Poses(xy=xy, score=score))
    return predicted, truth


# (seed, frames, animals, keypoints, spread): rmse, rmse_pcutoff, mAP, mAR, per_keypoint
DEEPLABCUT = {
    (0, 40, 1, 5, 6.0): (
        4.125278005213328,
        4.808452882997142,
        36.31017744631606,
        50.0,
        [
            3.3924517565420427,
            4.022472434445161,
            3.845145669552497,
            5.432660315217646,
            3.9568056621334033,
        ],
    ),
    (1, 40, 3, 6, 8.0): (
        30.478990749005334,
        39.9026658974967,
        20.64474863217977,
        34.629629629629626,
        [
            36.22840666450387,
            40.47101281269458,
            23.753279963279105,
            20.387654797978808,
            29.322998947742793,
            33.535510988133424,
        ],
    ),
    (2, 60, 2, 4, 25.0): (
        35.90633166106954,
        36.60154914229362,
        1.9781211142292379,
        10.476190476190476,
        [42.15680718209323, 39.54217163389764, 32.44519396573897, 29.867401389906856],
    ),
    (3, 20, 4, 3, 15.0): (
        17.547896624959357,
        10.04439761078161,
        2.507144736212752,
        12.692307692307692,
        [14.605003275472864, 15.814979812707481, 21.61381850473185],
    ),
    (4, 10, 1, 1, 5.0): (4.4578610547433595, 6.443175257838764, 0.0, 0.0, [4.4578610547433595]),
    (5, 10, 3, 1, 5.0): (np.nan, np.nan, 0.0, 0.0, [np.nan]),
}


@pytest.mark.parametrize("scene", DEEPLABCUT)
def test_all_metrics_equal_deeplabcuts(scene):
    rmse, rmse_pcutoff, precision, recall, per_keypoint = DEEPLABCUT[scene]
    found = evaluate_poses(*random_scenes(*scene), pcutoff=0.6)
    values = [found.rmse, found.rmse_pcutoff, found.mAP, found.mAR]
    np.testing.assert_allclose(values, [rmse, rmse_pcutoff, precision, recall], atol=ROUNDING)
    np.testing.assert_allclose(found.per_keypoint, per_keypoint, atol=ROUNDING)


def test_average_precision_equals_pycocotools_where_no_two_predictions_want_one_animal():
    rng = np.random.default_rng(7)
    corners = np.array([[100.0, 100.0], [300.0, 100.0], [200.0, 300.0]])
    predicted, truth = [], []
    for _ in range(30):
        label = corners[:, None] + rng.normal(0, 20, (3, 5, 2))
        n = int(rng.integers(0, 4))
        xy = label[:n] + rng.normal(0, 1, (n, 5, 2)) * rng.uniform(1, 8, (n, 1, 1))
        predicted.append(Poses(xy=xy, score=rng.uniform(0, 1, (n, 5))))
        truth.append(label)
    found = evaluate_poses(predicted, truth)
    assert found.mAP == pytest.approx(17.93150023686575, abs=ROUNDING)
    assert found.mAR == pytest.approx(26.55555555555556, abs=ROUNDING)


def square(at: tuple[float, float], *, side: float = 40.0) -> Floats:
    """(1, 4, 2) the corners of a square."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * side
    return (corners + at)[None]


def sure(xy: Floats, score: float = 0.9) -> Poses:
    return Poses(xy=xy, score=np.full(xy.shape[:2], score))


def test_rmse_is_the_mean_distance_and_not_a_root_of_squares():
    moved = square((0, 0))
    moved[0, 0] += (3, 4)
    found = evaluate_poses([sure(moved)], [square((0, 0))])
    assert found.rmse == pytest.approx(5 / 4)
    np.testing.assert_allclose(found.per_keypoint, [5, 0, 0, 0])


def test_the_cutoff_keeps_a_score_that_equals_it():
    pose = sure(square((3, 4)))
    pose.score[0] = [0.6, 0.6, 0.59, 0.1]
    pose.xy[0, 2] += 100
    found = evaluate_poses([pose], [square((0, 0))], pcutoff=0.6)
    assert found.rmse_pcutoff == pytest.approx(5)
    np.testing.assert_allclose(found.per_keypoint_pcutoff, [5, 5, np.nan, np.nan])


def test_each_keypoint_may_have_its_own_cutoff():
    pose = sure(square((3, 4)), score=0.5)
    found = evaluate_poses([pose], [square((0, 0))], pcutoff=[0.4, 0.6, 0.5, 0.9])
    np.testing.assert_allclose(found.per_keypoint_pcutoff, [5, np.nan, 5, np.nan])


def test_a_label_that_is_missing_counts_neither_for_nor_against():
    truth = square((0, 0))
    truth[0, 1] = np.nan
    found = evaluate_poses([sure(square((0, 0)))], [truth])
    assert found.rmse == 0
    assert found.mAP == pytest.approx(100)


def test_perfect_poses_of_several_animals_score_100_whatever_their_order():
    truth = np.concatenate([square((0, 0)), square((200, 50)), square((90, 300))])
    found = evaluate_poses([sure(truth[[2, 0, 1]])], [truth])
    assert (found.rmse, found.mAP, found.mAR) == (0, pytest.approx(100), pytest.approx(100))


def test_the_prediction_with_the_higher_score_gets_the_label():
    exact, near = square((100, 100)), square((104, 103))
    for score, error in ((0.5, 5.0), (0.95, 0.0)):
        both = Poses(np.concatenate([near, exact]), np.array([[0.9] * 4, [score] * 4]))
        assert evaluate_poses([both], [np.concatenate([exact, exact + 500])]).rmse == error


def test_a_prediction_of_one_keypoint_takes_no_label_away_from_a_whole_one():
    truth = square((0, 0))
    truth[0, [1, 3]] = np.nan  # a diagonal, as two corners of one side have no area
    single = np.where(np.arange(4)[:, None] == 0, truth, np.nan)
    both = Poses(
        np.concatenate([single, truth]),
        np.array([[0.9, np.nan, np.nan, np.nan], [0.5, np.nan, 0.5, np.nan]]),
    )
    found = evaluate_poses([both], [np.concatenate([truth, truth + 500])])
    assert found.mAR == pytest.approx(50)  # of two animals one was found, at every threshold


def test_an_infinite_prediction_counts_as_missing():
    pose = sure(square((3, 4)))
    pose.xy[0, 0] = np.inf
    np.testing.assert_allclose(evaluate_poses([pose], [square((0, 0))]).per_keypoint, [np.nan, 5, 5, 5])


def test_a_prediction_far_from_every_animal_is_in_no_pair():
    truth = np.concatenate([square((0, 0)), square((200, 200))])
    pairs = pair_poses([sure(np.concatenate([truth[:1], truth[1:] + 5000]))], [truth])
    assert pairs.error.shape == (1, 4)
    np.testing.assert_array_equal(pairs.error, 0)


def test_pairs_name_the_frame_they_come_from():
    frames = [sure(square((0, 0))), Poses.empty(4), sure(square((3, 4)))]
    pairs = pair_poses(frames, [square((0, 0))] * 3)
    np.testing.assert_array_equal(pairs.frame, [0, 2])
    np.testing.assert_allclose(pairs.error.mean(axis=1), [0, 5])


def test_frames_without_animals_give_nan_distances_and_zero_recall():
    found = evaluate_poses([Poses.empty(4)] * 2, [square((0, 0))] * 2)
    assert np.isnan(found.rmse) and np.isnan(found.rmse_pcutoff)
    assert (found.mAP, found.mAR) == (0, 0)
    assert np.isnan(found.per_keypoint).all() and found.per_keypoint.shape == (4,)


def test_nothing_to_evaluate_is_no_error():
    found = evaluate_poses([], [])
    assert np.isnan(found.rmse) and found.per_keypoint.shape == (0,)


def test_frames_without_any_label_have_no_precision():
    unlabelled = np.full((1, 4, 2), np.nan)
    found = evaluate_poses([sure(square((0, 0)))], [unlabelled])
    assert np.isnan(found.rmse) and np.isnan(found.mAP) and np.isnan(found.mAR)


def test_similarity_follows_its_formula():
    truth = square((0, 0), side=50.0)[0]
    expected = (3 + np.exp(-(5**2) / (2 * 50 * 50 * 0.2**2))) / 4
    moved = truth.copy()
    moved[3] += (3, 4)
    assert object_keypoint_similarity(moved, truth) == pytest.approx(expected)


def test_a_missing_prediction_is_infinitely_far():
    truth = square((0, 0))[0]
    lost = truth.copy()
    lost[0] = np.nan
    assert object_keypoint_similarity(lost, truth) == pytest.approx(3 / 4)


def test_similarity_needs_two_keypoints_and_an_area():
    truth = square((0, 0))[0]
    one = np.where(np.arange(4)[:, None] == 0, truth, np.nan)
    none = np.full_like(truth, np.nan)
    heap = np.zeros_like(truth)
    np.testing.assert_array_equal(object_keypoint_similarity(truth, np.stack([one, none, heap])), np.nan)


def test_percent_correct_counts_a_missing_prediction_as_not_found():
    pose = sure(square((3, 4)))
    pose.xy[0, 0] = np.nan
    assert percent_correct([pose], [square((0, 0))], within=5.0) == pytest.approx(75)
    assert percent_correct([pose], [square((0, 0))], within=4.9) == 0
    assert np.isnan(percent_correct([], [], within=5.0))


def test_frames_and_labels_must_be_as_many():
    with pytest.raises(ValueError, match="2 frames of poses but 1"):
        evaluate_poses([Poses.empty(4)] * 2, [square((0, 0))])
