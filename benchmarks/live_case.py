"""What the live benchmarks run: a model of exact duration, rules, prediction, and the queue's expected figures."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from turns import rounded

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Array, Floats
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import now
from rigpose.live.finding.pose_finder import Found, PoseFinder
from rigpose.live.finding.whole_frame import WholeFrameFinder
from rigpose.live.live_pose import LivePose
from rigpose.live.outputs.output import Output
from rigpose.live.prediction.fitted import FORMAT, KeypointFit, LeadFit, MotionFit
from rigpose.live.prediction.motion_filter import Limits
from rigpose.live.prediction.predictor import Predictor
from rigpose.live.running.capture import Tap
from rigpose.live.running.loop import LiveRun
from rigpose.live.running.run_options import LiveOptions
from rigpose.live.sources.frame_source import FrameSource
from rigpose.live.status import RunStatus
from rigpose.live.triggers.rule_file import parse_rules
from rigpose.live.triggers.triggers import Triggers
from rigpose.live.watched_session import TakesTime, watch_sessions
from rigpose.models.model_spec import ModelSpec

SPEC = ModelSpec("single_animal", "stand-in", ("snout", "left ear", "right ear", "neck", "back", "hip", "tail", "tip"))
Figures: TypeAlias = dict[str, dict[str, Any]]
"""Figure -> its turns, and what is expected of it."""
JITTER = 0.15
"""Standard deviation of a model's duration where it has one, as a part of its mean."""


def figure(turns: Sequence[float], expected: float | str | None = None) -> dict[str, Any]:
    """One of a line's figures."""
    return {"turns": rounded(turns, 4), "expected": expected}


class ExactSession:
    """A graph that takes as long as it is told to, without a processor: as one on a GPU that is waited for."""

    device = "stand-in"

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        keypoints = np.random.default_rng(1).uniform(50, 400, (1, len(SPEC.keypoints), 3))
        keypoints[..., 2] = 0.9
        self._keypoints = keypoints.astype(np.float32)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See ``rigpose.sessions.Session``."""
        if (seconds := self._seconds()) > 0:
            time.sleep(seconds)
        return {"keypoints": np.repeat(self._keypoints, len(inputs["frames"]), axis=0)}


def exact_finder(seconds: Callable[[], float]) -> WholeFrameFinder:
    """The product's own finder and analyzer around a graph of exact duration."""
    return WholeFrameFinder(Analyzer(SPEC, ExactSession(seconds)), None)


@dataclass
class TimedFinder:
    """A finder, and what each frame took.

    Attributes:
        finder: It.
        session_time: What its sessions take.
        found: Camera -> from taking a frame to its poses [ms], in order.
        overhead: The same without the sessions.
    """

    finder: PoseFinder
    session_time: TakesTime
    found: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    overhead: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def exact(cls, seconds: Callable[[], float]) -> TimedFinder:
        """Around a graph of exact duration [s]."""
        finder = exact_finder(seconds)
        return cls(finder, watch_sessions(finder))

    @property
    def spec(self) -> ModelSpec:
        """See ``PoseFinder``."""
        return self.finder.spec

    @property
    def device(self) -> str:
        """See ``PoseFinder``."""
        return self.finder.device

    def warm_up(self, height: int, width: int, frames: int) -> None:
        """See ``PoseFinder``."""
        self.finder.warm_up(height, width, frames)

    def find(self, frames: Sequence[CapturedFrame]) -> list[Found]:
        """See ``PoseFinder``."""
        begun, before = now(), self.session_time.seconds
        told = self.finder.find(frames)
        seconds = now() - begun
        for frame in frames:
            self.found[frame.camera].append(1000 * seconds)
            self.overhead[frame.camera].append(1000 * (seconds - self.session_time.seconds + before))
        return told

    def forget(self, camera: str) -> None:
        """See ``PoseFinder``."""
        self.finder.forget(camera)


class PlainOutput:
    """Calls something with each result.

    Attributes:
        name: See ``Output``.
    """

    def __init__(self, name: str = "plain", send: Callable[[LivePose], object] = lambda _: None) -> None:
        self.name, self._send = name, send

    def open(self) -> None:
        """See ``Output``."""

    def send(self, pose: LivePose) -> None:
        """See ``Output``."""
        self._send(pose)

    def safe(self) -> None:
        """See ``Output``."""

    def close(self) -> None:
        """See ``Output``."""


