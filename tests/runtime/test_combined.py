"""The analyzer of a pair's combined graph: the poses of two graphs, and what a rig may still choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_squares import MOVING, SIDE, SquareDetector, SureOfSpots, walk

from rigpose.analyzers.combined import CombinedAnalyzer, by_the_pose_graph
from rigpose.analyzers.top_down import BoxAnalyzer, CropAnalyzer, TopDownAnalyzer
from rigpose.arrays import Array, Frames
from rigpose.errors import ConfigError
from rigpose.files.results import read_results
from rigpose.models.model_spec import DetectorSpec
from rigpose.poses import Poses
from rigpose.videos.analysis import AnalysisOptions, analyze_video
from rigpose.videos.metadata import ResultIdentity

ROWS = 4
THREE = DetectorSpec(max_animals=3)


class SquarePair:
    """A combined graph of a sort: the best boxes of a detector of a sort, and what a pose network of a sort sees."""

    device = "cpu"

    def __init__(self) -> None:
        self.boxes = BoxAnalyzer(DetectorSpec(max_animals=ROWS), SquareDetector())
        self.crops = CropAnalyzer(MOVING, SureOfSpots())
        self.batches: list[int] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        frames = inputs["frames"]
        self.batches.append(len(frames))
        found = {
            # What stands in a row that is no animal must not matter: here a sure pose in the corner.
            "boxes": np.zeros((len(frames), ROWS, 4), np.float32),
            "scores": np.zeros((len(frames), ROWS), np.float32),
            "keypoints": np.ones((len(frames), ROWS, 1, 3), np.float32),
        }
        best = [self.boxes.animals(boxes) for boxes in self.boxes.predict(frames)]
        for b, boxes in enumerate(best):
            sizes = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
            [poses] = self.crops.predict([frames[b]], [np.concatenate([boxes.xyxy[:, :2], sizes], axis=1)])
            rows = slice(len(boxes.score))
            found["boxes"][b, rows], found["scores"][b, rows] = boxes.xyxy, boxes.score
            found["keypoints"][b, rows] = poses.to_array()
        return found


def two_graphs(detector: DetectorSpec = THREE, *, same_animal: float | None = None) -> TopDownAnalyzer:
    boxes, crops = BoxAnalyzer(detector, SquareDetector()), CropAnalyzer(MOVING, SureOfSpots())
    return TopDownAnalyzer(boxes, crops, same_animal=same_animal)


def one_graph(detector: DetectorSpec = THREE, *, same_animal: float | None = None) -> CombinedAnalyzer:
    return CombinedAnalyzer(MOVING, detector, SquarePair(), animals=ROWS, same_animal=same_animal)


def assert_same(found: Sequence[Poses], expected: Sequence[Poses]) -> None:
    for ours, other in zip(found, expected, strict=True):
        for name in ("xy", "score", "animal_score", "boxes"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(other, name))
            assert getattr(ours, name).dtype == getattr(other, name).dtype == np.float32


def crowd() -> Frames:
    """Two squares whose crops show the same white pixel, a third one elsewhere."""
    picture = np.zeros((120, 160, 3), np.uint8)
    for x, y, grey in ((50, 40, 200), (60, 40, 150), (120, 90, 100)):
        picture[y : y + SIDE, x : x + SIDE] = grey
    picture[43:45, 57] = picture[93, 124] = 255
    return picture


@pytest.mark.parametrize("detector", [THREE, DetectorSpec(2), DetectorSpec(3, min_score=0.5), DetectorSpec(4)], ids=str)
def test_poses_are_those_of_two_graphs_whatever_the_rig_chooses(detector: DetectorSpec) -> None:
    frames = [*walk(12), np.zeros((60, 80, 3), np.uint8), crowd()]
    expected = two_graphs(detector).predict(frames)
    assert {len(poses) for poses in expected} >= {0, 2}
    assert_same(one_graph(detector).predict(frames), expected)


@pytest.mark.parametrize("same_animal", [None, 0.9])
def test_doubles_are_dropped_where_that_is_asked_for(same_animal: float | None) -> None:
    expected = two_graphs(same_animal=same_animal).predict(crowd())
    assert_same(one_graph(same_animal=same_animal).predict(crowd()), expected)
    assert len(expected[0]) == (3 if same_animal is None else 2)


def test_neighbours_of_one_size_are_one_batch_and_a_frame_is_a_batch_of_one() -> None:
    analyzer, session = one_graph(), SquarePair()
    analyzer.session = session
    analyzer.predict([crowd(), crowd(), np.zeros((60, 80, 3), np.uint8), crowd()])
    assert session.batches == [2, 1, 1]
    [alone] = analyzer.predict(crowd())
    assert_same([alone], analyzer.predict(np.stack([crowd(), walk(1)[0]]))[:1])
    assert analyzer.predict([]) == []
    with pytest.raises(ValueError, match="uint8 BGR frames"):
        analyzer.predict(crowd()[..., 0])
    with pytest.raises(ValueError, match="uint8 BGR frames"):
        analyzer.predict(crowd().astype(np.float32))  # type: ignore[arg-type]


def test_rows_with_no_number_are_no_animals_and_a_keypoint_without_a_place_is_missing() -> None:
    nan = np.nan
    found = {
        "boxes": np.array([[[1, 2, 3, 4], [nan, 0, 1, 1], [5, 6, 9, 9], [0, 0, 1, 1]]], np.float32),
        "scores": np.array([[0.3, 0.9, 0.8, nan]], np.float32),
        "keypoints": np.array([[[[1, 1, 0.5]], [[2, 2, 0.5]], [[nan, nan, 0.1]], [[4, 4, 0.5]]]], np.float32),
    }
    [poses] = one_graph().poses(found)
    assert poses.animal_score is not None and poses.boxes is not None
    np.testing.assert_array_equal(poses.boxes, [[5, 6, 4, 3], [1, 2, 2, 2]])
    np.testing.assert_array_equal(poses.animal_score, np.array([0.8, 0.3], np.float32))
    np.testing.assert_array_equal(poses.xy[:, 0], [[nan, nan], [1, 1]])
    assert np.isnan(poses.score[0, 0])


def test_what_the_graph_has_no_rows_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="looks for 4 animals of a frame and not for 5"):
        one_graph(DetectorSpec(max_animals=5))
    with pytest.raises(ConfigError, match="detector_iou"):
        one_graph(DetectorSpec(max_animals=2, max_overlap=0.5))


def test_everything_chosen_is_in_the_settings() -> None:
    assert one_graph(DetectorSpec(2, min_score=0.25), same_animal=0.75).settings == {
        "combined": True,
        "max_animals": 2,
        "detector_cutoff": 0.25,
        "same_animal": 0.75,
    }


def test_the_pose_graph_is_asked_about_the_very_same_boxes() -> None:
    frames = list(walk(5))
    found = one_graph().predict(frames)
    crops = CropAnalyzer(MOVING, SureOfSpots())
    assert_same(by_the_pose_graph(found, crops, frames), found)
    assert found[0].boxes is not None
    shifted = [replace(found[0], boxes=found[0].boxes + np.float32(2))]
    moved = by_the_pose_graph(shifted, crops, frames[:1])
    np.testing.assert_array_equal(moved[0].boxes, shifted[0].boxes)


def test_a_video_has_the_poses_of_two_graphs(tmp_path: Path) -> None:
    video = tmp_path / "walk.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 120))
    for frame in walk(21):
        writer.write(frame)
    writer.release()
    tables = []
    for analyzer in (one_graph(), two_graphs()):
        options = AnalysisOptions(batch=4, destination=tmp_path / type(analyzer).__name__, save_csv=False)
        result = analyze_video(analyzer, video, identity=ResultIdentity("DLC_Squares", "01", {}, {}), options=options)
        assert result.frames == 21 and result.warnings == ()
        tables.append(read_results(result.h5))
    assert np.isfinite(tables[0].xy).any()
    np.testing.assert_array_equal(tables[0].xy, tables[1].xy)
    np.testing.assert_array_equal(tables[0].score, tables[1].score)
