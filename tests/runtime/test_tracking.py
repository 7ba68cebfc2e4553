"""Tracks of drawn animals whose truth is known, whole and frame by frame."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from drawn_walks import Walk, Walked, walk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from rigpose.arrays import Array
from rigpose.errors import ConfigError
from rigpose.poses import Poses
from rigpose.tracking import SUFFIXES, Tracker, TrackingSettings, Tracks, track

Method = Literal["ellipse", "box", "skeleton"]
METHODS: tuple[Method, ...] = ("ellipse", "box", "skeleton")


def labels(rows: Array, truth: list[Array]) -> list[Array]:
    """Per frame, which track each animal is in, -1 for none."""
    found = []
    for row, animals in zip(rows, truth, strict=True):
        label = np.full(len(animals), -1)
        label[row[row >= 0]] = np.flatnonzero(row >= 0)
        found.append(label)
    return found


def scores(found: list[Array], truth: list[Array]) -> tuple[float, int]:
    """IDF1 (Ristani et al. 2016), and how often an animal's label changes."""
    label, animal = np.concatenate(found), np.concatenate(truth)
    table = np.zeros((animal.max() + 1, max(label.max() + 1, 1)), int)
    both = (label >= 0) & (animal >= 0)
    np.add.at(table, (animal[both], label[both]), 1)
    row, column = linear_sum_assignment(table, maximize=True)
    changes = sum(int((np.diff(label[both & (animal == a)]) != 0).sum()) for a in range(table.shape[0]))
    return 2 * float(table[row, column].sum()) / float((label >= 0).sum() + (animal >= 0).sum()), changes


def tracked(walked: Walked, method: Method, animals: int) -> tuple[float, int]:
    tracks = track(walked.frames, TrackingSettings(method=method), animals=animals)
    return scores(labels(tracks.rows, walked.truth), walked.truth)


def line(*places: float, y: float = 100.0) -> Poses:
    """Animals of three keypoints, 40 px long, at these x."""
    shape = np.array([[-20.0, 0.0], [0.0, 3.0], [20.0, 0.0]])
    xy = np.array([np.array([x, y]) + shape for x in places]).reshape(-1, 3, 2)
    return Poses(xy, np.full(xy.shape[:2], 0.9))


@pytest.mark.parametrize("method", METHODS)
def test_animals_that_cross_and_hide_keep_their_track(method: Method) -> None:
    """Five animals of 60 px in 600 px: with dropouts, hiding for 20 frames, missing keypoints and false animals.

    Of the true animals a few per cent may be lost, in pieces that are too short between two dropouts; an animal that
    is in an other one's track for the rest of the video would cost a tenth or more.
    """
    for seed in range(2):
        idf1, changes = tracked(walk(Walk(frames=400), seed), method, 5)
        assert idf1 > 0.97
        assert changes == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_crowd_that_runs_is_followed_nearly_always(method: Method) -> None:
    """Ten animals that move a quarter of their length per frame: a fifth may be in a wrong track at the end."""
    idf1, changes = tracked(walk(Walk(animals=10, frames=300, speed=15, arena=500), 0), method, 10)
    assert idf1 > 0.8
    assert changes < 20


@pytest.mark.parametrize("method", METHODS)
def test_one_keypoint_is_enough(method: Method) -> None:
    walked = walk(Walk(animals=3, keypoints=1, frames=300, speed=4, missing=0.0), 1)
    idf1, changes = tracked(walked, method, 3)
    assert idf1 > 0.97
    assert changes == 0


def test_false_animals_stay_out_of_the_tracks() -> None:
    walked = walk(Walk(animals=4, false=0.5, frames=300), 0)
    tracks = track(walked.frames, TrackingSettings(), animals=4)
    label, truth = np.concatenate(labels(tracks.rows, walked.truth)), np.concatenate(walked.truth)
    assert (label[truth < 0] >= 0).mean() < 0.05
    assert (label[truth >= 0] >= 0).mean() > 0.97


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_the_order_of_the_animals_in_a_frame_does_not_matter(method: Method, seed: int) -> None:
    walked = walk(Walk(animals=4, frames=40, arena=250, false=0.3, hidden=0.1), seed)
    rng = np.random.default_rng(seed + 1)
    orders = [rng.permutation(len(poses)) for poses in walked.frames]
    shuffled = [poses.take(order) for poses, order in zip(walked.frames, orders, strict=True)]
    mine = track(walked.frames, TrackingSettings(method=method), animals=4).rows
    theirs = track(shuffled, TrackingSettings(method=method), animals=4).rows
    back = [np.append(order, -1)[row] for order, row in zip(orders, theirs, strict=True)]
    np.testing.assert_array_equal(mine, np.array(back))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), keypoints=st.integers(1, 4), method=st.sampled_from(METHODS))
def test_whatever_comes_in_every_row_is_used_once_at_most(seed: int, keypoints: int, method: Method) -> None:
    """Missing keypoints and scores, animals on one point, none at all, more than asked for, lost frames."""
    rng = np.random.default_rng(seed)
    frames: list[Poses | None] = []
    for _ in range(25):
        xy = rng.integers(0, 4, (rng.integers(0, 6), keypoints, 2)) * 10.0
        score = rng.uniform(0, 1, xy.shape[:2])
        xy[rng.random(xy.shape[:2]) < 0.3] = np.nan
        score[rng.random(score.shape) < 0.1] = np.nan
        xy[rng.random(len(xy)) < 0.2] = 20.0
        frames.append(None if rng.random() < 0.1 else Poses(xy, score))
    with np.errstate(all="raise", under="ignore"):
        tracks = track(frames, TrackingSettings(method=method), animals=3)
    assert tracks.rows.shape == (25, 3)
    for poses, row in zip(frames, tracks.rows, strict=True):
        used = row[row >= 0]
        assert len(set(used.tolist())) == len(used)
        assert not len(used) or (poses is not None and used.max() < len(poses))


