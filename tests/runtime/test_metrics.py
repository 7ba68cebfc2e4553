"""Metrics against what DeepLabCut 3.0.2 and pycocotools gave for the same poses, and by hand."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest

from rigpose.arrays import Floats
from rigpose.measures.metrics import (
    OKS_SIGMA,
    evaluate_poses,
    object_keypoint_similarity,
    pair_poses,
    percent_correct,
    percent_correct_by_size,
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


# (seed, frames, animals, keypoints, spread): rmse, rmse_pcutoff, mAP, mAR, per_keypoint of DeepLabCut for these scenes.
# What its decoders miss has no place and the score 0, which lowers the mean that its animals are ranked by.
DEEPLABCUT = {
    (0, 40, 1, 5, 6.0): (
        4.125278005213328,
        4.808452882997142,
        39.38344098556407,
        50.0,
        [3.3924517565420427, 4.022472434445161, 3.845145669552497, 5.432660315217646, 3.9568056621334033],
    ),
    (1, 40, 3, 6, 8.0): (
        34.092595661324395,
        42.22134180687883,
        23.2083061669457,
        34.629629629629626,
        [
            44.62141760198024,
            39.01605094348618,
            33.4892686889314,
            24.045004039993845,
            32.00508810027717,
            32.20645844090357,
        ],
    ),
    (2, 60, 2, 4, 25.0): (
        41.01781243840871,
        41.42710906505131,
        2.1518555110583004,
        10.476190476190476,
        [46.003100802793185, 48.22915794814546, 40.241163149474765, 30.26957175698296],
    ),
    (3, 20, 4, 3, 15.0): (
        17.547896624959357,
        10.04439761078161,
        2.8451595159515954,
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


def by_pycocotools(predicted: list[Poses], truth: list[Floats]) -> tuple[float, float]:
    """mAP and mAR [0, 100] of COCO's keypoint evaluation with the area and the sigma of DeepLabCut's."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    labels, found = coco.COCO(), []
    images = [{"id": i} for i in range(1, len(truth) + 1)]
    labels.dataset = {"info": {}, "images": images, "categories": [{"id": 1}], "annotations": []}
    for i, (poses, label) in enumerate(zip(predicted, truth, strict=True), start=1):
        for xy in label:
            there = ~np.isnan(xy[:, :1])
            sides = np.ptp(xy[there[:, 0]], axis=0)
            entry = {"id": len(labels.dataset["annotations"]) + 1, "image_id": i, "category_id": 1, "iscrowd": 0}
            keypoints = np.where(there, np.concatenate([xy, np.full_like(there, 2, float)], axis=1), 0)
            entry |= {"keypoints": keypoints.ravel().tolist(), "num_keypoints": int(there.sum())}
            labels.dataset["annotations"].append(entry | {"bbox": [0, 0, *sides], "area": float(np.prod(sides))})
        # COCO has no missing keypoints in predictions; this far away none of them counts.
        places = np.where(np.isnan(poses.xy), 5000.0, poses.xy)
        for xy, score in zip(places, np.nan_to_num(poses.score).mean(axis=1), strict=True):
            keypoints = np.concatenate([xy, np.ones((len(xy), 1))], axis=1).ravel().tolist()
            found.append({"image_id": i, "category_id": 1, "keypoints": keypoints, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        labels.createIndex()
        evaluation = cocoeval.COCOeval(labels, labels.loadRes(found), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.full(truth[0].shape[1], OKS_SIGMA)
        evaluation.evaluate()
        evaluation.accumulate()
    # All areas and at most 20 animals: the first and the last entry of their axes.
    precision, recall = evaluation.eval["precision"][:, :, 0, 0, -1], evaluation.eval["recall"][:, 0, 0, -1]
    return 100 * float(precision.mean()), 100 * float(recall.mean())


def apart(seed: int, frames: int = 25) -> tuple[list[Poses], list[Floats]]:
    """Animals too far from each other to be confused, in poses of every quality, with gaps, missing and false ones."""
    rng = np.random.default_rng(seed)
    predicted, truth = [], []
    for _ in range(frames):
        n = int(rng.integers(1, 5))
        label = 500.0 * np.arange(n)[:, None, None] + rng.normal(0, 30, (n, 6, 2))
        xy = label + rng.normal(0, 1, (n, 6, 2)) * rng.choice([1.0, 8.0, 25.0], (n, 1, 1))
        xy = xy[rng.permutation(n)[: rng.integers(0, n + 1)]]
        xy = np.concatenate([xy, 3000 + rng.normal(0, 30, (rng.integers(0, 2), 6, 2))])
        score = rng.uniform(0, 1, xy.shape[:2])
        for gaps, values in (
            (rng.random(label.shape[:2]) < 0.2, [label]),
            (rng.random(score.shape) < 0.1, [xy, score]),
        ):
            gaps[:, :2] = False  # two keypoints of everybody stay, since COCO judges animals with one and we do not
            for array in values:
                array[gaps] = np.nan
        truth.append(label)
        predicted.append(Poses(xy=xy, score=score))
    return predicted, truth


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_pycocotools_where_animals_are_apart(seed):
    scenes = apart(seed)
    found = evaluate_poses(*scenes)
    assert 5 < found.mAP < 95
    assert (found.mAP, found.mAR) == pytest.approx(by_pycocotools(*scenes), abs=ROUNDING)


def test_unlike_cocos_a_prediction_does_not_fall_back_on_its_second_best_label():
    """DeepLabCut's definition, which decides in crowds: there its numbers are lower than COCO's."""
    one, other = square((0, 0)), square((8, 0))
    labels = np.concatenate([one, other])
    # Both predictions are most like the first animal; the second one is like the other animal, too (OKS .75).
    both = Poses(np.concatenate([one, square((2, 0))]), np.array([[0.9] * 4, [0.8] * 4]))
    similarity = np.exp(-(6**2) / (2 * 40 * 40 * 0.2**2))
    assert object_keypoint_similarity(both.xy[1], other[0]) == pytest.approx(similarity)
    found = evaluate_poses([both], [labels])
    assert found.mAR == pytest.approx(50)
    precision, recall = by_pycocotools([both], [labels])
    # For COCO the second one is found at the six thresholds from .50 to .75.
    assert recall == pytest.approx(50 + 6 * 5)
    assert precision > found.mAP


def test_unlike_cocos_an_animal_of_one_keypoint_does_not_count():
    labels = square((0, 0))
    single = np.where(np.arange(4)[:, None] == 0, square((500, 500)), np.nan)
    found = evaluate_poses([sure(labels)], [np.concatenate([labels, single])])
    assert (found.mAP, found.mAR) == (pytest.approx(100), pytest.approx(100))


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


def test_percent_correct_by_size_measures_in_sides_of_the_labelled_animal():
    # The same 5 px are an eighth of a small animal, and a sixteenth of one twice as large.
    for side, expected in ((40.0, 0.0), (80.0, 100.0)):
        assert percent_correct_by_size([sure(square((3, 4), side=side))], [square((0, 0), side=side)], share=0.1) == (
            pytest.approx(expected)
        )
    assert np.isnan(percent_correct_by_size([], [], share=0.1))


def test_unique_keypoints_count_in_the_distances_and_have_their_own_place_and_cutoff():
    pose = replace(sure(square((3, 4))), unique=np.array([[10.0, 20.0, 0.9], [0.0, 0.0, 0.2]]))
    unique = np.array([[10.0, 35.0], [0.0, 1.0]])
    found = evaluate_poses([pose], [square((0, 0))], unique_truth=[unique], pcutoff=[0.5, 0.5, 0.5, 0.95, 0.5, 0.5])
    np.testing.assert_allclose(found.per_keypoint, [5, 5, 5, 5, 15, 1])
    assert found.rmse == pytest.approx((4 * 5 + 15 + 1) / 6)
    np.testing.assert_allclose(found.per_keypoint_pcutoff, [5, 5, 5, np.nan, 15, np.nan])
    assert found.rmse_pcutoff == pytest.approx((3 * 5 + 15) / 4)
    # They are no animal's: a frame of theirs alone has no precision to speak of.
    assert found.mAP == evaluate_poses([pose], [square((0, 0))]).mAP


def test_frames_without_found_or_labelled_unique_keypoints_leave_them_out():
    pose = sure(square((0, 0)))
    unique = np.array([[10.0, 35.0], [np.nan, np.nan]])
    found = evaluate_poses([pose], [square((0, 0))], unique_truth=[unique])
    np.testing.assert_allclose(found.per_keypoint, [0, 0, 0, 0, np.nan, np.nan])
    half = replace(pose, unique=np.array([[10.0, 30.0, 0.9], [1.0, 1.0, 0.9]]))
    found = evaluate_poses([half], [square((0, 0))], unique_truth=[unique])
    np.testing.assert_allclose(found.per_keypoint[4:], [5, np.nan])


def test_frames_and_labels_must_be_as_many():
    with pytest.raises(ValueError, match="2 frames of poses but 1"):
        evaluate_poses([Poses.empty(4)] * 2, [square((0, 0))])
