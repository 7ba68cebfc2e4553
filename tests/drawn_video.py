"""Videos whose frames show their own number, and a session that reads it back from the pixels."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Array, Floats, Frames
from rigpose.models.model_spec import ModelSpec

CELL = 8
"""A bright square fills one block of the codec, so compression does not move it [px]."""
COLUMNS, ROWS = 20, 12
HEIGHT, WIDTH = ROWS * CELL, COLUMNS * CELL
FRAMES_PER_SECOND = 25


def draw_frame(number: int) -> Frames:
    """(H, W, 3) dark, with one bright cell that says ``number``."""
    frame = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    row, column = divmod(number, COLUMNS)
    frame[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 230
    return frame


def write_video(path: Path, numbers: Sequence[int], *, codec: str = "mp4v") -> Path:
    """A video whose frames say ``numbers``."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FRAMES_PER_SECOND, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in numbers:
        writer.write(draw_frame(number))
    writer.release()
    return path


def damage_avi_frame(path: Path, number: int) -> None:
    """Fill one frame of an AVI file with zeros."""
    data = bytearray(path.read_bytes())
    position = data.index(b"movi")
    for _ in range(number + 1):
        position = data.index(b"00dc", position) + 4
    size = int.from_bytes(data[position : position + 4], "little")
    data[position + 4 : position + 4 + size] = bytes(size)
    path.write_bytes(data)


def numbers_in(xy: Floats) -> list[int]:
    """What the frames said, from the first keypoint (F, N, K, 2); -1 where it is missing."""
    first = xy[:, 0, 0]
    cells = first[:, 1] // CELL * COLUMNS + first[:, 0] // CELL
    return np.nan_to_num(cells, nan=-1).astype(int).tolist()


class BrightestCell:
    """A session: ``number`` is the brightest cell; ``place`` says where in which batch a frame was."""

    def __init__(self, *, seconds_per_batch: float = 0.0) -> None:
        self.seconds_per_batch = seconds_per_batch

    @property
    def device(self) -> str:
        return "cpu"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        time.sleep(self.seconds_per_batch)
        frames = inputs["frames"]
        count, height, width, _ = frames.shape
        cells = frames[:, : height // CELL * CELL, : width // CELL * CELL].reshape(
            count, height // CELL, CELL, width // CELL, CELL, 3
        )
        light = cells.mean(axis=(2, 4, 5))
        best = light.reshape(count, -1).argmax(axis=1)
        row, column = np.divmod(best, width // CELL)
        number = [(column + 0.5) * CELL, (row + 0.5) * CELL, light.max(axis=(1, 2)) / 255]
        place = [np.arange(count), np.full(count, count), np.ones(count)]
        keypoints = np.stack([np.stack(number, -1), np.stack(place, -1)], axis=1)
        return {"keypoints": keypoints.astype(np.float32)}


def analyzer(*, seconds_per_batch: float = 0.0) -> Analyzer:
    spec = ModelSpec("single_animal", "resnet_50", ("number", "place"))
    return Analyzer(spec, BrightestCell(seconds_per_batch=seconds_per_batch))
