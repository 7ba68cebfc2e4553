"""What a rule may ask of an animal, and how rules are put together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

CENTRE = "centre"
"""In place of a keypoint's name: the mean of the animal's sure keypoints, unless the model has a keypoint so named."""


@dataclass(frozen=True, kw_only=True)
class InPolygon:
    """A keypoint lies inside a polygon or on its border.

    Attributes:
        keypoint: Its name, or ``centre``.
        polygon: Corners x, y [frame px], at least three; the last is joined to the first.
        leave_margin: An animal that was inside has left when it is further outside than this [px].
    """

    keypoint: str
    polygon: tuple[tuple[float, float], ...]
    leave_margin: float = 0.0

    def __post_init__(self) -> None:
        if len(self.polygon) < 3:
            raise ValueError(f"a polygon of {len(self.polygon)} corners has no inside; give three or more.")
        if not all(math.isfinite(side) for corner in self.polygon for side in corner):
            raise ValueError("a corner is no point; give finite numbers.")
        if not 0 <= self.leave_margin < math.inf:
            raise ValueError(f"leave_margin is {self.leave_margin:g} px; give 0 or more.")

    @property
    def points(self) -> tuple[str, ...]:
        """Keypoints that it needs."""
        return (self.keypoint,)


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """A number that is above or below a limit. The two limits of a hysteresis keep noise from switching it.

    Attributes:
        above: Holds from here on upwards.
        below: Holds from here on downwards; one of the two is given.
        leave: Holds no more once the number is beyond this one; none for the same limit.
    """

    above: float | None = None
    below: float | None = None
    leave: float | None = None

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError("give one of above and below.")
        if not (math.isfinite(self.enter) and (self.leave is None or math.isfinite(self.leave))):
            raise ValueError("a limit is no number; give finite ones.")
        if self.leave is not None and self.sign * self.leave > self.sign * self.enter:
            side, word = ("above", "at most") if self.above is not None else ("below", "at least")
            raise ValueError(f"leave is {self.leave:g} and {side} is {self.enter:g}; leave must be {word} that.")

    @property
    def sign(self) -> float:
        """1 if it holds upwards, -1 if downwards."""
        return 1.0 if self.above is not None else -1.0

    @property
    def enter(self) -> float:
        """The limit from which on it holds."""
        limit = self.above if self.above is not None else self.below
        return math.nan if limit is None else limit

    @property
    def limits(self) -> tuple[float, float, float]:
        """Sign, where it begins to hold, and until where it goes on."""
        return self.sign, self.enter, self.enter if self.leave is None else self.leave


@dataclass(frozen=True, kw_only=True)
class Speed(_Measured):
    """How fast a keypoint goes [px/s].

    Attributes:
        keypoint: Its name, or ``centre``.
        over_seconds: The way since so long ago counts, by exposure times, or since the frame before if that is longer
            ago. Short times answer soon and are noisy: 1 px of noise is 140 px/s over 0.01 s, and 28 px/s over 0.05 s.
    """

    keypoint: str
    over_seconds: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.over_seconds <= 1:
            raise ValueError(f"over_seconds is {self.over_seconds:g}; give 0 to 1.")

    @property
    def points(self) -> tuple[str, ...]:
        """Keypoints that it needs."""
        return (self.keypoint,)


@dataclass(frozen=True, kw_only=True)
class Distance(_Measured):
    """How far apart two keypoints of an animal are [px]."""

    keypoints: tuple[str, str]

    @property
    def points(self) -> tuple[str, ...]:
        """Keypoints that it needs."""
        return self.keypoints


@dataclass(frozen=True, kw_only=True)
class Angle(_Measured):
    """The angle at the second of three keypoints of an animal, 0 (folded) to 180 (straight) [degrees]."""

    keypoints: tuple[str, str, str]

    @property
    def points(self) -> tuple[str, ...]:
        """Keypoints that it needs."""
        return self.keypoints


@dataclass(frozen=True, kw_only=True)
class Score(_Measured):
    """How sure the model is of a keypoint [0, 1]; ``min_score`` does not count here, a missing keypoint does."""

    keypoint: str

    @property
    def points(self) -> tuple[str, ...]:
        """Keypoints that it needs."""
        return (self.keypoint,)


Condition: TypeAlias = InPolygon | Speed | Distance | Angle | Score


@dataclass(frozen=True)
class Combined:
    """Several in one. What cannot be known holds neither as it is nor with ``not`` before it.

    Attributes:
        how: Whether all of the parts must hold, any of them, or the only one must not.
        parts: One or more.
    """

    how: Literal["all", "any", "not"]
    parts: tuple[Combined | Condition, ...]


When: TypeAlias = Combined | Condition


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When one thing is to happen.

    Attributes:
        when: What must hold of one animal; as written in the file, see ``rule_file``.
        animal: Number of the animal (``Found.ids``) that counts, or any.
        camera: Whose frames count; none where there is only one.
        poses: Of where the animals were found, or of where they will be.
        min_score: Keypoints that score less are missing, and what needs them does not hold; none for the file's.
        for_seconds: The same animal must have fulfilled it for so long, in every frame.
        refractory_seconds: Least time from its end to its next beginning.
        longest_seconds: Most time from its beginning to its end; it must then be left before it begins again.
    """

    when: Any
    animal: int | Literal["any"] = "any"
    camera: str | None = None
    poses: Literal["found", "predicted"] = "found"
    min_score: float | None = None
    for_seconds: float = 0.0
    refractory_seconds: float = 0.0
    longest_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.min_score is not None and not 0 < self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score:g}; give a number above 0 up to 1.")
        for name in ("for_seconds", "refractory_seconds", "longest_seconds"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 <= seconds < math.inf:
                raise ValueError(f"{name} is {seconds:g}; give 0 or more.")
