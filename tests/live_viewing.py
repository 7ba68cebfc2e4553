"""Results of a made-up run for viewers: a striped animal that walks, and frames that say their number by brightness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rigpose.arrays import Frames
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.finding.pose_finder import Found
from rigpose.live.live_pose import LivePose, Stamps
from rigpose.live.viewing.picture import LiveDrawing
from rigpose.poses import Poses
from rigpose.videos.drawing import DrawStyle

KEYPOINTS = 5
SKELETON = ((0, 1), (1, 2), (2, 3), (3, 4))
DRAWING = LiveDrawing(DrawStyle(radius=5, skeleton=SKELETON, color_by="individual", boxes=True), animals=2)


def animal_at(x: float, y: float) -> Poses:
    """One animal whose keypoints lie in a row [frame px]."""
    xy = np.stack([x + 22 * np.arange(KEYPOINTS), y + 6 * np.sin(np.arange(KEYPOINTS) + x / 15)], axis=1)
    return Poses(xy[None].astype(np.float32), np.full((1, KEYPOINTS), 0.9, np.float32))


def background(height: int, width: int, grey: int = 90) -> Frames:
    """A floor with a grid, so that a picture can be told from a blank."""
    image = np.full((height, width, 3), grey, np.uint8)
    image[::40] = image[:, ::40] = grey + 25
    return image


def result(
    number: int,
    *,
    camera: str = "top",
    height: int = 480,
    width: int = 640,
    time: float = 0.0,
    ids: tuple[int, ...] = (0,),
    ahead: float | None = None,
) -> LivePose:
    """The result of one frame; its animals walk as the number rises, and are said to be ``ahead`` px below later."""
    poses = animal_at(60 + 3 * number % (width - 200), height / 2 + 40 * np.sin(number / 20))
    if len(ids) > 1:
        other = animal_at(width - 180 - 2 * number % (width - 200), height / 3)
        poses = Poses(np.concatenate([poses.xy, other.xy]), np.concatenate([poses.score, other.score]))
    frame = CapturedFrame(camera, number, background(height, width, 60 + number % 100), time, time)
    stamps = Stamps(time, time, time + 0.004, time + 0.029, time + 0.0292, 0.0245)
    found = Found(poses, np.array(ids), "whole", lost=False)
    predicted = None if ahead is None else replace(poses, xy=poses.xy + np.array([0, ahead], np.float32))
    return LivePose(frame, found, stamps, predicted, 0.04, triggers={"lifted": number % 2 == 0})
