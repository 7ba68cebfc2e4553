"""A detector and a crop network behind each other: the right crops, in the right frames, in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import pytest

from rigpose.arrays import Array, Floats, Frames
from rigpose.box_metrics import Boxes
from rigpose.crops import CropSpec
from rigpose.model_spec import ModelSpec
from rigpose.preprocess import InputSpec, Resize, plan
from rigpose.top_down import BoxAnalyzer, CropAnalyzer, DetectorSpec, TopDownAnalyzer

SIDE = 8  # of the drawn squares [px]
SPEC = ModelSpec(
    task="top_down",
    architecture="brightest",
    keypoints=("spot",),
    individuals=("a", "b", "c"),
    crop=CropSpec(16, 16),
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


def pair(*, batch: int = 4, most: int = 3, min_score: float = 0.0) -> tuple[TopDownAnalyzer, BrightestPixel]:
    session = BrightestPixel()
    detector = BoxAnalyzer(DetectorSpec(max_animals=most, min_score=min_score), SquareDetector())
    return TopDownAnalyzer(detector, CropAnalyzer(SPEC, session, batch=batch)), session


def frame(size: tuple[int, int], squares: Sequence[tuple[int, int, int]]) -> tuple[Frames, Floats]:
    """Squares at x, y with a grey level, and the white pixel in each."""
    picture = np.zeros((*size, 3), np.uint8)
    spots = []
    for i, (x, y, grey) in enumerate(squares):
        picture[y : y + SIDE, x : x + SIDE] = grey
        picture[y + 2 + i, x + 3] = 255
        spots.append((x + 3, y + 2 + i))
    return picture, np.array(spots, np.float32).reshape(-1, 2)


SCENES = [
    frame((60, 80), [(10, 12, 200), (40, 30, 100)]),
    frame((60, 80), []),
    frame((60, 80), [(70, 50, 150)]),
    frame((90, 70), [(5, 5, 120), (50, 60, 210), (20, 70, 90)]),
    frame((90, 70), []),
]
# A box of 8 px in a crop of 16 px: two crop pixels show one of the frame, so its own place is half a pixel off at most.
HALF_A_PIXEL = 0.51


def test_every_pose_is_in_its_frame_and_a_frame_without_boxes_has_none() -> None:
    analyzer, session = pair(batch=4)
    found = analyzer.predict([picture for picture, _ in SCENES])
    assert [len(p) for p in found] == [2, 0, 1, 3, 0]
    # Six crops of frames of two sizes, four at a time.
    assert session.batches == [4, 2]
    for poses, (picture, spots) in zip(found, SCENES, strict=True):
        brightness = [picture[int(y), int(x) - 1, 0] for x, y in spots]
        best_first = np.argsort(brightness)[::-1]
        np.testing.assert_allclose(poses.xy[:, 0], spots[best_first], atol=HALF_A_PIXEL)
        assert poses.animal_score is not None and poses.boxes is not None
        np.testing.assert_allclose(poses.animal_score, np.sort(brightness)[::-1] / np.float32(255))
        np.testing.assert_array_equal(poses.boxes[:, 2:], SIDE)


def test_one_frame_and_an_array_of_frames_are_batches_too() -> None:
    analyzer, _ = pair()
    [alone] = analyzer.predict(SCENES[0][0])
    both = analyzer.predict(np.stack([SCENES[0][0], SCENES[2][0]]))
    np.testing.assert_array_equal(alone.xy, both[0].xy)
    assert len(both[1]) == 1
    assert analyzer.predict([]) == []
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        analyzer.predict([SCENES[0][0][..., 0]])


def test_frames_of_one_size_share_a_call_of_the_detector() -> None:
    detector = SquareDetector()
    BoxAnalyzer(DetectorSpec(max_animals=3), detector).predict([picture for picture, _ in SCENES])
    assert [shape[:3] for shape in detector.shapes] == [(3, 60, 80), (2, 90, 70)]


def test_only_the_best_boxes_become_animals_but_all_are_reported() -> None:
    analyzer, session = pair(most=2)
    boxes = analyzer.detector.predict([SCENES[3][0]])
    assert len(boxes[0].score) == 3
    [poses] = analyzer.poses_in([SCENES[3][0]], boxes)
    assert poses.animal_score is not None
    np.testing.assert_allclose(poses.animal_score, np.array([210, 120], np.float32) / 255)
    assert session.batches == [2]
    unsure, _ = pair(min_score=110 / 255)
    assert [len(p) for p in unsure.predict([picture for picture, _ in SCENES])] == [1, 0, 1, 2, 0]


def test_rows_that_are_padding_are_no_boxes() -> None:
    analyzer = BoxAnalyzer(DetectorSpec(max_animals=9), SquareDetector())
    nan = np.nan
    candidates = {
        "boxes": np.array([[[1, 2, 3, 4], [nan] * 4, [5, 5, 9, 9], [0, 0, 1, 1], [2, 2, 8, 8]]], np.float32),
        "scores": np.array([[0.3, 0.9, 0.8, 0.0, nan]], np.float32),
    }
    [found] = analyzer.boxes(candidates, plan(InputSpec(), 20, 20))
    np.testing.assert_array_equal(found.xyxy, [[5, 5, 9, 9], [1, 2, 3, 4]])
    np.testing.assert_array_equal(found.score, np.array([0.8, 0.3], np.float32))


def test_a_detector_that_sees_resized_frames_gives_boxes_of_the_frame() -> None:
    spec = DetectorSpec(max_animals=3, input=InputSpec(resize=Resize(160, 120, keep_ratio=False)))
    [found] = BoxAnalyzer(spec, SquareDetector()).predict([SCENES[2][0]])
    # Interpolation blurs a border over the width of one pixel.
    np.testing.assert_allclose(found.xyxy, [[70, 50, 78, 58]], atol=1)


def test_boxes_keep_the_precision_that_decides_how_crops_round() -> None:
    analyzer, _ = pair()
    corners = np.array([[10.5, 10.5, 18.5, 18.5]], np.float32)
    [poses] = analyzer.poses_in([SCENES[0][0]], [Boxes(corners, np.array([0.5], np.float32))])
    assert poses.boxes is not None and poses.boxes.dtype == np.float32


def test_a_model_of_whole_frames_is_no_crop_analyzer() -> None:
    with pytest.raises(ValueError, match="whole frames"):
        CropAnalyzer(ModelSpec(task="single_animal", architecture="x", keypoints=("a",)), BrightestPixel())
