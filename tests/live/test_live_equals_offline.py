"""Live poses are those of the offline analysis of the same frames, bit for bit on the CPU, through real graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_bundle import write_bundle
from handmade_graphs import write_pair
from live_networks import captured, drawn, one_by_one, round_trip, write_spot_bundle

from rigpose.analyzers.patch_search import PatchSearch, PatchSearchAnalyzer
from rigpose.analyzers.run_options import RunOptions
from rigpose.analyzers.top_down import BoxAnalyzer, CropAnalyzer, TopDownAnalyzer
from rigpose.analyzers.tracking_crop import DynamicCrop
from rigpose.arrays import Frames
from rigpose.files.results import read_results
from rigpose.live.finding.boxes import BoxesFinder
from rigpose.live.finding.open_finder import finder_of
from rigpose.live.finding.patches import PatchesFinder
from rigpose.live.finding.pose_finder import Found, PoseFinder
from rigpose.load import load
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.poses import Poses
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose.tracking.settings import TrackingSettings
from rigpose.videos.analysis import AnalysisOptions
from rigpose.videos.video import Crop


def same(live: Sequence[Found], offline: Sequence[Poses]) -> None:
    """Every number of every pose, to the last bit."""
    assert len(live) == len(offline)
    for ours, right in zip(live, offline, strict=True):
        for part in fields(Poses):
            one, other = getattr(ours.poses, part.name), getattr(right, part.name)
            assert (one is None) == (other is None)
            if one is not None:
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)


def filmed(path: Path, frames: Sequence[Frames]) -> Path:
    """A video without loss."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 25, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def textured(count: int, *, height: int = 120, width: int = 160) -> list[Frames]:
    """Frames of colourful noise that changes slowly."""
    random = np.random.default_rng(11)
    begin, end = (cv2.resize(random.integers(0, 256, (12, 16, 3), np.uint8), (width, height)) for _ in range(2))
    return [cv2.addWeighted(begin, 1 - t / count, end, t / count, 0).astype(np.uint8) for t in range(count)]


def test_whole_frames_of_a_convolutional_network(tmp_path: Path) -> None:
    analyzer = load(write_bundle(tmp_path / "bundle"), device="cpu", threads=1)
    frames = textured(16)
    alone = [analyzer.predict(frame)[0] for frame in frames]
    same(one_by_one(finder_of(analyzer), captured(frames)), alone)


@pytest.mark.parametrize("batch", [1, 8])
def test_the_numbers_in_the_result_file_are_the_live_ones(batch: int, tmp_path: Path) -> None:
    """A region follows the animal through a part of the frame; it jumps, it hides, and it comes back."""
    bundle = write_spot_bundle(tmp_path / "bundle")
    places = [*round_trip(24, 200, 280), None, None, *round_trip(15, 200, 280)]
    frames = drawn(None if place is None else (place[0] + 20, place[1] + 25) for place in places)
    video = filmed(tmp_path / "a.avi", frames)
    options = RunOptions(dynamic_crop=DynamicCrop(size=(100, 90), margin=4, search_every=7))
    part = Crop(20, 300, 25, 225)
    offline = load(bundle, device="cpu", threads=1, options=options)
    result = offline.analyze(video, AnalysisOptions(batch=batch, cropping=part))
    finder = finder_of(load(bundle, device="cpu", threads=1, options=options), part=part)
    live = one_by_one(finder, captured(frames))
    assert 10 < [one.looked for one in live].count("region") < len(frames)
    assert {one.lost for one in live} == {True, False}
    told = read_results(result.h5)
    # The file is of the part, as DeepLabCut's are.
    np.testing.assert_array_equal(told.xy[:, 0] + (part.x1, part.y1), [one.poses.xy[0] for one in live])
    np.testing.assert_array_equal(told.score[:, 0], [one.poses.score[0] for one in live])


@pytest.mark.parametrize("every", [1, 6])
@pytest.mark.parametrize("batch", [6, 24])
def test_a_region_in_steps_is_the_region_of_a_batch(every: int, batch: int, tmp_path: Path) -> None:
    bundle = write_spot_bundle(tmp_path / "bundle")
    frames = drawn([*round_trip(30), None, *round_trip(10)])
    options = RunOptions(dynamic_crop=DynamicCrop(size=(100, 90), margin=4, search_every=every))
    offline = load(bundle, device="cpu", threads=1, options=options)
    run = offline.run_of(240, 320)
    right = []
    for start in range(0, len(frames), batch):
        right += run.poses(run.infer(np.stack(frames[start : start + batch])))
    same(one_by_one(finder_of(offline), captured(frames)), right)


PAIR = ModelSpec(
    "top_down",
    "means",
    tuple(f"column {i}" for i in range(16)),
    ("ann", "bob"),
    crop=CropSpec(16, 24, margin=3),
    box_margin=9,
)
BOXES = np.array([[10, 20, 60, 70], [90.5, 30.25, 150, 110], [0, 0, 20, 20]], np.float32)
SCORES = np.array([0.9, 0.6, 0.3], np.float32)


def pair(folder: Path, spec: ModelSpec = PAIR, *, every: int = 1) -> TopDownAnalyzer:
    """Real graphs whose poses depend on every pixel of a crop; red, the score, is bright in some frames and not in
    others."""
    detector = DetectorSpec(max_animals=2)
    write_pair(folder, BOXES, SCORES, (detector, spec))
    boxes, crops = (
        OnnxRuntimeSession(folder / f"{name}.onnx", device="cpu", threads=1) for name in ("detector", "pose")
    )
    return TopDownAnalyzer(BoxAnalyzer(detector, boxes), CropAnalyzer(spec, crops, batch=32), detect_every=every)


def lit(count: int) -> list[Frames]:
    """Frames so dim that their means are places inside a crop. Red is dark in some of them on the left, where the first
    animal is, and in some everywhere."""
    frames = textured(count)
    for t, frame in enumerate(frames):
        frame[..., 0] //= 16
        frame[..., 1] //= 11
        frame[..., 2] = t % 11 not in (6, 7)
        if t % 7 == 3:
            frame[:, :80, 2] = 0
    return frames


@pytest.mark.parametrize("every", [1, 5, 9])
@pytest.mark.parametrize("batch", [1, 2])
def test_boxes_are_those_of_the_offline_analysis(every: int, batch: int, tmp_path: Path) -> None:
    frames = lit(31)
    offline = pair(tmp_path, every=every)
    right = []
    for start in range(0, len(frames), batch * every):
        right += offline.follow(np.stack(frames[start : start + batch * every]))
    if every > 1:
        assert {len(poses) for poses in right} == {0, 1, 2}
    finder: PoseFinder = BoxesFinder(pair(tmp_path, every=every), TrackingSettings())
    same(one_by_one(finder, captured(frames)), right)


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("misses", [1, 2])
def test_patches_are_those_of_the_offline_analysis(every: int, misses: int, tmp_path: Path) -> None:
    spec = replace(PAIR, individuals=("ann",))
    search = PatchSearch(search_every=every, misses=misses, overlap=20, min_score=0.5)
    model = PatchSearchAnalyzer(pair(tmp_path, spec).crops, search)
    frames = lit(23)
    right = model.follow(np.stack(frames[:20])) + model.follow(np.stack(frames[20:]))
    assert {len(poses) for poses in right} == {0, 1}
    same(one_by_one(PatchesFinder(model), captured(frames)), right)
