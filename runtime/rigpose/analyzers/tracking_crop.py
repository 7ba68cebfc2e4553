"""Video frames -> poses of one animal, looked for in a region that follows it (dynamic cropping).

A frame is looked at as a whole where a stretch of ``search_every`` frames begins and where the animal is not found in
the region; all others only inside the region, which has one size, so that a graph sees two shapes and no more. A
stretch knows nothing of the one before it: an analysis that continues at a stretch's beginning needs no memory, and
stretches that lie in one batch go in step, the first frames of all of them together, then the second ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rigpose.analyzers.analyzer import Analyzer, FrameRun
from rigpose.arrays import Floats, Frames
from rigpose.errors import ConfigError
from rigpose.geometry import ScaleShift
from rigpose.grouping import group
from rigpose.models.model_spec import ModelSpec
from rigpose.models.preprocess import Preparation
from rigpose.poses import Poses
from rigpose.schema import to_mapping

Corner: TypeAlias = tuple[int, int]
"""x, y of a region's upper left pixel [input px]."""

GRID = 32
"""Regions begin at multiples of this [input px]; every network's stride divides it.

A network's maps then have their cells where they have them in the whole frame, and its strided layers start at the same
pixels, so that a cell whose receptive field lies in the region has the value that it has in the whole frame. Cells
nearer to the region's border see the network's zero padding there, which moves sure keypoints by hundredths of a pixel.
Networks that normalise by statistics of the whole map (GroupNorm) get others from a region, which moves them by a pixel
and no further from the labels.
"""
LEAST_SIDE = 64
"""Of a region [frame px]: two cells of the coarsest map."""
LEAST_DEFAULT = 128
"""Of a region that nobody gave a size [input px]; less would save nothing that can be measured."""
SURE_KEYPOINTS = 2
"""An animal with fewer sure ones, or none where it has only one keypoint, is lost."""
MOST_BETWEEN_SEARCHES = 100
"""So many whole frames are in memory three times over while a video is analysed."""


@dataclass(frozen=True)
class DynamicCrop:
    """How the search region follows an animal. The first two are DeepLabCut's, with its values.

    Attributes:
        min_score: Keypoints that score less say nothing of where the animal is.
        margin: How far inside the region the sure keypoints must lie [frame px]; at the frame's own border they need
            not.
        size: Least width and height of the region [frame px]; none for half of the frame's. See ``region_side``.
        search_every: In videos, every so manieth frame is looked at as a whole, whatever the frames before it showed.
    """

    min_score: float = 0.5
    margin: int = 10
    size: tuple[int, int] | None = None
    search_every: int = 30

    def __post_init__(self) -> None:
        if not 0 < self.min_score <= 1:
            raise ConfigError(f"crop score: {self.min_score:g} is no score; give a number above 0 up to 1.")
        if self.margin < 0:
            raise ConfigError(f"crop margin: {self.margin} px is no distance; give 0 or more.")
        if self.size is not None and min(self.size) < max(LEAST_SIDE, 2 * self.margin + 1):
            raise ConfigError(
                f"crop size: {self.size[0]} x {self.size[1]} px leaves no room for an animal; give at least "
                f"{LEAST_SIDE} x {LEAST_SIDE}, and more than twice the crop margin of {self.margin}."
            )
        if not 1 <= self.search_every <= MOST_BETWEEN_SEARCHES:
            raise ConfigError(
                f"search_every: {self.search_every} is not from 1 to {MOST_BETWEEN_SEARCHES}; all frames between two "
                "searches are in memory at once."
            )


