"""Frames with injected faults are found, and those without are left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_results import KEYPOINTS, draw_results

from rigpose.arrays import Floats
from rigpose.errors import ConfigError
from rigpose.files.results import Results
from rigpose.triage.animals import switches, wrong_counts
from rigpose.triage.choosing import pose_space
from rigpose.triage.judgement import Judgement, beyond
from rigpose.triage.jumps import jumps
from rigpose.triage.rare_poses import aligned_shapes, rare_poses
from rigpose.triage.scores import low_scores
from rigpose.triage.suggest import WAYS, suggest_frames

CUTOFF = 0.6
TWO = ("one", "two")


def flagged(judgement: Judgement) -> list[int]:
    return np.flatnonzero(judgement.severity).tolist()


def test_a_quiet_video_has_nothing_to_suggest() -> None:
    for individuals in (("individual_1",), TWO):
        for seed in range(5):
            results = draw_results(2000, individuals=individuals, seed=seed)
            assert suggest_frames(results, pcutoff=CUTOFF) == []


def test_severity_begins_at_the_limit() -> None:
    assert beyond(np.array([0.0, 8.0, 16.0, np.nan, 8000.0]), 8.0).tolist() == [0, 0, 0.5, 0, 0.999]


def test_low_scores_are_found_and_named() -> None:
    results = draw_results()
    results.score[100:104, 0, 1] = 0.1
    judgement = low_scores(results, CUTOFF)
    assert flagged(judgement) == [100, 101, 102, 103]
    assert judgement.why(100) == "low score: left 0.10"
    # One of five keypoints falls short by five sixths.
    assert judgement.severity[100] == pytest.approx(0.5 / 0.6 / 5)


def test_a_keypoint_that_is_seldom_sure_says_nothing() -> None:
    results = draw_results()
    results.score[:400, 0, 4] = 0.05
    assert flagged(low_scores(results, CUTOFF)) == []
    # Where the network is sure of nothing at all, every frame is worth it.
    results.score[:] = 0.2
    assert len(flagged(low_scores(results, CUTOFF))) == 600


def test_a_missing_keypoint_of_a_found_animal_is_unsure_and_an_absent_animal_is_not() -> None:
    results = draw_results(individuals=TWO)
    results.xy[50, 1, 2], results.score[50, 1, 2] = np.nan, np.nan
    results.xy[60, 1], results.score[60, 1] = np.nan, np.nan
    judgement = low_scores(results, CUTOFF)
    assert flagged(judgement) == [50] and judgement.why(50) == "low score: two right missing"


def test_unique_keypoints_count_too() -> None:
    unique = np.full((600, 1, 3), [300.0, 20.0, 0.95])
    unique[200, 0, 2] = 0.1
    unique[300, 0, 0] += 90
    results = replace(draw_results(individuals=TWO), unique_keypoints=("lamp",), unique=unique)
    assert low_scores(results, CUTOFF).why(200) == "low score: lamp 0.10"
    judgement = jumps(results, CUTOFF)
    assert flagged(judgement) == [300] and judgement.why(300).startswith("jump: lamp by 90 px")


def test_a_point_that_leaves_and_returns_is_found_at_rest_and_in_a_run() -> None:
    results = draw_results()
    results.xy[120, 0, 0] += (0, 60)
    results.xy[270, 0, 4] += (40, 40)
    judgement = jumps(results, CUTOFF)
    assert flagged(judgement) == [120, 270]
    assert judgement.why(120).startswith("jump: nose by ") and judgement.why(270).startswith("jump: tail by ")


def test_a_point_that_stays_away_for_some_frames_is_found_on_the_wrong_side_both_times() -> None:
    results = draw_results()
    results.xy[210:218, 0, 1] += (0, 80)
    assert flagged(jumps(results, CUTOFF)) == [210, 217]


def test_a_jump_is_found_across_a_short_gap_and_not_across_a_long_one() -> None:
    results = draw_results()
    # At rest; the tail is found again elsewhere.
    results.score[220:223, 0, 4] = 0.1
    results.xy[223:, 0, 4] += (0, 200)
    results.score[320:345, 0, 0] = 0.1
    results.xy[345:, 0, 0] += (0, 200)
    assert flagged(jumps(results, CUTOFF)) == [223]


def test_an_animal_that_starts_to_run_does_not_jump() -> None:
    results = draw_results()
    # Ten times as fast as ever before, for four frames, as a whole.
    results.xy[400:, 0, :, 1] += 240
    results.xy[400:404, 0, :, 1] -= 240 * np.array([[0.8], [0.6], [0.4], [0.2]], np.float32)
    assert flagged(jumps(results, CUTOFF)) == []


def test_an_unsure_point_that_jumps_is_left_to_its_score() -> None:
    results = draw_results()
    results.xy[120, 0, 0] += (0, 60)
    results.score[120, 0, 0] = 0.2
    assert flagged(jumps(results, CUTOFF)) == []
    assert flagged(low_scores(results, CUTOFF)) == [120]


def bent(xy: Floats) -> Floats:
    """(K, 2) the nose folded back over the animal's right side."""
    folded = xy.copy()
    folded[0] = xy[4] + (xy[2] - xy[3]) * 1.5
    return folded


def test_rare_poses_are_found_alone_and_in_a_small_group() -> None:
    results = draw_results()
    for frame in (90, 400, 401, 402):
        results.xy[frame, 0] = bent(results.xy[frame, 0])
    judgement = rare_poses(results, CUTOFF)
    assert flagged(judgement) == [90, 400, 401, 402]
    assert judgement.why(90).startswith("rare pose (")


