"""The file of rules, strictly.

    min_score: 0.6           # keypoints that score less are missing
    rules:
      reward:
        when:
          all:
            - in_polygon: {keypoint: snout, polygon: [[0, 0], [120, 0], [120, 90], [0, 90]], leave_margin: 5}
            - speed: {keypoint: centre, below: 40, leave: 60}
            - not: {angle: {keypoints: [snout, neck, tail], below: 90}}
        for_seconds: 0.1
        refractory_seconds: 2
        longest_seconds: 0.5

All distances are in pixels of the frame, speeds in pixels per second, angles in degrees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rigpose.errors import ConfigError
from rigpose.live.triggers.conditions import (
    CENTRE,
    Angle,
    Combined,
    Condition,
    Distance,
    InPolygon,
    Rule,
    Score,
    Speed,
    When,
)
from rigpose.schema import parse, suggest

T = TypeVar("T")

_CONDITIONS: dict[str, type[Condition]] = {
    "in_polygon": InPolygon,
    "speed": Speed,
    "distance": Distance,
    "angle": Angle,
    "score": Score,
}
_COMBINATIONS = ("all", "any", "not")


@dataclass(frozen=True, kw_only=True)
class RuleFile:
    """Rules, and what they have in common.

    Attributes:
        rules: Name -> rule. Names are of letters, digits, ``_`` and ``-``: outputs make addresses of them.
        min_score: For rules that have none of their own.
        stale_seconds: A rule whose camera gave nothing for longer is off, and begins anew.
    """

    rules: dict[str, Any]
    min_score: float = 0.6
    stale_seconds: float = 0.5

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("there are no rules; add one below rules.")
        if not 0 < self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score:g}; give a number above 0 up to 1.")
        if not 0 < self.stale_seconds <= 60:
            raise ValueError(f"stale_seconds is {self.stale_seconds:g}; give a number above 0 up to 60.")


def read_rules(path: str | Path, keypoints: tuple[str, ...]) -> RuleFile:
    """Read a file of rules for a model with these keypoints.

    Raises:
        ConfigError: It is not there, is no YAML, or says something that has no meaning here.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); name a YAML file of trigger rules.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" in line {mark.line + 1}"
        raise ConfigError(f"{path}: is no YAML{line}; check indentation, colons and brackets there.") from error
    return parse_rules(content, keypoints, where=str(path))


def parse_rules(content: object, keypoints: tuple[str, ...], *, where: str) -> RuleFile:
    """The same from what a file held.

    Raises:
        ConfigError: As ``read_rules``.
    """
    file = _checked(RuleFile, content, where)
    rules: dict[str, Rule] = {}
    for name, mapping in file.rules.items():
        place = f"{where}.rules.{name}"
        if not re.fullmatch(r"[\w-]+", name, re.ASCII):
            raise ConfigError(f"{place}: outputs make addresses of names; use letters, digits, _ and -.")
        rule = _checked(Rule, mapping, place)
        when = _when(rule.when, f"{place}.when")
        for condition in conditions_of(when):
            for point in condition.points:
                if point not in keypoints and point != CENTRE:
                    raise ConfigError(
                        f"{place}.when: the model has no keypoint {point}{suggest(point, [*keypoints, CENTRE])}."
                    )
        least = file.min_score if rule.min_score is None else rule.min_score
        rules[name] = replace(rule, when=when, min_score=least)
    return replace(file, rules=rules)


def conditions_of(when: When) -> Iterator[Condition]:
    """All conditions inside, from left to right."""
    if isinstance(when, Combined):
        for part in when.parts:
            yield from conditions_of(part)
    else:
        yield when


def _when(node: object, where: str) -> When:
    if not isinstance(node, Mapping) or len(node) != 1:
        known = ", ".join([*_CONDITIONS, *_COMBINATIONS])
        raise ConfigError(f"{where}: expected one of {known} with what belongs to it, found {str(node)[:80]}.")
    [(word, inside)] = node.items()
    if word in _CONDITIONS:
        return _checked(_CONDITIONS[word], inside, f"{where}.{word}")
    if word == "not":
        return Combined("not", (_when(inside, f"{where}.not"),))
    if word in ("all", "any"):
        if not isinstance(inside, list) or not inside:
            raise ConfigError(f"{where}.{word}: expected a list of conditions, each with a dash before it.")
        return Combined(word, tuple(_when(part, f"{where}.{word}[{i}]") for i, part in enumerate(inside)))
    raise ConfigError(f"{where}.{word}: unknown key{suggest(word, [*_CONDITIONS, *_COMBINATIONS])}.")


def _checked(cls: type[T], mapping: object, where: str) -> T:
    try:
        return parse(cls, mapping, where=where)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
