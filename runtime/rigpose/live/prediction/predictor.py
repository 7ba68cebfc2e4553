"""Where the animals of a live run will be, by a fit that knows what can be said of which keypoint."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.faults import LiveError
from rigpose.live.finding.pose_finder import Found
from rigpose.live.prediction.fitted import KeypointFit, MotionFit
from rigpose.live.prediction.last_places import HoldError, LastPlaces
from rigpose.live.prediction.motion_filter import Limits, MotionFilter
from rigpose.poses import Poses


@dataclass(frozen=True, eq=False)
class Prediction:
    """The animals of one frame, where they will be.

    Attributes:
        poses: The frame's animals in its order; scores are those of the frame, 0 for a keypoint that it did not show.
            Boxes and keypoints that exist once per frame stay where they were found.
        deviation: (N, K) standard deviation per coordinate [px]; for a keypoint that is held, what the back-test found.
            NaN where nothing is predicted, or where the back-test found nothing.
        moved: (K,) which keypoints are moved by a filter; the last place of the others is held.
    """

    poses: Poses
    deviation: Floats
    moved: Array


class Predictor:
    """Predicts the animals of all cameras; each camera's by their numbers.

    An animal without a number has no history, so that its keypoints stay where they are. Only sure measurements count:
    a keypoint that scores less than the fit's limit, or is missing, is predicted from the last sure ones for as long as
    the fit allows, and is NaN after that.

    Attributes:
        lead: How far ahead of its frame's exposure the last prediction was [s].
        latency: From a frame's exposure to its output, as the loop measures it and, from any thread, sets it here [s]:
            where the lead is not fixed, it follows from the next prediction on.
    """

    def __init__(
        self, fit: MotionFit, keypoints: Sequence[str], *, lead: float | None = None, actuator_delay: float = 0.0
    ) -> None:
        """Follow nothing yet.

        Args:
            fit: What may be said.
            keypoints: The bundle's, in its order.
            lead: How far ahead of a frame's exposure [s]; none follows ``latency``.
            actuator_delay: From the output's command to its effect on the animal [s], part of a lead that follows.

        Raises:
            LiveError: The bundle has other keypoints, or a lead that the fit has not judged.
        """
        if lead is not None and not 0 < lead <= fit.leads[-1]:
            raise LiveError(
                f"{fit.recording}: its fit judged leads of up to {1000 * fit.leads[-1]:g} ms and not "
                f"{1000 * lead:g} ms; fit again with that among the leads."
            )
        self.latency = 0.0
        self._fixed, self._delay = lead, actuator_delay
        self.lead = actuator_delay if lead is None else lead
        self._fits = fit.of_bundle(keypoints)
        self._leads, self._limits = fit.leads, fit.limits
        self._hold_error = HoldError(self._fits, np.array(fit.leads))
        self._settings = [_Setting.at(self._fits, i) for i in range(len(fit.leads))]
        self._beyond = self._settings[-1].holding()
        self._cameras: dict[str, _Followed] = {}

    def predict(self, frame: CapturedFrame, found: Found) -> Poses:
        """The same animals, ``lead`` after the frame's exposure [frame px]."""
        return self.prediction(frame, found).poses

    def prediction(self, frame: CapturedFrame, found: Found) -> Prediction:
        """The same, with how sure it is; a camera's frames come once each and in order."""
        self.lead = lead = self.latency + self._delay if self._fixed is None else self._fixed
        poses, many = found.poses, len(found.poses)
        setting = self._setting(lead)
        followed = self._cameras.get(frame.camera)
        if followed is None:
            followed = self._cameras[frame.camera] = _Followed(self._fits, self._limits, setting, frame.exposed)
        followed.advance(frame.exposed, setting)
        followed.arrange(found.ids)
        followed.correct(poses)
        place, deviation = followed.filter.ahead(lead)
        held, last = setting.held, followed.last
        if len(held):
            place = np.where(setting.moved[:, None], place, last.places)
            deviation[:, held] = self._hold_error.after(last.unseen[:, held] + lead, held)
        xy = place[:many].astype(poses.xy.dtype)
        score = poses.score.copy()
        np.copyto(score, 0.0, where=np.isnan(score))
        np.copyto(score, np.nan, where=np.isnan(place[:many, :, 0]))
        return Prediction(replace(poses, xy=xy, score=score), deviation[:many], setting.moved)

    def _setting(self, lead: float) -> _Setting:
        """That of the shortest judged lead that is as long; beyond all of them nothing is known, so all is held."""
        # The margin lets a lead that was written in milliseconds be the one that was judged.
        column = bisect_left(self._leads, lead - 1e-9)
        return self._settings[column] if column < len(self._settings) else self._beyond