def test_a_pose_that_is_common_is_not_rare() -> None:
    results = draw_results()
    for frame in range(300, 420):
        results.xy[frame, 0] = bent(results.xy[frame, 0])
    assert flagged(rare_poses(results, CUTOFF)) == []


def test_shapes_know_neither_place_nor_size_nor_heading() -> None:
    rng = np.random.default_rng(3)
    shape = rng.normal(0, 20, (6, 2))
    angle = rng.uniform(0, 2 * np.pi, 40)
    turn = np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], 1)
    scale = rng.uniform(0.5, 2, 40)
    xy = np.einsum("mij,kj->mki", turn, shape) * scale[:, None, None] + rng.uniform(0, 500, (40, 1, 2))
    xy[5:20, 2] = np.nan
    found = aligned_shapes(xy)
    # Exact arithmetic would give nought; what is left is rounding.
    assert np.abs(found[:, :-1]).max() < 1e-9
    assert found[:, -1] == pytest.approx(np.log(scale / np.median(scale)), abs=1e-9)


def test_two_keypoints_have_a_length_only() -> None:
    whole = draw_results()
    results = Results("DLC_drawn", KEYPOINTS[:2], whole.individuals, whole.xy[:, :, :2], whole.score[:, :, :2])
    results.xy[77, 0, 0] += 4 * (results.xy[77, 0, 0] - results.xy[77, 0, 1])
    assert flagged(rare_poses(results, CUTOFF)) == [77]


def test_a_missing_animal_is_found_and_animals_that_come_and_go_are_not() -> None:
    results = draw_results(individuals=TWO)
    results.xy[450, 0], results.score[450, 0] = np.nan, np.nan
    judgement = wrong_counts(results)
    assert flagged(judgement) == [450] and judgement.why(450) == "animals: 1 instead of 2"
    results.xy[:300, 0] = np.nan
    assert flagged(wrong_counts(results)) == []


def test_animals_that_change_names_are_found_where_they_do() -> None:
    results = draw_results(individuals=("one", "two", "three"))
    swapped = results.xy[333:, [1, 0, 2]]
    results.xy[333:] = swapped
    # One of them is out of sight for a while before.
    results.xy[330:333, 0], results.score[330:333, 0] = np.nan, np.nan
    judgement = switches(results, CUTOFF)
    assert flagged(judgement) == [333] and judgement.why(333) == "one and two seem to change names"


def test_frames_are_apart_of_several_kinds_and_always_the_same() -> None:
    results = draw_results(individuals=TWO)
    results.score[100:160, 0] = 0.1
    results.xy[250, 1, 0] += (0, 60)
    results.xy[450, 0], results.score[450, 0] = np.nan, np.nan
    found = suggest_frames(results, pcutoff=CUTOFF, count=5, gap=12)
    frames = sorted(suggestion.frame for suggestion in found)
    assert {250, 450} < set(frames) and len(frames) == 5
    assert sum(100 <= frame < 160 for frame in frames) == 3 and min(np.diff(frames)) > 12
    severity = [suggestion.severity for suggestion in found]
    assert severity == sorted(severity, reverse=True)
    assert found == suggest_frames(results, pcutoff=CUTOFF, count=5, gap=12)


def test_frames_show_different_poses() -> None:
    results = draw_results()
    # Unsure for a long rest, in which nothing changes, and as unsure in three moments of a run.
    results.score[200:250, 0, 1] = 0.3
    moving = [160, 175, 190]
    results.score[moving, 0, 1] = 0.3
    found = suggest_frames(results, pcutoff=CUTOFF, count=4, gap=2, by=["score"])
    assert len({suggestion.frame for suggestion in found} & set(moving)) >= 2


def test_labelled_and_lost_frames_are_left_out_with_what_is_near() -> None:
    results = draw_results()
    for frame in (100, 105, 300, 500):
        results.score[frame] = 0.1
    found = suggest_frames(results, pcutoff=CUTOFF, count=9, gap=10, labelled=[100, 9000], lost=[300])
    assert [suggestion.frame for suggestion in found] == [500]


def test_a_frame_that_looks_wrong_in_two_ways_comes_first_with_both_reasons() -> None:
    results = draw_results()
    results.score[[100, 300], 0, 1] = 0.1
    results.xy[300, 0, 0] += (0, 60)
    first = suggest_frames(results, pcutoff=CUTOFF, by=["score", "jumps"])[0]
    assert first.frame == 300 and {reason.split(":")[0] for reason in first.reasons} == {"jump", "low score"}


def test_odd_videos_break_nothing() -> None:
    empty = draw_results(0)
    one = draw_results(1)
    dark = draw_results(60)
    dark.xy[:], dark.score[:] = np.nan, np.nan
    single = Results("DLC_drawn", ("nose",), ("individual_1",), one.xy[:, :, :1], one.score[:, :, :1])
    for results in (empty, one, dark, single):
        assert suggest_frames(results, pcutoff=CUTOFF) == []
        assert np.isfinite(pose_space(results, CUTOFF)).all()


def test_an_unknown_way_is_named() -> None:
    with pytest.raises(ConfigError, match=r"by luck; choose among score, jumps, rare"):
        suggest_frames(draw_results(60), pcutoff=CUTOFF, by=["luck"])
    assert WAYS == ("score", "jumps", "rare", "count", "switches")
