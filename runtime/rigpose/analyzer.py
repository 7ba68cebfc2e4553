"""Frames -> poses: a model's spec, a session and the grouping.

A batch is the only form; one frame is a batch of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from rigpose.arrays import Array, Frames
from rigpose.grouping import group
from rigpose.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.preprocess import Preparation, plan
from rigpose.sessions import Session


class PoseAnalyzer(Protocol):
    """Whatever turns frames into poses: one graph, or several behind each other."""

    @property
    def spec(self) -> ModelSpec:
        """What the poses are of."""
        ...

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Poses]:
        """Poses of frames of any sizes, in order [frame px]."""
        ...


class Analyzer:
    """Everything that turns frames into poses. Training's evaluation and the rig use this same class."""

    def __init__(self, spec: ModelSpec, session: Session) -> None:
        self.spec = spec
        self.session = session
        self._plan = lru_cache(maxsize=16)(lambda height, width: plan(spec.input, height, width))

    def preparation(self, height: int, width: int) -> Preparation:
        """The host's steps for frames of this size."""
        return self._plan(height, width)

    def infer(self, batch: Frames) -> dict[str, Array]:
        """Run prepared inputs (B, h, w, 3) uint8 BGR; return the graph's candidates [input px]."""
        return self.session.run({"frames": batch})

    def poses(self, candidates: dict[str, Array], preparation: Preparation) -> list[Poses]:
        """Group the candidates of a batch; one ``Poses`` per frame [frame px]."""
        found = group(self.spec, candidates)
        return [p.moved(preparation.to_frame) for p in found]

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Poses]:
        """Poses of frames of any sizes, in order [frame px].

        Args:
            frames: One frame (H, W, 3), a batch (B, H, W, 3), or a list of frames; uint8 BGR as OpenCV
                reads them. Neighbours of one size run as one batch.
        """
        found: list[Poses] = []
        for alike in of_one_size(as_list(frames)):
            preparation = self.preparation(*alike[0].shape[:2])
            found += self.poses(self.infer(prepared(alike, preparation)), preparation)
        return found


def as_list(frames: Frames | Sequence[Frames]) -> list[Frames]:
    """The frames of one frame (H, W, 3), a batch (B, H, W, 3) or a sequence of frames.

    Raises:
        ValueError: Something that is no colour frame.
    """
    listed = [frames] if isinstance(frames, np.ndarray) and frames.ndim == 3 else list(frames)
    for frame in listed:
        if frame.ndim != 3:
            raise ValueError(f"expected uint8 BGR frames (H, W, 3), got an array of {frame.shape}")
    return listed


def of_one_size(frames: Sequence[Frames]) -> Iterator[Sequence[Frames]]:
    """Runs of neighbours that have the same size, in order."""
    start = 0
    while start < len(frames):
        stop = start + 1
        while stop < len(frames) and frames[stop].shape == frames[start].shape:
            stop += 1
        yield frames[start:stop]
        start = stop


def prepared(frames: Sequence[Frames], preparation: Preparation) -> Frames:
    """Network inputs (B, h, w, 3) of frames of one size.

    Raises:
        ValueError: They are no uint8 BGR frames of the size that was planned for.
    """
    batch = np.empty((len(frames), *preparation.input_size, 3), np.uint8)
    for frame, slot in zip(frames, batch, strict=True):
        preparation.write(frame, out=slot)
    return batch