class SearchRegions:
    """Where to look in inputs of one size, from what was found before: no state, for videos and live frames alike.

    Args:
        crop: How to follow.
        preparation: Of the whole frames. Regions are cut out of what the network sees of a frame, so that they have
            its scale.
    """

    def __init__(self, crop: DynamicCrop, preparation: Preparation) -> None:
        self._min_score = crop.min_score
        scale = preparation.to_frame.scale
        height, width = preparation.input_size
        asked = (None, None) if crop.size is None else np.divide(crop.size, scale)
        self._input_size = np.array([width, height])
        self._size = np.array([region_side(width, asked[0]), region_side(height, asked[1])])
        self._margin = np.divide(crop.margin, scale)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every region [input px]."""
        return int(self._size[1]), int(self._size[0])

    def sees(self, poses: Poses) -> bool:
        """Whether enough keypoints are sure to follow the animal."""
        return self._box(poses) is not None

    def next(self, last: Poses, before: Poses | None = None, ahead: float = 1.0) -> Corner | None:
        """Where the region lies for the frame after ``last``; none where the whole frame must be looked at.

        Args:
            last: Of the last frame [input px].
            before: Of the frame before that: the animal goes on as it went between the two.
            ahead: How far it goes on: time since ``last`` over time between the two.
        """
        box = self._box(last)
        if box is None or bool((self._size == self._input_size).all()):
            return None
        earlier = None if before is None else self._box(before)
        if earlier is not None:
            box = box + ahead * (box.mean(axis=0) - earlier.mean(axis=0))
        box = box.clip(0, self._input_size)
        free = self._input_size - self._size
        corner = (np.round((box.mean(axis=0) - self._size / 2) / GRID) * GRID).clip(0, free).astype(int)
        return (int(corner[0]), int(corner[1])) if self._holds(corner, box) else None

    def found(self, poses: Poses, corner: Corner, last: Poses) -> bool:
        """Whether what was seen in the region at ``corner`` [input px] is the animal of ``last``, and all of it.

        It is not where a keypoint that was sure has become unsure: it may be hidden, and it may be outside.
        """
        box = self._box(poses)
        if box is None or not self._holds(np.array(corner), box):
            return False
        return bool((self._sure(poses) | ~self._sure(last)).all())

    def _sure(self, poses: Poses) -> np.ndarray:
        """(K,) of the one animal; a missing keypoint, NaN, is not."""
        return poses.score[0] >= self._min_score

    def _box(self, poses: Poses) -> Floats | None:
        """(2, 2) low and high x, y of the sure keypoints; none if the animal is lost."""
        sure = self._sure(poses)
        if sure.sum() < min(SURE_KEYPOINTS, poses.keypoints):
            return None
        xy = poses.xy[0, sure].astype(np.float64)
        return np.stack([xy.min(axis=0), xy.max(axis=0)])

    def _holds(self, corner: np.ndarray, box: Floats) -> bool:
        """Whether a box keeps the margin to those sides of a region that are not the input's own."""
        low, high = box[0] - corner, corner + self._size - box[1]
        at_begin, at_end = corner == 0, corner + self._size == self._input_size
        return bool(((low >= self._margin) | at_begin).all() and ((high >= self._margin) | at_end).all())


