"""What a back-test found out, as the file that a live run loads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

import yaml

from rigpose.errors import ConfigError
from rigpose.files.results import whole_file
from rigpose.live.faults import LiveError
from rigpose.live.prediction.motion_filter import Limits
from rigpose.schema import parse, to_mapping

FORMAT = 1
"""Version of the file; others are refused."""

Model: TypeAlias = Literal["velocity", "acceleration"]


@dataclass(frozen=True)
class LeadFit:
    """One keypoint at one lead. Distances are root mean squares against where it was seen later [px].

    Attributes:
        lead: How far ahead [s].
        predicts: Whether the model below runs; else the last place is held.
        model: What is constant but for noise, in the better of the models that were tried.
        density: Spectral density of that noise: of the acceleration [px²/s³], or of the jerk [px²/s⁵].
        hold_px: Of the last place; none where there was nothing to judge.
        model_px: Of the model's prediction.
        now_px: Of the model's place without a lead: what its smoothing alone is worth.
        ratio_at_most: Of ``model_px`` over the smaller of the other two, with the confidence of the back-test.
        cases: How many were judged.
        why: Why the last place is held; empty where the model runs.
    """

    lead: float
    predicts: bool
    model: Model
    density: float
    hold_px: float | None
    model_px: float | None
    now_px: float | None
    ratio_at_most: float | None
    cases: int
    why: str = ""


@dataclass(frozen=True)
class KeypointFit:
    """One keypoint.

    Attributes:
        name: Of the keypoint.
        noise: Standard deviation of a measurement, per coordinate [px].
        leads: The shortest first.
    """

    name: str
    noise: float
    leads: tuple[LeadFit, ...]


@dataclass(frozen=True)
class MotionFit:
    """The whole file.

    Attributes:
        rigpose_motion: Version of the format.
        rigpose: Version that wrote it.
        recording: What was gone through.
        seconds: Its length.
        frames: That the filters were given.
        animals: Of the recording.
        interval: Median time between these frames [s].
        limits: What is taken in, and for how long.
        leads: The shortest first [s].
        keypoints: In the recording's order.
    """

    rigpose_motion: int
    rigpose: str
    recording: str
    seconds: float
    frames: int
    animals: int
    interval: float
    limits: Limits
    leads: tuple[float, ...]
    keypoints: tuple[KeypointFit, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the keypoints."""
        return tuple(keypoint.name for keypoint in self.keypoints)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        text = yaml.safe_dump(to_mapping(self), sort_keys=False, allow_unicode=True)
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> MotionFit:
        """Read the file.

        Raises:
            ConfigError: It is not there, is damaged, or is of another version.
        """
        path = Path(path)
        again = "make it again with: rigpose live fit"
        try:
            fields = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: cannot be read as the fit of a recording; {again}.") from error
        if not isinstance(fields, dict) or "rigpose_motion" not in fields:
            raise ConfigError(f"{path}: is no fit of a recording (rigpose_motion is missing); {again}.")
        if fields["rigpose_motion"] != FORMAT:
            raise ConfigError(
                f"{path}: fit of format {fields['rigpose_motion']!r}, and this rigpose reads {FORMAT}; {again}."
            )
        fit = parse(cls, fields, where=str(path))
        if wrong := _wrong(fit):
            raise ConfigError(f"{path}: {wrong}; {again}.")
        return fit

    def of_bundle(self, keypoints: Sequence[str]) -> tuple[KeypointFit, ...]:
        """The fits of a bundle's keypoints, in the bundle's order.

        Raises:
            LiveError: The bundle has other keypoints.
        """
        by_name = {keypoint.name: keypoint for keypoint in self.keypoints}
        if set(by_name) != set(keypoints):
            sides = (("the bundle", set(keypoints) - set(by_name)), ("the fit", set(by_name) - set(keypoints)))
            only = " and ".join(f"only {who} has {', '.join(sorted(names))}" for who, names in sides if names)
            raise LiveError(
                f"{self.recording}: its fit is of other keypoints ({only}); fit a recording that this bundle analysed."
            )
        return tuple(by_name[name] for name in keypoints)


def _wrong(fit: MotionFit) -> str:
    """What does not go together, in words; empty where all does."""
    names = fit.names
    if not names or len(set(names)) < len(names):
        return "keypoints must be there, each once"
    if not fit.leads or not all(a < b for a, b in pairwise((0.0, *fit.leads, math.inf))):
        return "leads must rise from above 0"
    limits = fit.limits
    if not (0 <= limits.least_score <= 1 and limits.gate > 0 and limits.restart_after >= 1 and limits.coast >= 0):
        return "limits make no sense"
    for keypoint in fit.keypoints:
        if not 0 < keypoint.noise < math.inf:
            return f"the noise of {keypoint.name} must be above 0"
        if tuple(each.lead for each in keypoint.leads) != fit.leads:
            return f"{keypoint.name} has other leads than the file"
        if not all(0 <= each.density < math.inf for each in keypoint.leads):
            return f"the densities of {keypoint.name} must be 0 or more"
    return ""