@pytest.mark.parametrize("frames", [[], [None, None], [Poses.empty(3)] * 5])
def test_nothing_gives_empty_tracks(frames: list[Poses | None]) -> None:
    tracks = track(frames, TrackingSettings(), animals=2)
    assert tracks.rows.shape == (len(frames), 2) and (tracks.rows == -1).all() and tracks.tracklets == ()


def test_gaps_are_minus_one_and_tracks_go_from_left_to_right() -> None:
    frames: list[Poses | None] = [line(300.0, 100.0) for _ in range(30)]
    frames[10:13] = [None, Poses.empty(3), line(300.0)]
    rows = track(frames, TrackingSettings(), animals=3).rows
    expected = np.tile([1, 0, -1], (30, 1))
    expected[10:12] = -1
    expected[12] = [-1, 0, -1]
    np.testing.assert_array_equal(rows, expected)


def test_identities_name_the_tracks_even_where_animals_hide() -> None:
    """The animals change places while none is seen; only the identity tells."""
    before = [replace(line(100.0, 300.0), identity=np.array([1, 0])) for _ in range(30)]
    after = [replace(line(100.0, 300.0), identity=np.array([0, 1])) for _ in range(30)]
    frames: list[Poses | None] = [*before, *[None] * 20, *after]
    rows = track(frames, TrackingSettings(), animals=2).rows
    np.testing.assert_array_equal(rows[:30], np.tile([1, 0], (30, 1)))
    np.testing.assert_array_equal(rows[50:], np.tile([0, 1], (30, 1)))
    blind = track(frames, TrackingSettings(use_identity=False), animals=2).rows
    np.testing.assert_array_equal(blind[:30], blind[50:])


def test_tracklets_hold_every_animal_once() -> None:
    walked = walk(Walk(animals=4, frames=100), 5)
    tracks: Tracks = track(walked.frames, TrackingSettings(), animals=4)
    places = [(f, r) for t in tracks.tracklets for f, r in zip(t.frames.tolist(), t.rows.tolist(), strict=True)]
    assert len(places) == len(set(places)) == sum(map(len, walked.frames))
    assert all((np.diff(t.frames) > 0).all() for t in tracks.tracklets)


@pytest.mark.parametrize("method", METHODS)
def test_ids_go_on_through_short_gaps_and_are_never_used_again(method: Method) -> None:
    tracker = Tracker(TrackingSettings(method=method, max_age=3))
    for step in range(10):
        np.testing.assert_array_equal(tracker.update(line(400.0 - 5 * step, 5.0 * step)), [1, 0])
    for _ in range(3):
        assert len(tracker.update(None)) == 0
    np.testing.assert_array_equal(tracker.update(line(65.0, 335.0)), [0, 1])
    for _ in range(4):
        tracker.update(Poses.empty(3))
    np.testing.assert_array_equal(tracker.update(line(90.0)), [2])


def test_an_id_is_given_after_enough_frames_in_a_row() -> None:
    tracker = Tracker(TrackingSettings(min_hits=3))
    seen = [tracker.update(poses).tolist() for poses in [line(0.0), line(1.0), None, line(2.0), line(3.0), line(4.0)]]
    assert seen == [[-1], [-1], [], [-1], [-1], [1]]


def test_keypoints_of_low_score_do_not_count() -> None:
    poses = line(100.0)
    poses.score[0, :2] = 0.05
    far = poses.xy.copy()
    far[0, :2] = 900.0
    tracker = Tracker(TrackingSettings(method="box"))
    assert tracker.update(poses).tolist() == tracker.update(Poses(far, poses.score)).tolist() == [0]
    assert tracker.update(Poses(far, np.full((1, 3), 0.05))).tolist() == [-1]


def test_a_velocity_is_learnt() -> None:
    """Two body lengths per frame sideways, faster than anything that a still animal could be taken for."""
    tracker = Tracker(TrackingSettings())
    speed, place = 4.0, 0.0
    for _ in range(20):
        assert tracker.update(line(100.0, y=place)).tolist() == [0]
        place, speed = place + speed, min(speed + 4.0, 80.0)
    unaware = Tracker(TrackingSettings())
    assert [unaware.update(line(100.0, y=y)).tolist() for y in (place, place + speed)] == [[0], [1]]


@pytest.mark.parametrize(
    "wrong", [{"method": "elipse"}, {"threshold": 1.5}, {"max_age": -1}, {"min_hits": 0}, {"acceleration": 0.0}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"tracking.{next(iter(wrong))}"):
        TrackingSettings(**wrong)  # type: ignore[arg-type]


def test_no_tracks_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tracking\.animals"):
        track([], TrackingSettings(), animals=0)


def test_suffixes_are_deeplabcuts() -> None:
    assert SUFFIXES == {"ellipse": "_el", "box": "_bx", "skeleton": "_sk"}