@dataclass(frozen=True, eq=False)
class _Setting:
    """What to do at one lead: (K,) which keypoints are moved, (2, K) noise for the filter, and which are held."""

    moved: Array
    density: Floats
    held: Array

    @classmethod
    def at(cls, fits: Sequence[KeypointFit], column: int) -> _Setting:
        chosen = [fit.leads[column] for fit in fits]
        density = np.zeros((2, len(fits)))
        for k, each in enumerate(chosen):
            # The filter of a held keypoint goes on, in case a lead that follows becomes one at which it is moved.
            density[0 if each.model == "velocity" else 1, k] = each.density
        moved = np.array([each.predicts for each in chosen])
        return cls(moved, density, np.flatnonzero(~moved))

    def holding(self) -> _Setting:
        """The same for a lead that nobody judged: everything is held."""
        return _Setting(np.zeros_like(self.moved), self.density, np.arange(len(self.moved)))


class _Followed:
    """The animals of one camera: those of the last frame in its order, then those that it did not show."""

    def __init__(self, fits: Sequence[KeypointFit], limits: Limits, setting: _Setting, time: float) -> None:
        noise = np.array([fit.noise for fit in fits])
        self.filter = MotionFilter(0, limits=limits, noise=noise, density=setting.density)
        self.last = LastPlaces(len(fits), limits.coast)
        self._limits = limits
        self._setting, self._time = setting, time
        self._ids, self._gone = np.empty(0, np.int64), np.empty(0)
        self._all_shown: list[int] | None = None  # the rows, where the last frame showed all and each has a number

    def advance(self, time: float, setting: _Setting) -> None:
        """Go on to a frame's time."""
        # Exposures that are estimated from two clocks may go back by a little.
        seconds = max(0.0, time - self._time)
        self._time = time
        self._gone += seconds
        self.filter.advance(seconds)
        self.last.advance(seconds)
        if setting is not self._setting and not np.array_equal(setting.density, self._setting.density):
            self.filter.retune(setting.density)
        self._setting = setting

    def arrange(self, ids: Array) -> None:
        """Let the rows be these animals, then those that were there lately."""
        if ids.tolist() == self._all_shown:  # as nearly always
            self._gone[:] = 0.0
            return
        many = len(ids)
        stays = np.arange(len(self._ids)) >= many
        same = many <= len(stays) and not (self._ids[:many] != ids).any() and not (ids < 0).any()
        if not same:
            stays = ~np.isin(self._ids, ids) & (self._ids >= 0)
        late = self._gone > self._limits.coast
        if not same or (stays & late).any():
            rows = np.concatenate([_rows(ids, self._ids), np.flatnonzero(stays & ~late)])
            self.filter.take(rows)
            self.last.take(rows)
            self._ids = np.concatenate([ids, self._ids[rows[many:]]])
            self._gone = np.concatenate([np.zeros(many), self._gone[rows[many:]]])
        self._gone[:many] = 0.0
        self._all_shown = ids.tolist() if many == len(self._ids) and not (ids < 0).any() else None

    def correct(self, poses: Poses) -> None:
        """Take in the frame's animals [px], but for keypoints that are not sure."""
        sure = poses.score >= self._limits.least_score  # no score is no sight either
        measured = np.full((2, len(self._ids), poses.keypoints), np.nan)
        np.copyto(measured[:, : len(poses)], poses.xy.transpose(2, 0, 1), where=sure)
        self.filter.correct(measured.transpose(1, 2, 0))
        self.last.correct(measured.transpose(1, 2, 0))


def _rows(ids: Array, known: Array) -> Array:
    """(N,) where each animal is among those known; -1 for new ones and for those without a number."""
    row_of = {int(number): row for row, number in enumerate(known) if number >= 0}
    return np.array([row_of.get(int(number), -1) for number in ids], np.int64)