def played(  # noqa: PLR0913  # the parts of a run, as ``LiveRun`` names them
    finder: PoseFinder,
    sources: Sequence[FrameSource],
    session_time: TakesTime,
    *,
    outputs: Sequence[Output] = (),
    recorders: Sequence[Output] = (),
    taps: Sequence[Tap] = (),
    predictor: Predictor | None = None,
    triggers: Triggers | None = None,
    options: LiveOptions | None = None,
    started: Callable[[LiveRun], object] = lambda _: None,
) -> RunStatus:
    """A run, from its start until its cameras have come to their end.

    Args:
        finder: As of ``LiveRun``, and so are the next ones.
        sources: See there; they end by themselves.
        session_time: See there.
        outputs: See there.
        recorders: See there.
        taps: See there.
        predictor: See there.
        triggers: See there.
        options: See there.
        started: Told the run before it starts.
    """
    run = LiveRun(
        finder,
        sources,
        outputs=outputs,
        recorders=recorders,
        taps=taps,
        predictor=predictor,
        triggers=triggers,
        options=options,
        session_time=session_time,
    )
    started(run)
    try:
        run.start()
        run.wait()
    finally:
        status = run.stop()
    if not all(counts.closed for counts in status.cameras.values()):
        raise SystemExit(f"a run lost count of its frames: {status.cameras}")
    return status


def ten_rules(camera: str, keypoints: tuple[str, ...] = SPEC.keypoints, spec: ModelSpec = SPEC) -> Triggers:
    """Two rules of each kind, on a model of three keypoints or more."""
    first, second, third = keypoints[0], keypoints[len(keypoints) // 2], keypoints[-1]
    inside = {"in_polygon": {"keypoint": first, "polygon": [[0, 0], [320, 0], [320, 240], [0, 240]]}}
    rules: dict[str, object] = {}
    for i in range(2):
        rules[f"in{i}"] = {"when": {"in_polygon": {**inside["in_polygon"], "leave_margin": 3 + i}}}
        rules[f"fast{i}"] = {"when": {"speed": {"keypoint": "centre", "above": 100}}, "refractory_seconds": 1}
        rules[f"near{i}"] = {"when": {"distance": {"keypoints": [first, third], "below": 40 + i}}}
        rules[f"bent{i}"] = {"when": {"angle": {"keypoints": [first, second, third], "below": 90}}}
        rules[f"both{i}"] = {"when": {"all": [inside, {"not": {"score": {"keypoint": third, "below": 0.5}}}]}}
    return Triggers(parse_rules({"rules": rules}, keypoints, where="rules"), spec, [camera])


def predictor_of(keypoints: Sequence[str], lead: float = 0.05) -> Predictor:
    """Three of four keypoints are moved by a filter, and one is held, as a back-test usually decides."""
    fits = []
    for k, name in enumerate(keypoints):
        moved = k % 4 > 0
        judged = LeadFit(lead, moved, "velocity", 1e4, 20.0, 2.0, 20.0, 0.5, 1000, "" if moved else "still")
        fits.append(KeypointFit(name, 1.0, (judged,)))
    fit = MotionFit(FORMAT, "1", "made up", 60.0, 6000, 1, 0.01, Limits(), (lead,), tuple(fits))
    return Predictor(fit, keypoints, lead=lead)


def jittered(seconds: float, seed: int) -> Callable[[], float]:
    """Durations around a mean [s], as networks have them."""
    rng = np.random.default_rng(seed)
    return lambda: max(0.0, rng.normal(seconds, JITTER * seconds))


def latest_wins(period: float, durations: Sequence[float]) -> tuple[Floats, float]:
    """What a queue of one frame whose newest frame wins gives where nothing else takes any time.

    Args:
        period: From frame to frame [s].
        durations: Of the model, frame by frame [s].

    Returns:
        The age of each frame that became poses [s], and the part of all frames that were superseded.
    """
    time_now, last, superseded = 0.0, -1, 0
    ages = np.empty(len(durations))
    for i, seconds in enumerate(durations):
        newest = int(time_now / period + 1e-9)
        if newest <= last:  # there is no new one yet
            newest = last + 1
            time_now = newest * period
        superseded += newest - last - 1
        last = newest
        time_now += seconds
        ages[i] = time_now - newest * period
    return ages, superseded / (last + 1)
