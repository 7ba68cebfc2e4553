"""Frames -> poses: a model's spec, a session and the grouping.

A batch is the only form; one frame is a batch of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from rigpose.arrays import Array, Frames
from rigpose.grouping import group
from rigpose.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.preprocess import Preparation, plan
from rigpose.sessions import Session


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
        return [Poses(xy=preparation.to_frame.apply(p.xy), score=p.score) for p in found]

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Poses]:
        """Poses of frames of any sizes, in order [frame px].

        Args:
            frames: One frame (H, W, 3), a batch (B, H, W, 3), or a list of frames; uint8 BGR as OpenCV
                reads them. Neighbours of one size run as one batch.
        """
        listed = [frames] if isinstance(frames, np.ndarray) and frames.ndim == 3 else list(frames)
        found: list[Poses] = []
        start = 0
        while start < len(listed):
            stop = start + 1
            while stop < len(listed) and listed[stop].shape == listed[start].shape:
                stop += 1
            found += self._predict_one_size(listed[start:stop])
            start = stop
        return found

    def _predict_one_size(self, frames: Sequence[Frames]) -> list[Poses]:
        if frames[0].ndim != 3:
            raise ValueError(f"expected uint8 BGR frames (H, W, 3), got an array of {frames[0].shape}")
        preparation = self.preparation(*frames[0].shape[:2])
        batch = np.empty((len(frames), *preparation.input_size, 3), np.uint8)
        for frame, slot in zip(frames, batch, strict=True):
            preparation.write(frame, out=slot)
        return self.poses(self.infer(batch), preparation)
