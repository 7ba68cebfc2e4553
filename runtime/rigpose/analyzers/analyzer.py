"""Frames -> poses: a model's spec, a session and the grouping.

A batch is the only form; one frame is a batch of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from rigpose.arrays import Array, Frames
from rigpose.grouping import group
from rigpose.models.model_spec import ModelSpec
from rigpose.models.preprocess import Preparation, plan
from rigpose.poses import Poses
from rigpose.schema import to_mapping
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


class FrameRun(Protocol):
    """The way of frames of one size to their poses, a batch at a time, cut where stages can overlap."""

    @property
    def slot_size(self) -> tuple[int, int]:
        """(h, w) of what is kept of a frame until its batch is complete."""
        ...

    @property
    def period(self) -> int:
        """A batch begins at a multiple of so many frames of the video."""
        ...

    def write(self, frame: Frames, out: Frames) -> None:
        """Put a frame (H, W, 3) into ``out`` (h, w, 3), a slot of a batch buffer."""
        ...

    def infer(self, batch: Frames) -> Any:
        """Run the graphs over filled slots (B, h, w, 3); what comes back shares no memory with them."""
        ...

    def poses(self, inferred: Any) -> list[Poses]:
        """What ``infer`` gave -> one ``Poses`` per frame [frame px]."""
        ...


class ModelFacts(Protocol):
    """What is written down about whatever found a video's poses."""

    @property
    def spec(self) -> ModelSpec:
        """What the poses are of."""
        ...

    @property
    def device(self) -> str:
        """Where it really runs, for people."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """Everything chosen at run time that changes poses, in builtin types."""
        ...


class VideoAnalyzer(PoseAnalyzer, ModelFacts, Protocol):
    """Whatever can analyse a video."""

    def run_of(self, height: int, width: int) -> FrameRun:
        """The way of frames of this size."""
        ...


class Analyzer:
    """Everything that turns frames into poses. Training's evaluation and the rig use this same class."""

    def __init__(self, spec: ModelSpec, session: Session) -> None:
        self.spec = spec
        self.session = session
        self._plan = lru_cache(maxsize=16)(lambda height, width: plan(spec.input, height, width))

    @property
    def device(self) -> str:
        """Where the graph runs."""
        return self.session.device

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters of the grouping, where there is one; else that no region follows the one animal."""
        grouping = self.spec.grouping
        return {"dynamic_crop": None} if grouping is None else {"grouping": to_mapping(grouping)}

    def run_of(self, height: int, width: int) -> FrameRun:
        """The way of frames of this size: slots hold network inputs, so nothing is copied twice."""
        return _InputRun(self, self.preparation(height, width))

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


@dataclass(frozen=True)
class _InputRun:
    """A run whose slots are the graph's inputs."""

    analyzer: Analyzer
    preparation: Preparation
    period: int = 1

    @property
    def slot_size(self) -> tuple[int, int]:
        return self.preparation.input_size

    def write(self, frame: Frames, out: Frames) -> None:
        self.preparation.write(frame, out=out)

    def infer(self, batch: Frames) -> dict[str, Array]:
        return self.analyzer.infer(batch)

    def poses(self, inferred: dict[str, Array]) -> list[Poses]:
        return self.analyzer.poses(inferred, self.preparation)


@dataclass(frozen=True)
class WholeFrameRun:
    """A run whose slots are whole frames, for models that cut their inputs out of them.

    Attributes:
        slot_size: (H, W) of the frames.
        find: Neighbouring frames of a video (B, H, W, 3) -> their poses [frame px].
        period: A batch begins at a multiple of so many frames.
    """

    slot_size: tuple[int, int]
    find: Callable[[Frames], list[Poses]]
    period: int = 1

    def write(self, frame: Frames, out: Frames) -> None:
        """See ``FrameRun``."""
        np.copyto(out, frame)

    def infer(self, batch: Frames) -> list[Poses]:
        """See ``FrameRun``: where to look depends on what was found, so everything happens here."""
        return self.find(batch)

    def poses(self, inferred: list[Poses]) -> list[Poses]:
        """See ``FrameRun``."""
        return inferred


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


def prepared(frames: Frames | Sequence[Frames], preparation: Preparation) -> Frames:
    """Network inputs (B, h, w, 3) of frames of one size; an array of frames that need no step is its own.

    Raises:
        ValueError: They are no uint8 BGR frames of the size that was planned for.
    """
    if isinstance(frames, np.ndarray) and _are_inputs(frames, preparation):
        return np.ascontiguousarray(frames)
    batch = np.empty((len(frames), *preparation.input_size, 3), np.uint8)
    for frame, slot in zip(frames, batch, strict=True):
        preparation.write(frame, out=slot)
    return batch


def _are_inputs(frames: Frames, preparation: Preparation) -> bool:
    same = preparation.frame_size == preparation.content_size == preparation.input_size
    return same and frames.shape[1:] == (*preparation.input_size, 3) and frames.dtype == np.uint8
