"""Tracks against the truth: what is counted, on recordings small enough to count by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rigpose.arrays import Array, Floats
from rigpose_export.demo.tracks import count_switches, measure_tracks, plot_tracks

FRAMES, ANIMALS, KEYPOINTS = 12, 2, 3


@pytest.fixture
def truth() -> Floats:
    """(F, N, K, 2): two animals 40 px long that walk to the right, 100 px apart."""
    body = np.array([[0.0, 0.0], [20.0, 5.0], [40.0, 0.0]])
    steps = np.stack([3.0 * np.arange(FRAMES), np.zeros(FRAMES)], axis=-1)
    starts = np.array([[10.0, 10.0], [10.0, 110.0]])
    return body + starts[None, :, None] + steps[:, None, None]


@pytest.fixture
def visible() -> Array:
    return np.ones((FRAMES, ANIMALS, KEYPOINTS), bool)


def test_perfect_tracks_have_no_fault_whatever_their_order(truth: Floats, visible: Array) -> None:
    measured = measure_tracks(truth[:, ::-1], truth, visible)
    assert (measured.animals, measured.found, measured.missed) == (24, 24, 0)
    assert (measured.extra, measured.switches) == (0, 0)
    assert measured.error_px == measured.p99_px == 0.0
    assert (measured.track == [1, 0]).all()


def test_animals_that_change_places_once_are_two_switches(truth: Floats, visible: Array) -> None:
    tracks = truth.copy()
    tracks[5:] = tracks[5:, ::-1]
    measured = measure_tracks(tracks, truth, visible)
    assert measured.switches == 2
    assert (measured.missed, measured.extra, measured.error_px) == (0, 0, 0.0)


def test_a_gap_is_missed_animals_and_no_switch(truth: Floats, visible: Array) -> None:
    tracks = truth.copy()
    tracks[4:7, 1] = np.nan
    measured = measure_tracks(tracks, truth, visible)
    assert (measured.missed, measured.extra, measured.switches) == (3, 0, 0)
    assert np.isnan(measured.distances[4:7, 1]).all()


def test_a_switch_across_a_gap_counts_once() -> None:
    assert count_switches(np.array([[0], [0], [-1], [-1], [1], [1], [-1], [1]])) == 1
    assert count_switches(np.array([[-1, 0], [0, 0], [1, -1], [0, 0]])) == 2


def test_a_pose_far_from_every_animal_is_extra_and_leaves_its_animal_missed(truth: Floats, visible: Array) -> None:
    tracks = np.concatenate([truth, truth[:, :1] + np.array([0.0, 50.0])], axis=1)  # half way to the other animal
    measured = measure_tracks(tracks, truth, visible)
    assert (measured.missed, measured.extra, measured.switches) == (0, FRAMES, 0)
    alone = measure_tracks(tracks[:, 1:], truth, visible)
    assert (alone.missed, alone.extra) == (FRAMES, FRAMES)


def test_distances_are_those_of_visible_keypoints_that_were_found(truth: Floats, visible: Array) -> None:
    tracks = truth + np.array([3.0, 4.0])
    tracks[:, 0, 1] = np.nan
    visible[:, 1, 2] = False
    tracks[:, 1, 2] += 9.0  # a guess where nothing is seen
    measured = measure_tracks(tracks, truth, visible)
    assert measured.error_px == pytest.approx(5.0)
    assert np.isfinite(measured.distances).sum() == FRAMES * 4
    assert measured.found == 24


def test_a_hidden_animal_counts_neither_for_nor_against(truth: Floats, visible: Array) -> None:
    visible[3:6, 0, 1:] = False
    with_it = measure_tracks(truth, truth, visible)
    assert (with_it.animals, with_it.found, with_it.extra) == (21, 21, 0)
    tracks = truth.copy()
    tracks[3:6, 0] = np.nan
    without = measure_tracks(tracks, truth, visible)
    assert (without.animals, without.missed, without.extra, without.switches) == (21, 0, 0, 0)


def test_nothing_found_has_no_error_and_is_drawn_all_the_same(truth: Floats, visible: Array, tmp_path: Path) -> None:
    measured = measure_tracks(np.full_like(truth, np.nan), truth, visible)
    assert np.isnan(measured.error_px)
    assert np.isnan(measured.p99_px)
    assert measured.missed == 24
    plot_tracks(tmp_path / "plot.png", measured, ("one", "two"))
    picture = cv2.imread(str(tmp_path / "plot.png"))
    assert picture is not None
    assert picture.std() > 0
