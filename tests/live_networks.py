"""Live frames with coloured spots, and networks of a sort that find them: exact ones, and a real one in ONNX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from hand_made_bundle import OPSET, sealed_bundle, write_graph
from onnx import TensorProto, helper, numpy_helper

from rigpose.arrays import Array, Floats, Frames
from rigpose.bundles.bundle import Bundle, TensorSpec
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.finding.pose_finder import Found, PoseFinder
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import ModelSpec

SIGMA = 2.5
"""Of a spot [px]: wide enough that a frame at half its size still shows where its middle is."""
TAIL = (5.0, 14.0)
"""From the head's spot to the tail's [px]."""
WHOLE = ModelSpec("single_animal", "spots", ("head", "tail"))
CROPS = ModelSpec("top_down", "spots", ("head", "tail"), crop=CropSpec(96, 96), box_margin=20)
SEVERAL = replace(CROPS, individuals=("ann", "bob", "cat"))
CELL = 16
PERIOD = 0.01
"""Of the cameras [s]."""


class Spots:
    """A network of a sort: each keypoint is the middle of the light around the pixel where its colour is brightest; its
    score is 0 without any."""

    device = "cpu"
    reach = 12  # beyond a spot at half its size again, and short of what a mirrored border shows of it

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        frames = inputs["frames"]
        self.shapes.append(frames.shape[:3])
        keypoints = np.zeros((len(frames), 2, 3), np.float32)
        for b, k in np.ndindex(len(frames), 2):
            light = frames[b, ..., k].astype(np.float64)
            y, x = np.unravel_index(light.argmax(), light.shape)
            top, left = max(y - self.reach, 0), max(x - self.reach, 0)
            near = light[top : y + self.reach + 1, left : x + self.reach + 1]
            rows, columns = np.mgrid[: near.shape[0], : near.shape[1]] + 0.5
            total = max(near.sum(), 1e-9)
            middle = left + (columns * near).sum() / total, top + (rows * near).sum() / total
            keypoints[b, k] = *middle, light[y, x] > 60
        return {"keypoints": keypoints}


class SpotDetector:
    """A detector of a sort: a box around every blue spot and the green one that belongs to it, from top to bottom."""

    device = "cpu"
    rows = 4

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        frames = inputs["frames"]
        self.shapes.append(frames.shape[:3])
        boxes = np.full((len(frames), self.rows, 4), np.nan, np.float32)
        scores = np.zeros((len(frames), self.rows), np.float32)
        for b, frame in enumerate(frames):
            count, _, _, middles = cv2.connectedComponentsWithStats((frame[..., 0] > 100).astype(np.uint8))
            for row, (x, y) in enumerate(middles[1:count]):
                boxes[b, row] = x - 12, y - 12, x + TAIL[0] + 12, y + TAIL[1] + 12
                scores[b, row] = 0.9 - 0.1 * row
        return {"boxes": boxes, "scores": scores}


def drawn(places: Iterable[tuple[float, float] | None], height: int = 240, width: int = 320) -> list[Frames]:
    """Frames with an animal whose head is at x, y [frame px], or with none; its head is blue, its tail green."""
    y, x = np.mgrid[:height, :width] + 0.5
    frames = []
    for place in places:
        frame = np.zeros((height, width, 3), np.uint8)
        for channel, away in enumerate(((0.0, 0.0), TAIL) if place is not None else ()):
            assert place is not None
            squared = (x - place[0] - away[0]) ** 2 + (y - place[1] - away[1]) ** 2
            frame[..., channel] = np.round(250 * np.exp(-squared / (2 * SIGMA**2)))
        frames.append(frame)
    return frames


def drawn_together(places: Sequence[Sequence[tuple[float, float] | None]]) -> list[Frames]:
    """Frames with several animals: of each of them, its place in every frame."""
    return [np.maximum.reduce(shown) for shown in zip(*(drawn(of_one) for of_one in places), strict=True)]


def animal(place: tuple[float, float]) -> Floats:
    """(2, 2) where its keypoints are [frame px]."""
    return np.array([place, np.add(place, TAIL)])


def round_trip(count: int, height: int = 240, width: int = 320) -> list[tuple[float, float]]:
    """Along a curve that comes near all four sides of the frame."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    x = 12 + (width - 30) * (1 + np.cos(angle)) / 2
    y = 12 + (height - 40) * (1 + np.sin(angle)) / 2
    return list(zip(x.tolist(), y.tolist(), strict=True))


def captured(
    images: Iterable[Frames], camera: str = "left", *, numbers: Sequence[int] | None = None, period: float = PERIOD
) -> list[CapturedFrame]:
    """The frames as a camera gives them; those that are left out of ``numbers`` were superseded."""
    listed = list(images)
    counted = range(len(listed)) if numbers is None else numbers
    return [
        CapturedFrame(camera, number, image, arrived=100 + number * period, exposed=100 + number * period)
        for number, image in zip(counted, listed, strict=True)
    ]


def one_by_one(finder: PoseFinder, frames: Iterable[CapturedFrame]) -> list[Found]:
    """As they come from one camera."""
    return [finder.find([frame])[0] for frame in frames]


def write_spot_bundle(folder: Path) -> Bundle:
    """A real graph of one animal: the cell of 16 px where the colour is strongest, and how strong it is there."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(5)
    kernel = np.zeros((2, 3, CELL, CELL), np.float32)
    for keypoint in range(2):
        kernel[keypoint, keypoint] = random.uniform(0.5, 1.5, (CELL, CELL))
    kernel /= kernel.sum(axis=(1, 2, 3), keepdims=True)
    weights = {
        "kernel": kernel,
        "flat": np.array([0, 0, -1]),
        "single": np.array([1]),
        "column": np.array(3),
        "cell": np.array(CELL, np.float32),
        "half": np.array(0.5, np.float32),
        "zero": np.array(0, np.float32),
        "full": np.array(1, np.float32),
        "strong": np.array(12, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["frames"], ["numbers"], to=TensorProto.FLOAT),
        node("Transpose", ["numbers"], ["planes"], perm=[0, 3, 1, 2]),
        node("Conv", ["planes", "kernel"], ["cells"], strides=[CELL, CELL], auto_pad="SAME_UPPER"),
        node("Shape", ["cells"], ["shape"]),
        node("Gather", ["shape", "column"], ["across"]),
        node("Reshape", ["cells", "flat"], ["listed"]),
        node("TopK", ["listed", "single"], ["best", "at"], axis=2),
        node("Mod", ["at", "across"], ["i"]),
        node("Div", ["at", "across"], ["j"]),
        *(node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT) for name in "ij"),
        *(node("Add", [f"{name}_float", "half"], [f"{name}_middle"]) for name in "ij"),
        *(node("Mul", [f"{name}_middle", "cell"], [f"{name}_px"]) for name in "ij"),
        node("Div", ["best", "strong"], ["sure"]),
        node("Clip", ["sure", "zero", "full"], ["score"]),
        node("Concat", ["i_px", "j_px", "score"], ["keypoints"], axis=2),
    ]
    graph = helper.make_graph(
        nodes,
        "spots",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["batch", 2, 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    outputs = (TensorSpec("keypoints", "float32", ("batch", 2, 3)),)
    return sealed_bundle(folder, WHOLE, [write_graph(folder, model, outputs, backends=("onnxruntime",))])
