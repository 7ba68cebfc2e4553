"""How animals are followed over time: every number of it, with its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rigpose.errors import ConfigError
from rigpose.schema import suggest

SUFFIXES = {"ellipse": "_el", "box": "_bx", "skeleton": "_sk"}
"""What DeepLabCut appends to the names of files of tracks, by method."""

THRESHOLDS = {"ellipse": 0.05, "box": 0.05, "skeleton": 0.05}
MIN_SIZE_PX = 16.0
MIN_SIZE_OF_ONE_KEYPOINT_PX = 80.0
"""A single point has no extent of its own; DeepLabCut draws a box of 40 px to each side around it."""


@dataclass(frozen=True)
class TrackingSettings:
    """How animals are followed, and how what was followed becomes one track per animal.

    Attributes:
        method: What is compared between a prediction and the animals of a frame: ellipses around the keypoints, their
            bounding boxes, or the keypoints one by one.
        threshold: Least similarity (0, 1) of a prediction and an animal that may be the same; None for the method's own
            (see ``THRESHOLDS``). Similarities fall fast with distance: 0.05 is about half a body length away from the
            prediction, more while the velocity is not yet known.
        max_age: For how many frames in a row an animal may be missing before its id ends [frames].
        min_hits: In how many frames an animal must be found, without a frame between them, before it gets an id
            [frames]. Until then it is -1.
        min_score: Least score of the keypoints that count [0, 1].
        min_size: Extent that an animal has at least, so that one visible keypoint can be compared [frame px]; None for
            16, or 80 for models of one keypoint.
        measurement_noise: Standard deviation of a measured position [animal lengths].
        acceleration: Standard deviation of the change of velocity from frame to frame [animal lengths / frame].
        use_identity: Whether the identities that a model tells count, when it tells any.
        identity_weight: How much the right identity speaks for, and a wrong one against, a match: the natural logarithm
            of a factor of the similarity.
        doubt: A match is doubtful when an other one is less than this much worse: the natural logarithm of the ratio of
            their similarities. ``track`` cuts there, and decides with the frames before and after at hand; the ids of
            ``Tracker`` go on.
        max_gap: Longest time without the animal that the two sides' motion is trusted across [frames].
        min_length: An additional piece of track must be about this long [frames] to be kept when nothing joins it to
            another; in videos of less than ten times this many frames, a tenth of their number.
    """

    method: Literal["ellipse", "box", "skeleton"] = "ellipse"
    threshold: float | None = None
    max_age: int = 5
    min_hits: int = 1
    min_score: float = 0.1
    min_size: float | None = None
    measurement_noise: float = 0.05
    acceleration: float = 0.1
    use_identity: bool = True
    identity_weight: float = 1.0
    doubt: float = 1.0
    max_gap: int = 100
    min_length: int = 10

    def __post_init__(self) -> None:
        if self.method not in SUFFIXES:
            known = ", ".join(map(repr, SUFFIXES))
            raise ConfigError(f"tracking.method: {self.method!r} is none of {known}{suggest(self.method, SUFFIXES)}.")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ConfigError(f"tracking.threshold: a similarity lies between 0 and 1, found {self.threshold!r}.")
        for name, least in (("max_age", 0), ("min_hits", 1), ("max_gap", 1), ("min_length", 1), ("doubt", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"tracking.{name}: must be at least {least}, found {getattr(self, name)!r}.")
        for name in ("measurement_noise", "acceleration", "min_size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"tracking.{name}: must be above 0, found {value!r}.")

    @property
    def least_similarity(self) -> float:
        """The threshold that was given, or the method's own."""
        return THRESHOLDS[self.method] if self.threshold is None else self.threshold

    def least_size(self, keypoints: int) -> float:
        """Extent of an animal at least [frame px], for a model of so many keypoints."""
        if self.min_size is not None:
            return self.min_size
        return MIN_SIZE_OF_ONE_KEYPOINT_PX if keypoints == 1 else MIN_SIZE_PX
