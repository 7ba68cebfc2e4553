"""A detector and a crop network behind each other: the right crops, in the right frames, in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from drawn_squares import MOVING, SIDE, BrightestPixel, SquareDetector, SureOfSpots, walk

from rigpose.analyzers.top_down import SURE_SCORE, BoxAnalyzer, CropAnalyzer, TopDownAnalyzer
from rigpose.arrays import Array, Floats, Frames
from rigpose.measures.box_metrics import Boxes
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.models.preprocess import InputSpec, Resize, plan
from rigpose.poses import Poses

SPEC = ModelSpec(
    task="top_down",
    architecture="brightest",
    keypoints=("spot",),
    individuals=("a", "b", "c"),
    crop=CropSpec(16, 16),
)


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


def followed_one_by_one(frames: Frames, every: int) -> list[Poses]:
    """What ``detect_every`` means, frame by frame and animal by animal."""
    detector = BoxAnalyzer(DetectorSpec(max_animals=3), SquareDetector())
    crops = CropAnalyzer(MOVING, SureOfSpots(), batch=1)
    found: list[Poses] = []
    for t, picture in enumerate(frames):
        if t % every == 0:
            boxes = detector.animals(detector.predict(picture)[0])
            corners, scores = boxes.xyxy.tolist(), boxes.score.tolist()
        else:
            assert found[-1].animal_score is not None
            corners, scores = [], []
            for (x, y), sure, score in zip(
                found[-1].xy[:, 0].tolist(), found[-1].score[:, 0], found[-1].animal_score.tolist(), strict=True
            ):
                margin = MOVING.box_margin
                left, right = np.clip([x - margin, x + margin], 0, 160)
                top, bottom = np.clip([y - margin, y + margin], 0, 120)
                if sure >= SURE_SCORE and right > left and bottom > top:
                    corners.append([left, top, right, bottom])
                    scores.append(score)
        rows = [np.array([[x1, y1, x2 - x1, y2 - y1]], np.float32) for x1, y1, x2, y2 in corners]
        each = [crops.predict([picture], [row])[0] for row in rows]
        poses = Poses.empty(1)
        if each:
            poses = Poses(np.concatenate([p.xy for p in each]), np.concatenate([p.score for p in each]))
        boxes = np.concatenate(rows) if rows else np.empty((0, 4), np.float32)
        found.append(replace(poses, animal_score=np.array(scores, np.float32), boxes=boxes))
    return found


@pytest.mark.parametrize(("every", "count", "batch"), [(1, 20, 8), (4, 50, 8), (5, 23, 5), (4, 50, 24), (30, 47, 30)])
def test_following_is_what_a_loop_over_frames_does(every: int, count: int, batch: int) -> None:
    frames = walk(count)
    detector, crops = SquareDetector(), SureOfSpots()
    boxes = BoxAnalyzer(DetectorSpec(max_animals=3), detector)
    run = TopDownAnalyzer(boxes, CropAnalyzer(MOVING, crops, batch=64), detect_every=every).run_of(120, 160)
    assert run.period == every and run.slot_size == (120, 160)
    found = [poses for start in range(0, count, batch) for poses in run.poses(run.infer(frames[start : start + batch]))]
    right = followed_one_by_one(frames, every)
    assert sum(map(len, right)) > count and len({len(poses) for poses in right}) > 1
    for ours, other in zip(found, right, strict=True):
        for name in ("xy", "score", "animal_score", "boxes"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(other, name))
    # One batch of detections for a batch of frames, and one of crops for each step.
    assert [shape[0] for shape in detector.shapes] == [
        len(range(start, min(start + batch, count), every)) for start in range(0, count, batch)
    ]
    steps = sum(min(every, count - start) for start in range(0, count, batch))
    assert len(crops.batches) <= steps


def test_an_animal_that_was_lost_comes_back_with_the_next_detection() -> None:
    frames = np.stack([walk(1)[0]] * 8)
    frames[2] = 0
    boxes = BoxAnalyzer(DetectorSpec(max_animals=3), SquareDetector())
    found = TopDownAnalyzer(boxes, CropAnalyzer(MOVING, SureOfSpots()), detect_every=6).follow(frames)
    # In the third frame it is looked for and not found, so that its pose is worth nothing.
    assert [len(poses) for poses in found] == [3, 3, 3, 0, 0, 0, 3, 3]
    assert found[1].score.all() and not found[2].score.any()


def test_a_network_of_more_keypoints_follows_an_animal_by_two_of_them() -> None:
    spec = replace(MOVING, keypoints=("a", "b", "c"), box_margin=5)
    pair = TopDownAnalyzer(BoxAnalyzer(DetectorSpec(3), SquareDetector()), CropAnalyzer(spec, BrightestPixel()))
    xy = np.array([[[10, 20], [30, 25], [90, 90]], [[10, 20], [30, 25], [np.nan, np.nan]]] * 2, np.float32)
    score = np.array([[0.9, 0.3, 0.2], [0.9, 0.5, np.nan], [0.9, 0.2, 0.1], [0.2, np.nan, np.nan]], np.float32)
    boxes = pair.around(Poses(xy, score, animal_score=np.array([0.1, 0.2, 0.3, 0.4], np.float32)), (120, 160))
    np.testing.assert_array_equal(boxes.xyxy, [[5, 15, 35, 30]] * 2)
    np.testing.assert_array_equal(boxes.score, np.array([0.1, 0.2], np.float32))


def test_boxes_at_and_beyond_the_border_and_boxes_of_no_size_give_poses_and_no_error() -> None:
    picture = frame((60, 80), [(70, 50, 200)])[0]
    picture[52:54, 73:75] = 255
    corners = np.array([[70, 50, 78, 58], [76, 56, 99, 99], [-30, -30, -10, -10], [40, 30, 40, 30]], np.float32)
    crops = CropAnalyzer(SPEC, SureOfSpots(), batch=3)
    analyzer = TopDownAnalyzer(BoxAnalyzer(DetectorSpec(max_animals=9), SquareDetector()), crops)
    [poses] = analyzer.poses_in([picture], [Boxes(corners, np.array([0.9, 0.8, 0.7, 0.6], np.float32))])
    assert len(poses) == 4 and np.isfinite(poses.xy).all()
    np.testing.assert_allclose(poses.xy[0, 0], [73, 52], atol=HALF_A_PIXEL)
    assert poses.score[:, 0].tolist() == [1, 0, 0, 0]


def test_a_batch_of_whole_frames_goes_to_the_detector_as_it_is() -> None:
    class Remembers(SquareDetector):
        def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
            self.seen = inputs["frames"]
            return super().run(inputs)

    frames, detector = walk(4), Remembers()
    BoxAnalyzer(DetectorSpec(max_animals=3), detector).look(frames)
    assert np.shares_memory(detector.seen, frames)


def meeting() -> Frames:
    """Two animals close to each other, one of which is gone from the second frame on."""
    frames = np.zeros((4, 120, 160, 3), np.uint8)
    for number, x, grey in ((0, 72, 100), *((number, 60, 200) for number in range(4))):
        frames[number, 40:48, x : x + SIDE] = grey
        frames[number, 43:45, x + 3 : x + 5] = 255
    return frames


def followed(**options: float) -> list[Poses]:
    boxes = BoxAnalyzer(DetectorSpec(max_animals=3), SquareDetector())
    return TopDownAnalyzer(boxes, CropAnalyzer(MOVING, SureOfSpots()), detect_every=4, **options).follow(meeting())


def test_two_boxes_that_come_to_follow_one_animal_become_one() -> None:
    found = followed()
    assert [len(poses) for poses in found] == [2, 1, 1, 1]
    for poses in found[1:]:
        np.testing.assert_allclose(poses.xy[0, 0], [63.5, 43.5], atol=1)
        assert poses.animal_score is not None and poses.animal_score[0] == np.float32(200 / 255)
    # Crops of other places show the animal in other pixels, so only a threshold of 1 keeps both.
    assert [len(poses) for poses in followed(same_animal=1.0)][:2] == [2, 2]


def test_poses_of_one_animal_become_one_where_that_is_asked_for() -> None:
    picture = meeting()[0]
    corners = np.array([[59, 39, 69, 49], [58, 38, 68, 48], [72, 40, 80, 48]], np.float32)
    found = [Boxes(corners, np.array([0.7, 0.6, 0.5], np.float32))]
    kept = [
        TopDownAnalyzer(
            BoxAnalyzer(DetectorSpec(max_animals=3), SquareDetector()),
            CropAnalyzer(MOVING, SureOfSpots()),
            same_animal=same,
        ).poses_in([picture], found)[0]
        for same in (None, 0.9)
    ]
    assert [len(poses) for poses in kept] == [3, 2]
    assert kept[1].animal_score is not None and kept[1].boxes is not None
    np.testing.assert_array_equal(kept[1].animal_score, np.array([0.7, 0.5], np.float32))
    np.testing.assert_array_equal(kept[1].boxes[:, 0], [59, 72])


def test_boxes_that_overlap_more_than_is_allowed_are_dropped_before_the_best_are_chosen() -> None:
    # The second shares a third of the union with the first, the third a tenth.
    corners = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [0, 8, 10, 19], [40, 40, 50, 50]], np.float32)
    boxes = Boxes(corners, np.array([0.9, 0.8, 0.7, 0.6], np.float32))
    for overlap, rows in ((1.0, [0, 1]), (0.3, [0, 2]), (0.05, [0, 3])):
        analyzer = BoxAnalyzer(DetectorSpec(max_animals=2, max_overlap=overlap), SquareDetector())
        chosen = analyzer.animals(boxes)
        np.testing.assert_array_equal(chosen.xyxy, corners[rows])
        np.testing.assert_array_equal(chosen.score, boxes.score[rows])
