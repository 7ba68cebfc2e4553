"""Poses and triggers as Lab Streaming Layer streams, beside the EEG, the eye tracker and the others of a lab.

Two streams: ``NAME`` of type MoCap, with number, x, y and score of keypoints for a fixed number of animals, and
``NAME triggers`` of type Markers, with ``RULE on`` and ``RULE off``. A sample's time is that of the exposure, by LSL's
clock. The rate is irregular, because frames may be left out, and no rate has to be made up for them.

An animal keeps its block of channels as long as it keeps its number; a missing one is NaN. What is pushed is kept for
inlets that read late, as LSL does, and nothing waits for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import MissingExtraError
from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError
from rigpose.live.live_pose import LivePose
from rigpose.models.model_spec import ModelSpec

if TYPE_CHECKING:
    import pylsl

_SHORT = 100e-6
"""Reading LSL's clock between two readings of ours takes less than this [s], unless a thread got in between."""
_KEPT = 60
"""For inlets that are late [s]."""


class LslOutput:
    """A stream of poses and one of markers.

    Args:
        stream: Name of the first; the second is called so with `` triggers`` behind.
        spec: What the poses are of.
        animals: How many have channels; none for as many as the model has individuals.
        camera: Whose poses these are; none where there is only one camera.
        clock: The run's.
    """

    def __init__(
        self, stream: str, spec: ModelSpec, *, animals: int | None = None, camera: str | None = None, clock: Clock = now
    ) -> None:
        self.name = f"lsl://{stream}"
        self._stream, self._spec, self._camera, self._clock = stream, spec, camera, clock
        self._animals = len(spec.individuals) if animals is None else animals
        self._only: str | None = None
        self._block: dict[int, int] = {}
        self._shift: float | None = None
        self._poses: pylsl.StreamOutlet | None = None
        self._markers: pylsl.StreamOutlet | None = None
        self._last: dict[str, bool] = {}

    def open(self) -> None:
        """Announce the streams.

        Raises:
            LiveError: LSL cannot make them.
            MissingExtraError: pylsl, or the library that it wraps, is missing.
        """
        try:
            import pylsl
        except (ImportError, RuntimeError) as error:  # the latter where its binary library is not found
            cause = str(error).strip().splitlines()[0]
            raise MissingExtraError(
                f'{self.name}: needs pylsl, which is missing ({cause}); pip install "rigpose[lsl]".'
            ) from error
        columns = self._animals * (1 + 3 * len(self._spec.keypoints))
        source = f"rigpose {self._stream}"
        info = pylsl.StreamInfo(self._stream, "MoCap", columns, pylsl.IRREGULAR_RATE, pylsl.cf_float32, source)
        self._describe(info)
        marked = pylsl.StreamInfo(
            f"{self._stream} triggers", "Markers", 1, pylsl.IRREGULAR_RATE, pylsl.cf_string, f"{source} triggers"
        )
        try:
            self._poses = pylsl.StreamOutlet(info, max_buffered=_KEPT)
            self._markers = pylsl.StreamOutlet(marked, max_buffered=_KEPT)
        except RuntimeError as error:
            raise LiveError(f"{self.name}: Lab Streaming Layer cannot make a stream ({error}); see its log.") from error

    def send(self, pose: LivePose) -> None:
        """Push one result, and the rules that have changed.

        Raises:
            LiveError: It is not of the same camera as the last one, and nobody said which is meant.
        """
        if self._poses is None:
            raise LiveError(f"{self.name}: is not open; open it first.")
        time = pose.stamps.exposed + self._to_lsl()
        self._mark(dict(pose.triggers), time)
        if self._camera is None and pose.frame.camera != (self._only or pose.frame.camera):
            raise LiveError(
                f"{self.name}: a stream is of one camera, and there are {self._only} and {pose.frame.camera}; say "
                "which one with camera=NAME."
            )
        self._only = pose.frame.camera
        if self._only != (self._camera or self._only):
            return
        self._poses.push_sample(self._sample(pose).tolist(), time)

    def safe(self) -> None:
        """Mark the end of every rule that holds."""
        if self._markers is not None:
            self._mark(dict.fromkeys(self._last, False), self._clock() + self._to_lsl())

    def close(self) -> None:
        """Take the streams back."""
        self.safe()
        self._poses = self._markers = None

    def _mark(self, states: dict[str, bool], time: float) -> None:
        for rule, on in states.items():
            if on != self._last.get(rule, False) and self._markers is not None:
                self._markers.push_sample([f"{rule} {'on' if on else 'off'}"], time)
        self._last = states

    def _sample(self, pose: LivePose) -> Floats:
        """(A * (1 + 3K),) number, then x, y, score of each keypoint, per animal; NaN for none."""
        values = np.full((self._animals, 1 + 3 * len(self._spec.keypoints)), np.nan, np.float32)
        ids = pose.ids.tolist()
        known = [number for number in ids if number >= 0]
        self._block = {number: block for number, block in self._block.items() if number in known}
        for row, number in enumerate(ids):
            block = self._block.get(number)
            if block is None:
                taken = set(self._block.values()) | set(np.flatnonzero(~np.isnan(values[:, 0])).tolist())
                block = next((free for free in range(self._animals) if free not in taken), None)
                if block is None:
                    continue
                if number >= 0:
                    self._block[number] = block
            values[block] = [number, *pose.poses.to_array()[row].ravel()]
        return values.ravel()

    def _to_lsl(self) -> float:
        """Seconds from our clock to LSL's, measured anew: clocks of different origin may drift."""
        import pylsl

        before = self._clock()
        there = pylsl.local_clock()
        after = self._clock()
        shift = there - (before + after) / 2
        if self._shift is not None and after - before >= _SHORT:
            return self._shift
        self._shift = shift
        return shift

    def _describe(self, info: pylsl.StreamInfo) -> None:
        """Names of all channels, as the standard for motion capture has them."""
        channels = info.desc().append_child("channels")
        for animal in range(self._animals):
            wanted = [("number", "AnimalNumber", "")]
            for keypoint in self._spec.keypoints:
                wanted += [
                    (f"{keypoint} x", "PositionX", "pixels"),
                    (f"{keypoint} y", "PositionY", "pixels"),
                    (f"{keypoint} score", "Confidence", "normalized"),
                ]
            for label, kind, unit in wanted:
                channel = channels.append_child("channel")
                channel.append_child_value("label", f"animal {animal} {label}")
                channel.append_child_value("type", kind)
                channel.append_child_value("unit", unit)
        made = info.desc().append_child("acquisition")
        made.append_child_value("manufacturer", "rigpose")
        made.append_child_value("model", self._spec.architecture)
