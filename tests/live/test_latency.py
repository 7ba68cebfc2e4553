"""Percentiles to within one percent, in memory that does not grow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigpose.live.live_pose import Stamps
from rigpose.live.running.latency import BINS, Durations, Moments
from rigpose.live.running.stage_times import StageTimes
from rigpose.live.status import STAGES


def of(seconds: np.ndarray) -> Durations:
    durations = Durations()
    for value in seconds:
        durations.add(float(value))
    return durations


@pytest.mark.parametrize("spread", [0.05, 0.5, 2.0])
def test_percentiles_are_within_a_percent(spread: float) -> None:
    values = np.random.default_rng(1).lognormal(math.log(0.01), spread, 20_000)
    found = of(values).percentiles
    exact = 1000 * np.sort(values)[[9_999, 17_999, 19_799, 19_979]]
    # The middle of a bin is within 1 % of its borders.
    assert [found.p50, found.p90, found.p99, found.p99_9] == pytest.approx(exact.tolist(), rel=0.0101)
    assert found.max == 1000 * values.max() and found.count == 20_000
    assert found.jitter == found.p99 - found.p50


@given(st.floats(1e-6, 999))
def test_one_duration_is_found_again(seconds: float) -> None:
    found = of(np.array([seconds])).percentiles
    assert found.p50 == pytest.approx(1000 * seconds, rel=0.0101) and found.max == 1000 * seconds


def test_known_delays_are_recovered() -> None:
    """One in a hundred frames 30 ms late, the others 5 ms: p50 and p90 do not know, p99.9 and the longest do."""
    found = of(np.array([0.005] * 990 + [0.035] * 10)).percentiles
    assert found.p50 == pytest.approx(5, abs=0.05) and found.p90 == pytest.approx(5, abs=0.05)
    assert found.p99_9 == pytest.approx(35, abs=0.35) and found.max == 35


def test_durations_beyond_all_bins_are_counted() -> None:
    durations = of(np.array([-1.0, 0.0, 1e-9, 5000.0]))
    assert durations.percentiles.count == 4 and durations.percentiles.max == 5e6
    assert sum(durations.bars.values()) == 4 and list(durations.bars) == sorted(durations.bars)
    assert list(durations.bars)[-1] == math.inf


def test_nothing_is_nan() -> None:
    assert math.isnan(Durations().percentiles.p50) and Durations().percentiles.count == 0
    assert Durations().bars == {math.inf: 0}


def test_bars_hold_what_is_below_their_borders() -> None:
    values = np.random.default_rng(2).lognormal(math.log(0.02), 0.4, 5000)
    below = 0
    bars = of(values).bars
    assert min(bars) < 1000 * values.min() and bars[min(bars)] == 0  # no bar is drawn from 0 to the first one
    for border, count in bars.items():
        below += count
        assert below == pytest.approx((1000 * values <= border).sum(), abs=5000 * 0.005)


def test_moments_stay_few_equal_and_complete() -> None:
    moments = Moments(most=8, seconds=1.0)
    for second in range(100):
        for _ in range(3):
            moments.add(second + 0.5, 0.001 * (second + 1))
    found = moments.so_far(100)
    assert len(found) <= 8 and {moment.seconds for moment in found[:-1]} == {16.0}
    assert sum(moment.frames for moment in found) == 300
    assert [moment.begun for moment in found] == [16.0 * i for i in range(len(found))]
    assert [moment.age.max for moment in found] == [16, 32, 48, 64, 80, 96, 100]
    assert sum(moment.seconds for moment in found) == 100


def test_stages_are_what_the_stamps_say() -> None:
    times = StageTimes(begun=9.0, deadline=30.0)
    for _ in range(5):
        times.add(Stamps(10.0, 10.002, 10.005, 10.025, 10.026, 0.018), told=10.029)
    times.add(Stamps(11.0, 11.002, 11.005, 11.035, 11.036, 0.018), told=11.029)
    found = times.percentiles()
    assert tuple(found) == STAGES
    in_order = [found[stage].p50 for stage in STAGES]
    assert in_order == pytest.approx([2, 3, 18, 2, 4, 25], rel=0.011)
    assert times.misses == 1
    before = times.sums()
    times.add(Stamps(12.0, 12.002, 12.005, 12.055, 12.056, 0.048), told=12.058)
    assert times.sums().medians_since(before)["age"] == pytest.approx(55, rel=0.011)
    assert sum(times.bars().values()) == 7 and times.moments(3.5)[1].frames == 5


def test_one_histogram_is_a_few_kilobytes() -> None:
    assert Durations().counts.nbytes == 8 * BINS < 10_000
