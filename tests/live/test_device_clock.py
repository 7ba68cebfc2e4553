"""A camera's clock against ours: drift and jitter are told apart."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigpose.arrays import Floats
from rigpose.live.sources.device_clock import DeviceClock

RATE = 100.0
BOOTED = 86_400.0


def run(delays: Floats, *, ppm: float, rate: float = RATE) -> tuple[DeviceClock, Floats, Floats, Floats]:
    """The clock after these frames; when they were exposed in truth, by the estimate, and when they arrived [s]."""
    clock = DeviceClock()
    truth = 1000.0 + np.arange(len(delays)) / rate
    device = BOOTED + (truth - truth[0]) * (1 + ppm * 1e-6)
    # A driver hands frames over one after the other, so a late one holds up those behind it.
    arrived = np.maximum.accumulate(truth + delays) + 1e-9 * np.arange(len(delays))
    estimate = np.array([clock.exposed(d, a) for d, a in zip(device, arrived, strict=True)])
    return clock, truth, estimate, arrived


# The three ways in which delays of 5 ms are spread: evenly, mostly short with a long tail, and as a bell's half.
SPREADS = {
    "even": lambda rng, many: rng.uniform(0, 0.005, many),
    "tail": lambda rng, many: rng.exponential(0.005, many),
    "bell": lambda rng, many: np.abs(rng.normal(0, 0.005, many)),
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("ppm", [50.0, -50.0, 0.0])
def test_drift_of_50_ppm_and_jitter_of_5_ms_leave_a_fifth_of_a_millisecond(spread: str, ppm: float) -> None:
    # After 5 s, 50 ppm are 0.25 ms, and a mean of the arrivals would be late by half the jitter or more.
    for seed in range(5):
        delays = SPREADS[spread](np.random.default_rng(seed), 1500)
        clock, truth, estimate, _ = run(delays, ppm=ppm)
        late = np.abs(estimate - truth)[int(5 * RATE) :]
        # Delays without a bound leave fewer fast frames behind them.
        assert late.max() < (0.0003 if spread == "tail" else 0.0002) and np.median(late) < 0.0001
        # The fastest of some hundred frames took 10 us or so: over 15 s, that is a slope of some ppm.
        assert clock.skew == pytest.approx(-ppm * 1e-6, abs=10e-6)


def test_a_crystal_that_warms_up_is_followed() -> None:
    # 30 ppm that turn into -30 ppm over 20 minutes of 10 frames per second.
    many, rate = 12_000, 10.0
    clock = DeviceClock()
    rng = np.random.default_rng(0)
    skew = 30e-6 * np.cos(np.linspace(0, np.pi, many))
    device = np.cumsum((1 + skew) / rate)
    truth = np.arange(many) / rate
    arrived = truth + rng.uniform(0, 0.002, many)
    late = [clock.exposed(d, a) - t for d, a, t in zip(device, arrived, truth, strict=True)]
    # Over the minute that it looks back, the skew changes by 4.7 ppm at most, and a straight line leaves its curve by
    # half of that over half a minute: 0.07 ms; the jitter's fastest frames are 0.05 ms late.
    assert np.abs(late[600:]).max() < 0.0002


def test_without_jitter_exposure_is_arrival() -> None:
    clock, truth, estimate, _ = run(np.zeros(2000), ppm=80.0)
    # Before two seconds have passed, the clocks count as equal: 80 ppm of that.
    assert np.abs(estimate - truth).max() < 80e-6 * 2.5
    assert np.abs(estimate - truth)[300:].max() < 5e-6
    # The test itself adds 1e-9 s to every 0.01 s, to keep arrivals apart: 1e-7.
    assert clock.skew == pytest.approx(-80e-6, abs=2e-7)
    assert clock.residual < 1e-5


def test_the_residual_is_how_late_frames_usually_come() -> None:
    clock, *_ = run(np.random.default_rng(1).uniform(0, 0.006, 3000), ppm=20.0)
    assert clock.residual == pytest.approx(0.003, abs=0.0008)


def test_a_camera_that_begins_anew_and_a_clock_that_is_set_are_learned_anew() -> None:
    clock = DeviceClock()
    for i in range(300):
        clock.exposed(500.0 + i / RATE, i / RATE)
    for begun, ours in ((0.0, 3.0), (9000.0, 6.0)):
        late = [clock.exposed(begun + i / RATE, ours + i / RATE) - (ours + i / RATE) for i in range(300)]
        assert np.abs(late).max() < 1e-6


@pytest.mark.parametrize("factor", [0.125, 8.0, 1.25])
def test_a_clock_that_counts_no_seconds_is_not_believed(factor: float) -> None:
    # Cameras that say the wrong number of ticks per second exist; so do streams whose stamps are made up.
    clock = DeviceClock()
    late = [i / RATE - clock.exposed(factor * i / RATE, i / RATE) for i in range(3000)]
    assert not clock.trusted
    assert max(late[2000:]) == 0.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-0.2, 3.0), st.floats(1e-6, 3.0)).filter(lambda step: abs(step[0]) > 1e-6),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_comes_exposures_rise_and_are_not_after_arrivals(steps: list[tuple[float, float]]) -> None:
    clock = DeviceClock()
    device, arrived = 100.0, 50.0
    before = -np.inf
    for forward, later in steps:
        device, arrived = device + forward, arrived + later
        exposed = clock.exposed(device, arrived)
        assert before < exposed <= arrived
        before = exposed


def test_memory_does_not_grow() -> None:
    clock = DeviceClock()
    rng = np.random.default_rng(2)

    def frames(begin: int, end: int) -> None:
        for i in range(begin, end):
            clock.exposed(i / RATE, i / RATE + 0.005 * rng.random())

    frames(0, 7000)  # more than the minute that it looks back
    tracemalloc.start()
    try:
        frames(7000, 8000)
        before, _ = tracemalloc.get_traced_memory()
        frames(8000, 12_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000  # one number more per frame would be 4000 x 24 bytes


def test_frames_at_once_do_not_stop_it() -> None:
    # Late frames that come together have device times apart and arrivals microseconds apart.
    clock = DeviceClock()
    stamps = [clock.exposed(i / RATE, 1.0 + 1e-6 * i) for i in range(20)]
    assert all(a < b for a, b in itertools.pairwise(stamps))