def region_side(side: int, asked: float | None = None) -> int:
    """A region's side in inputs of ``side``: the least of ``asked`` or more that leaves a multiple of ``GRID``.

    With it the last place on the grid ends exactly where the input ends, so that all of the input can be looked at and
    a network pads the region's last rows as it pads the input's.

    Args:
        side: Of the input [px].
        asked: [input px]; none for half of the input.
    """
    least = math.ceil(max(side / 2, LEAST_DEFAULT) if asked is None else asked)
    return side - max(0, (side - least) // GRID) * GRID


class TrackingAnalyzer:
    """A network of whole frames and one animal, behind a region that follows it: the same face as ``Analyzer``.

    Args:
        analyzer: Of whole frames.
        crop: How to follow.

    Raises:
        ConfigError: The model is of several animals, or its keypoints are not all one animal's.
    """

    def __init__(self, analyzer: Analyzer, crop: DynamicCrop) -> None:
        check_followable(analyzer.spec)
        self.analyzer = analyzer
        self.session = analyzer.session
        self.crop = crop

    @property
    def spec(self) -> ModelSpec:
        """What the poses are of."""
        return self.analyzer.spec

    @property
    def device(self) -> str:
        """Where the graph runs."""
        return self.analyzer.device

    @property
    def settings(self) -> dict[str, Any]:
        """How the region follows."""
        return {"dynamic_crop": to_mapping(self.crop)}

    def run_of(self, height: int, width: int) -> FrameRun:
        """The way of frames of this size: slots hold what the network sees of whole frames."""
        preparation = self.analyzer.preparation(height, width)
        return _RegionRun(self, preparation, SearchRegions(self.crop, preparation), self.crop.search_every)

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Poses]:
        """Poses of frames that do not follow each other, each looked at as a whole, in order [frame px]."""
        return self.analyzer.predict(frames)

    def look(self, inputs: Frames, corners: Mapping[int, Corner], size: tuple[int, int]) -> list[Poses]:
        """Poses [input px] in regions of ``size`` (h, w) of some of the inputs (B, H, W, 3): row -> corner."""
        if not corners:
            return []
        high, wide = size
        found = self._seen(np.stack([inputs[row, y : y + high, x : x + wide] for row, (x, y) in corners.items()]))
        return [poses.moved(ScaleShift(shift=corner)) for poses, corner in zip(found, corners.values(), strict=True)]

    def look_whole(self, inputs: Frames, rows: Sequence[int]) -> list[Poses]:
        """Poses [input px] of some of the inputs (B, H, W, 3), each looked at as a whole."""
        if not rows:
            return []
        return self._seen(inputs[rows[0] : rows[0] + 1] if len(rows) == 1 else inputs[list(rows)])

    def follow(self, inputs: Frames, regions: SearchRegions) -> list[Poses]:
        """Poses [input px] of neighbouring frames (B, h, w, 3) of a video, the first of which begins a stretch.

        A frame whose animal is not in its region is looked at a second time, as a whole, so that no frame pays with its
        pose for the search.
        """
        every = self.crop.search_every
        found: dict[int, Poses] = {}
        for step in range(min(every, len(inputs))):
            rows = range(step, len(inputs), every)
            told: dict[int, Corner] = {}
            for row in rows if step else ():
                corner = regions.next(found[row - 1], found[row - 2] if step > 1 else None)
                if corner is not None:
                    told[row] = corner
            for (row, corner), poses in zip(told.items(), self.look(inputs, told, regions.size), strict=True):
                if regions.found(poses, corner, found[row - 1]):
                    found[row] = poses
            lost = [row for row in rows if row not in found]
            found.update(zip(lost, self.look_whole(inputs, lost), strict=True))
        return [found[row] for row in range(len(inputs))]

    def _seen(self, batch: Frames) -> list[Poses]:
        return group(self.spec, self.analyzer.infer(batch))


@dataclass(frozen=True)
class _RegionRun:
    """A run whose slots are the inputs that regions are cut out of."""

    analyzer: TrackingAnalyzer
    preparation: Preparation
    regions: SearchRegions
    period: int

    @property
    def slot_size(self) -> tuple[int, int]:
        return self.preparation.input_size

    def write(self, frame: Frames, out: Frames) -> None:
        self.preparation.write(frame, out=out)

    def infer(self, batch: Frames) -> list[Poses]:
        return self.analyzer.follow(batch, self.regions)

    def poses(self, inferred: list[Poses]) -> list[Poses]:
        return [poses.moved(self.preparation.to_frame) for poses in inferred]


def check_followable(spec: ModelSpec) -> None:
    """Make sure that a region can follow what a model finds.

    Raises:
        ConfigError: The model is of several animals or of crops, or has keypoints that exist once per frame.
    """
    if spec.task != "single_animal":
        raise ConfigError(f"crop dynamic: follows one animal, and the model is of the task {spec.task}; leave it out.")
    if spec.unique_keypoints:
        raise ConfigError(
            f"crop dynamic: {spec.unique_keypoints[0]} is no keypoint of the animal and may be outside the region that "
            "follows it; leave it out."
        )
