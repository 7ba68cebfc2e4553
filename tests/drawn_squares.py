"""Frames with bright squares, and a detector and a pose network of a sort that find them."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from rigpose.arrays import Array, Frames
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import ModelSpec

SIDE = 8  # of the drawn squares [px]
MOVING = ModelSpec(
    task="top_down",
    architecture="brightest",
    keypoints=("spot",),
    individuals=("a", "b", "c"),
    crop=CropSpec(64, 64),
    box_margin=20,
)


class SquareDetector:
    """A detector of a sort: a box around every grey square, the brighter the surer, in a fixed number of rows."""

    device = "cpu"

    def __init__(self, rows: int = 5) -> None:
        self.rows = rows
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        frames = inputs["frames"]
        self.shapes.append(frames.shape)
        boxes = np.full((len(frames), self.rows, 4), np.nan, np.float32)
        scores = np.zeros((len(frames), self.rows), np.float32)
        for b, frame in enumerate(frames):
            count, _, stats, _ = cv2.connectedComponentsWithStats((frame[..., 0] > 20).astype(np.uint8))
            for row, (x, y, w, h, _) in enumerate(stats[1:count]):
                boxes[b, row] = x, y, x + w, y + h
                scores[b, row] = frame[y, x, 0] / 255
        return {"boxes": boxes, "scores": scores}


class BrightestPixel:
    """A pose network of a sort: its one keypoint is the brightest pixel of the crop."""

    device = "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        crops = inputs["frames"]
        self.batches.append(len(crops))
        at = crops[..., 0].reshape(len(crops), -1).argmax(axis=1)
        width = crops.shape[2]
        return {"keypoints": np.stack([at % width, at // width, np.ones_like(at)], -1)[:, None].astype(np.float32)}


class SureOfSpots(BrightestPixel):
    """Scores its keypoint 0 in crops without a white pixel."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = super().run(inputs)
        found["keypoints"][..., 2] = (inputs["frames"][..., 0].max(axis=(1, 2)) > 250)[:, None]
        return found


def walk(count: int) -> Frames:
    """Three animals of different speed: one leaves the frame, one is out of sight now and then."""
    frames = np.zeros((count, 120, 160, 3), np.uint8)
    for t, picture in enumerate(frames):
        places = [(8 + 2 * t, 20, 200), (150 - t, 70 + t % 3, 150)]
        if t % 7 not in (3, 4):
            places.append((30, 100 - 2 * (t % 20), 100))
        for x, y, grey in places:
            picture[max(y, 0) : y + SIDE, max(x, 0) : x + SIDE] = grey
            picture[y + 3 : y + 5, x + 3 : x + 5] = 255
    return frames
