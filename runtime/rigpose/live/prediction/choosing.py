"""From a back-test to a choice per keypoint and lead: a model, or to hold the last place.

Choosing among models and judging the chosen one need different data, or chance would look like skill. The recording's
first half chooses and its second half judges: neighbouring frames are nearly the same, so that frames drawn at random
would be in both parts, and what a live run needs is a choice from the past that holds in the future.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rigpose import __version__
from rigpose.arrays import Floats
from rigpose.errors import ResultError
from rigpose.live.prediction.back_test import CANDIDATES, Outcome, back_test
from rigpose.live.prediction.fitted import FORMAT, KeypointFit, LeadFit, MotionFit
from rigpose.live.prediction.measurement_noise import measurement_noise
from rigpose.live.prediction.motion_filter import Limits
from rigpose.live.prediction.pose_history import PoseHistory
from rigpose.progress import Progress, silent

LEADS = (0.01, 0.02, 0.03, 0.05, 0.1)
"""What is tried where nobody says otherwise [s]."""
CONFIDENCE = 0.99
"""That a prediction which runs is better than holding. A file has dozens of such decisions, so 0.95 would be little."""
WORTH = 0.95
"""The ratio of errors must surely be below this: for a smaller gain it is not worth a filter's lag in motions that the
recording does not show."""
RESAMPLES = 1000
LEAST_BLOCKS = 10
"""Stretches of time with cases in the judging half; of fewer, nobody knows how far chance goes."""


def fit_motion(
    poses: PoseHistory,
    *,
    leads: Sequence[float] = LEADS,
    limits: Limits | None = None,
    every: int = 1,
    show: Progress = silent,
) -> MotionFit:
    """Go through a recording and choose.

    Args:
        poses: The recording.
        leads: [s].
        limits: What the filters take in.
        every: As of ``back_test``.
        show: How progress is shown.

    Raises:
        ResultError: The recording is too short.
    """
    limits = limits or Limits()
    times = poses.times[::every]
    if len(times) < 5:
        raise ResultError(f"{poses.name}: {len(times)} frames are too few to go through; record a minute or more.")
    noise = measurement_noise(times, poses.sure(limits.least_score)[::every])
    rising = tuple(sorted(set(leads)))
    outcome = back_test(poses, leads=np.array(rising), limits=limits, noise=noise, every=every, show=show)
    chosen = choose(outcome)
    return MotionFit(
        rigpose_motion=FORMAT,
        rigpose=__version__,
        recording=poses.name,
        seconds=_rounded(times[-1] - times[0]),
        frames=len(times),
        animals=poses.xy.shape[1],
        interval=_rounded(float(np.median(np.diff(times)))),
        limits=limits,
        leads=rising,
        keypoints=tuple(KeypointFit(name, _rounded(noise[k]), chosen[k]) for k, name in enumerate(poses.keypoints)),
    )


def choose(outcome: Outcome) -> list[tuple[LeadFit, ...]]:
    """Per keypoint, the choice at each lead."""
    half = len(outcome.cases) // 2
    best = outcome.ahead[:half].sum(axis=0).argmin(axis=1)
    judged = [
        outcome.hold[half:],
        *(
            np.take_along_axis(sums[half:], best[None, :, None], axis=2)[:, :, 0]
            for sums in (outcome.ahead, outcome.now)
        ),
    ]
    bound = _bound(*judged)
    cases, blocks = outcome.cases[half:].sum(axis=0), (outcome.cases[half:] > 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        hold, ahead, now = (np.sqrt(sums.sum(axis=0) / cases) for sums in judged)
    chosen_from = outcome.cases[:half].sum(axis=0)

    def of(k: int, i: int) -> LeadFit:
        candidate = CANDIDATES[best[i, k]]
        none = not cases[i, k]
        if blocks[i, k] < LEAST_BLOCKS or not chosen_from[i, k]:
            why = "seen too rarely to judge"
        elif bound[i, k] < WORTH:
            why = ""
        elif ahead[i, k] < hold[i, k] and now[i, k] < hold[i, k] and ahead[i, k] >= now[i, k]:
            why = "no better than smoothing without a lead"
        else:
            why = f"not surely better than the last place by {1 - WORTH:.0%}"
        return LeadFit(
            lead=float(outcome.leads[i]),
            predicts=not why,
            model=candidate.model,
            density=_rounded(outcome.density[:, best[i, k], k].sum()),
            hold_px=None if none else _rounded(hold[i, k]),
            model_px=None if none else _rounded(ahead[i, k]),
            now_px=None if none else _rounded(now[i, k]),
            ratio_at_most=_rounded(bound[i, k]) if np.isfinite(bound[i, k]) else None,
            cases=int(cases[i, k]),
            why=why,
        )

    return [tuple(of(k, i) for i in range(len(outcome.leads))) for k in range(cases.shape[1])]


def _bound(hold: Floats, ahead: Floats, now: Floats) -> Floats:
    """(L, K) what the ratio of errors is below, with confidence: a bootstrap over blocks of time (Künsch 1989).

    The prediction must beat both the last place and its own filter without a lead. A filter that hardly moves is closer
    than the last place to where a still animal is found next, because it averages jitter away. That is smoothing, which
    will lag as soon as the animal moves; what a lead adds must be worth something of its own.

    Args:
        hold: (B, L, K) sums of squared distances, of the last place.
        ahead: The same of the prediction.
        now: The same of the filter without a lead.
    """
    blocks = len(hold)
    drawn = np.random.default_rng(0).multinomial(blocks, np.full(blocks, 1 / blocks), size=RESAMPLES)
    of_hold, of_ahead, of_now = (np.tensordot(drawn, sums, axes=1) for sums in (hold, ahead, now))
    other = np.minimum(of_hold, of_now)
    ratio = np.sqrt(np.divide(of_ahead, other, out=np.full_like(other, np.inf), where=other > 0))
    # Linear interpolation next to an infinite ratio would give NaN.
    return np.quantile(ratio, CONFIDENCE, axis=0, method="higher")


def _rounded(value: float) -> float:
    """Six digits: more would only be harder to read."""
    return float(f"{value:.6g}")
