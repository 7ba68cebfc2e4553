"""The rules of a run, judged frame by frame on the inference thread."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Literal, TypeAlias

from rigpose.errors import ConfigError
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.finding.pose_finder import Found
from rigpose.live.triggers.change_log import TriggerChange
from rigpose.live.triggers.conditions import Combined, Rule, When
from rigpose.live.triggers.holding import Holding
from rigpose.live.triggers.rule_file import RuleFile, conditions_of, read_rules
from rigpose.live.triggers.timing import Timing
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.schema import suggest

_KEPT_CHANGES = 10_000

Bits: TypeAlias = tuple[int, int]
"""The animals for which something holds, and those for which it surely does not: bit n is row n."""


class Triggers:
    """Rules on poses: a mapping from their names to whether they hold now.

    Times are those of exposure. A rule whose camera is silent is switched off at the next frame of another one; where
    no frame comes at all, nobody asks, and outputs have their own safe state.

    Args:
        rules: As ``rule_file`` reads them.
        spec: What the poses are of.
        cameras: Names of the run's.
        predicting: Whether the run predicts poses.
        clock: For the log of changes.

    Raises:
        ConfigError: A rule of a camera or of predictions that there are not, or of no camera out of several.
    """

    def __init__(
        self,
        rules: RuleFile,
        spec: ModelSpec,
        cameras: Sequence[str],
        *,
        predicting: bool = False,
        clock: Clock = now,
    ) -> None:
        self._clock = clock
        self._lock = Lock()
        self._stale = rules.stale_seconds
        self._changes: deque[TriggerChange] = deque(maxlen=_KEPT_CHANGES)
        self.changed = 0
        """How often any rule went on or off; ``changes`` keeps the newest."""
        of_camera: dict[str, dict[str, Rule]] = {camera: {} for camera in cameras}
        for name, rule in rules.rules.items():
            of_camera[_camera_of(name, rule, cameras)][name] = rule
            if rule.poses == "predicted" and not predicting:
                raise ConfigError(
                    f"rules.{name}.poses: nothing predicts in this run; fit a predictor, or take poses: found."
                )
        self._cameras = {camera: _CameraRules(of, spec, camera) for camera, of in of_camera.items()}
        self._states = dict.fromkeys(rules.rules, False)
        self._shown: Mapping[str, bool] = MappingProxyType(dict(self._states))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rules, in the order of the file."""
        return tuple(self._states)

    @property
    def changes(self) -> tuple[TriggerChange, ...]:
        """The newest changes, the oldest of them first."""
        with self._lock:
            return tuple(self._changes)

    def judge(self, frame: CapturedFrame, found: Found, predicted: Poses | None = None) -> Mapping[str, bool]:
        """Whether each rule holds now, after this frame; what is returned does not change any more.

        Args:
            frame: Of a camera, each later than the one before.
            found: Its animals.
            predicted: The same animals where they will be; rules on them do not hold without.
        """
        with self._lock:
            for camera in self._cameras.values():
                if frame.exposed - camera.time > self._stale:
                    self._stop(camera, "stale")
            here = self._cameras.get(frame.camera)
            if here is not None:
                self._note(here, here.judge(frame, found, predicted), "rule")
            return self._shown

    def safe(self) -> Mapping[str, bool]:
        """Switch all rules off; what was seen before does not count any more."""
        with self._lock:
            for camera in self._cameras.values():
                self._stop(camera, "safe")
            return self._shown

    def _stop(self, camera: _CameraRules, cause: Literal["stale", "safe"]) -> None:
        if camera.fresh:
            camera.stop()
            self._note(camera, dict.fromkeys(camera.names, False), cause)

    def _note(self, camera: _CameraRules, states: Mapping[str, bool], cause: Literal["rule", "stale", "safe"]) -> None:
        changed = [name for name, on in states.items() if on != self._states[name]]
        if not changed:
            return
        at = self._clock()
        for name in changed:
            on = self._states[name] = states[name]
            self._changes.append(TriggerChange(name, on, cause, camera.name, camera.frame, camera.time, at))
        self.changed += len(changed)
        self._shown = MappingProxyType(dict(self._states))


def read_triggers(
    path: str | Path, spec: ModelSpec, cameras: Sequence[str], *, predicting: bool = False, clock: Clock = now
) -> Triggers:
    """The rules of a file, for a run of this model with these cameras.

    Raises:
        ConfigError: The file cannot be read, or says something that has no meaning here.
    """
    rules = read_rules(path, spec.keypoints)
    try:
        return Triggers(rules, spec, cameras, predicting=predicting, clock=clock)
    except ConfigError as error:
        raise ConfigError(f"{path}.{error}") from error


