"""Results of a live run, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.finding.pose_finder import Found
from rigpose.live.live_pose import LivePose, Stamps
from rigpose.models.model_spec import DekrGrouping, ModelSpec
from rigpose.poses import Poses

NAMES = ("snout", "neck", "tail")
MICE = ModelSpec("dekr", "drawn", NAMES, individuals=("a", "b"), grouping=DekrGrouping(max_animals=5))
MOUSE = ModelSpec("single_animal", "drawn", NAMES)


def frame_at(exposed: float, *, number: int = 0, camera: str = "top") -> CapturedFrame:
    image = np.zeros((4, 4, 3), np.uint8)
    return CapturedFrame(camera, number, image, arrived=exposed + 0.002, exposed=exposed)


def poses_of(animals: Sequence[Sequence[tuple[float, float]]], score: float | np.ndarray = 0.9) -> Poses:
    """Animals of keypoints x, y."""
    xy = np.array(animals, np.float32).reshape(-1, len(NAMES), 2)
    return Poses(xy, np.broadcast_to(np.asarray(score, np.float32), xy.shape[:2]).copy())


def found_of(
    animals: Sequence[Sequence[tuple[float, float]]],
    score: float | np.ndarray = 0.9,
    ids: Sequence[int] | None = None,
) -> Found:
    poses = poses_of(animals, score)
    numbers = np.arange(len(poses)) if ids is None else np.array(ids, int)
    return Found(poses, numbers, looked="whole", lost=not len(poses))


def pose_at(
    exposed: float,
    found: Found,
    *,
    number: int = 0,
    camera: str = "top",
    triggers: Mapping[str, bool] | None = None,
    predicted: Poses | None = None,
) -> LivePose:
    """A result whose steps took a millisecond each."""
    stamps = Stamps(exposed, exposed + 0.002, exposed + 0.003, exposed + 0.004, exposed + 0.005, 0.0005)
    frame = frame_at(exposed, number=number, camera=camera)
    lead = 0.0 if predicted is None else 0.02
    return LivePose(frame, found, stamps, predicted, lead, triggers or {})
