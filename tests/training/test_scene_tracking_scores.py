"""Tracking scores of hand-made tracks, whose values follow by counting, and of a drawn recording."""

from __future__ import annotations

import numpy as np
import pytest
from tracking_scores import score_tracks, visible_similarity

from rigpose_training.scene.world import Scene, Staging

pytest.importorskip("trackeval")

F, N = 20, 2
SHAPE = np.array([[0.0, 0.0], [10.0, 3.0], [20.0, 0.0], [30.0, 6.0]])
# Two animals far from each other, and four visible keypoints of each.
TRUTH = np.stack([SHAPE + np.array([t, 100 * i]) for t in range(F) for i in range(N)]).reshape(F, N, 4, 2)
SEEN = np.ones((F, N, 4), bool)


def test_perfect_tracks_have_perfect_scores():
    scores = score_tracks(TRUTH[:, ::-1], TRUTH, SEEN)
    assert (scores.mota, scores.idf1, scores.hota, scores.association) == (1, 1, pytest.approx(1), pytest.approx(1))
    assert (scores.switches, scores.missed, scores.extra, scores.animals) == (0, 0, 0, F * N)


def test_one_swap_in_the_middle():
    tracks = TRUTH.copy()
    tracks[F // 2 :] = tracks[F // 2 :, ::-1]
    scores = score_tracks(tracks, TRUTH, SEEN)
    assert (scores.switches, scores.missed, scores.extra) == (2, 0, 0)
    assert scores.mota == pytest.approx(1 - 2 / (F * N))
    assert scores.idf1 == pytest.approx(0.5)  # half of each animal is in its best track
    # Every pose belongs to a pair of an animal and a track that share 10 frames and miss 10 each: 10 / 30.
    assert scores.association == pytest.approx(1 / 3)
    assert scores.detection == pytest.approx(1)
    assert scores.hota == pytest.approx((1 / 3) ** 0.5)


def test_an_early_swap_costs_less_idf1_than_a_late_one_in_the_middle():
    tracks = TRUTH.copy()
    tracks[:4] = tracks[:4, ::-1]
    assert score_tracks(tracks, TRUTH, SEEN).idf1 == pytest.approx(16 / 20)


def test_a_missed_animal_and_an_extra_one():
    tracks = np.concatenate([TRUTH, np.full_like(TRUTH[:, :1], np.nan)], axis=1)
    tracks[5:8, 1] = np.nan
    tracks[10:12, 2] = SHAPE + 400
    scores = score_tracks(tracks, TRUTH, SEEN)
    assert (scores.missed, scores.extra, scores.switches) == (3, 2, 0)
    assert scores.mota == pytest.approx(1 - 5 / (F * N))
    assert scores.idf1 == pytest.approx(2 * 37 / (2 * 37 + 3 + 2))


def test_a_pose_that_is_far_off_is_missed_and_extra():
    tracks = TRUTH.copy()
    tracks[3, 0] += 60
    scores = score_tracks(tracks, TRUTH, SEEN)
    assert (scores.missed, scores.extra) == (1, 1)


def test_nothing_found_misses_everything():
    scores = score_tracks(np.full_like(TRUTH, np.nan), TRUTH, SEEN)
    assert (scores.missed, scores.extra, scores.mota, scores.idf1, scores.hota) == (F * N, 0, 0, 0, 0)
    assert score_tracks(TRUTH[:, :0], TRUTH, SEEN).missed == F * N


def test_a_hidden_animal_may_be_found_and_need_not():
    seen = SEEN.copy()
    seen[6:9, 1] = [True, False, False, False]
    gap = TRUTH.copy()
    gap[6:9, 1] = np.nan
    for tracks in (TRUTH, gap):
        scores = score_tracks(tracks, TRUTH, seen)
        assert (scores.mota, scores.missed, scores.extra, scores.animals) == (1, 0, 0, F * N - 3)
    stray = gap.copy()
    stray[6:9, 1] = SHAPE + 400
    assert score_tracks(stray, TRUTH, seen).extra == 3


def test_a_gap_that_another_track_continues_is_a_switch():
    tracks = np.concatenate([TRUTH, np.full_like(TRUTH[:, :1], np.nan)], axis=1)
    tracks[12:, 2], tracks[9:, 1] = TRUTH[12:, 1], np.nan
    scores = score_tracks(tracks, TRUTH, SEEN)
    assert (scores.switches, scores.missed) == (1, 3)


def test_hidden_keypoints_are_not_judged():
    visible = np.array([[True, True, True, False]])
    wrong, absent = SHAPE.copy(), SHAPE.copy()
    wrong[3] += 500
    absent[3] = np.nan
    poses = np.stack([SHAPE, wrong, absent, np.where(np.arange(4)[:, None] == 0, np.nan, SHAPE)])
    np.testing.assert_allclose(visible_similarity(poses, SHAPE[None], visible), [[1, 1, 1, 2 / 3]])
    assert visible_similarity(poses, SHAPE[None], ~visible[:, [0] * 4] & False).tolist() == [[0, 0, 0, 0]]


def test_the_truth_of_a_drawn_recording_with_gaps_is_perfect():
    scene = Scene(3, animals=4, staging=Staging(shelter=True))
    moments = [scene.full_truth(t) for t in range(0, 400, 10)]
    xy, visible = (np.stack([getattr(m, name) for m in moments]) for name in ("xy", "visible"))
    labelled = np.where(visible[..., None], xy, np.nan)
    scores = score_tracks(labelled, xy, visible)
    assert (scores.missed, scores.switches, scores.mota, scores.idf1) == (0, 0, 1, 1)
    assert scores.hota == pytest.approx(1)
    assert scores.animals < visible.shape[0] * 4