class _CameraRules:
    """The rules on one camera's frames.

    Attributes:
        name: Of the camera.
        names: Of the rules.
        frame: Number of the last frame.
        time: When it was exposed [s].
        fresh: Whether there is anything to forget.
    """

    def __init__(self, rules: Mapping[str, Rule], spec: ModelSpec, camera: str) -> None:
        self.name, self.names = camera, tuple(rules)
        self.frame, self.time, self.fresh = -1, -math.inf, False
        self._one_animal = spec.task == "single_animal"
        found = _Conditions([rule for rule in rules.values() if rule.poses == "found"], spec.keypoints)
        predicted = _Conditions([rule for rule in rules.values() if rule.poses == "predicted"], spec.keypoints)
        self._found, self._predicted = found, predicted
        self._rules = [
            _Judged(
                name,
                rule.animal,
                (found if rule.poses == "found" else predicted).judge_of(rule),
                Timing(rule.for_seconds, rule.refractory_seconds, rule.longest_seconds),
                predicted=rule.poses == "predicted",
            )
            for name, rule in rules.items()
        ]

    def judge(self, frame: CapturedFrame, found: Found, predicted: Poses | None) -> dict[str, bool]:
        time = self.time = max(frame.exposed, self.time)  # a clock that is fitted anew may step back a little
        self.frame, self.fresh = frame.number, True
        ids = [0] if self._one_animal and len(found.poses) == 1 else found.ids.tolist()
        of_found = self._found.update(time, ids, found.poses)
        of_predicted = None if predicted is None else self._predicted.update(time, ids, predicted)
        states = {}
        for rule in self._rules:
            known = of_predicted if rule.predicted else of_found
            bits = 0 if known is None else rule.holds(*known)[0]
            holding = [number for at, number in enumerate(ids) if bits >> at & 1] if bits else []
            if rule.animal != "any":
                holding = [number for number in holding if number == rule.animal]
            states[rule.name] = rule.timing.update(time, holding)
        return states

    def stop(self) -> None:
        self.fresh = False
        self._found.holding.forget()
        self._predicted.holding.forget()
        for rule in self._rules:
            rule.timing.stop(self.time)


@dataclass(frozen=True)
class _Judged:
    """A rule, ready to be judged."""

    name: str
    animal: int | Literal["any"]
    holds: Callable[[list[int], list[int]], Bits]
    timing: Timing
    predicted: bool


class _Conditions:
    """All conditions of some rules, judged together."""

    def __init__(self, rules: Sequence[Rule], keypoints: tuple[str, ...]) -> None:
        listed = [(condition, rule.min_score or 0.0) for rule in rules for condition in conditions_of(rule.when)]
        self.holding = Holding(listed, keypoints)
        self._empty = not listed
        self._next = iter(range(len(listed)))

    def update(self, time: float, ids: Sequence[int], poses: Poses) -> tuple[list[int], list[int]]:
        return ([], []) if self._empty else self.holding.update(time, ids, poses)

    def judge_of(self, rule: Rule) -> Callable[[list[int], list[int]], Bits]:
        """What judges the rule; asked for in the order of the rules."""
        return self._compiled(rule.when)

    def _compiled(self, when: When) -> Callable[[list[int], list[int]], Bits]:
        if not isinstance(when, Combined):
            column = self.holding.column[next(self._next)]
            return lambda true, false: (true[column], false[column])
        parts = [self._compiled(part) for part in when.parts]
        if when.how == "not":
            return lambda true, false: _not(parts[0](true, false))
        both = _all if when.how == "all" else _any
        return lambda true, false: both([part(true, false) for part in parts])


def _all(parts: Sequence[Bits]) -> Bits:
    true, false = parts[0]
    for more_true, more_false in parts[1:]:
        true, false = true & more_true, false | more_false
    return true, false


def _any(parts: Sequence[Bits]) -> Bits:
    return _not(_all([_not(part) for part in parts]))


def _not(part: Bits) -> Bits:
    true, false = part
    return false, true


def _camera_of(name: str, rule: Rule, cameras: Sequence[str]) -> str:
    if rule.camera is None:
        if len(cameras) != 1:
            raise ConfigError(f"rules.{name}.camera: missing; say which of {', '.join(cameras)} it is judged on.")
        return cameras[0]
    if rule.camera not in cameras:
        near = suggest(rule.camera, cameras)
        raise ConfigError(
            f"rules.{name}.camera: there is no camera {rule.camera}{near}; this run has {', '.join(cameras)}."
        )
    return rule.camera
