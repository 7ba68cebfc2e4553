"""Which way of looking a bundle gets, and what may be said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_herd import SPEC as HERD
from drawn_herd import Herd
from drawn_video import draw_frame, write_video
from live_networks import CROPS, SEVERAL, SpotDetector, Spots, captured, drawn, one_by_one, write_spot_bundle

from rigpose.analyzers.patch_search import PatchSearch, PatchSearchAnalyzer
from rigpose.analyzers.run_options import RunOptions
from rigpose.analyzers.tracking_crop import DynamicCrop
from rigpose.arrays import Array
from rigpose.bundles.bundle import FORMAT, Bundle, Display, GraphSpec, Manifest, Provenance, Role
from rigpose.errors import BundleError, ConfigError
from rigpose.files.results import read_results
from rigpose.live.finding.boxes import BoxesFinder
from rigpose.live.finding.cropped import CroppedFinder
from rigpose.live.finding.open_finder import open_finder
from rigpose.live.finding.patches import PatchesFinder
from rigpose.live.finding.pose_finder import PoseFinder
from rigpose.live.finding.region import RegionFinder
from rigpose.live.finding.whole_frame import WholeFrameFinder
from rigpose.live.watched_session import watch_sessions
from rigpose.load import load
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.sessions import backends
from rigpose.tracking.settings import TrackingSettings
from rigpose.videos.analysis import AnalysisOptions
from rigpose.videos.video import Crop

CONDITIONAL = ModelSpec(
    "conditional_top_down", "x", ("tail", "nose"), ("one", "two"), crop=CropSpec(16, 16), box_margin=5
)


class Told:
    """A conditional network whose keypoints are where it is told."""

    device = "cpu"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"keypoints": inputs["conditions"].copy()}


class CombinedSpots:
    """A combined graph of a sort: the detector's boxes with a keypoint pair in the middle of each."""

    device = "cpu"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = SpotDetector().run(inputs)
        middle = (found["boxes"][..., :2] + found["boxes"][..., 2:]) / 2
        ones = np.ones((*middle.shape[:2], 1), np.float32)
        return {**found, "keypoints": np.stack([np.concatenate([middle, ones], axis=2)] * 2, axis=2)}


SESSIONS = {
    "herd.onnx": Herd,
    "spots.onnx": Spots,
    "boxes.onnx": SpotDetector,
    "told.onnx": Told,
    "pair.onnx": CombinedSpots,
}


@pytest.fixture
def without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(path: Path, *, device: str, threads: int | None) -> object:
        return SESSIONS[path.name]()

    monkeypatch.setattr(backends, "OnnxRuntimeSession", opened)


def bundle(folder: Path, model: ModelSpec, **graphs: str) -> Bundle:
    folder.mkdir(exist_ok=True)
    (folder / "pytorch_config.yaml").write_text("net_type: x\n", encoding="utf-8")
    roles: dict[str, Role] = {"pose": "pose", "detector": "detector", "pair": "pair"}
    told = tuple(
        GraphSpec(roles[role], file, ("onnxruntime",), "fp32", 17, 1, "1.17", (), ()) for role, file in graphs.items()
    )
    provenance = Provenance("", "", "", "", "", None, "", None, None)
    detector = DetectorSpec(3) if "detector" in graphs else None
    manifest = Manifest(FORMAT, "", "DLC_x", model, detector, told, Display(), provenance, {})
    return Bundle(folder, manifest, "checksum")


@pytest.mark.usefixtures("without_graphs")
def test_each_task_gets_its_way_of_looking(tmp_path: Path) -> None:
    def opened(model: ModelSpec, options: RunOptions | None = None, **graphs: str) -> PoseFinder:
        return open_finder(bundle(tmp_path, model, **graphs), device="cpu", options=options)

    single = replace(CROPS, task="single_animal", crop=None)
    several = opened(HERD, pose="herd.onnx")
    assert isinstance(several, WholeFrameFinder)
    [found] = several.find(captured([draw_frame(0)]))
    assert sorted(found.ids.tolist()) == [0, 1, 2] and found.looked == "whole"
    assert isinstance(opened(single, pose="spots.onnx"), WholeFrameFinder)
    region = opened(single, RunOptions(dynamic_crop=DynamicCrop()), pose="spots.onnx")
    assert isinstance(region, RegionFinder) and region.spec is region.model.spec and region.device == "cpu"
    pair = opened(SEVERAL, RunOptions(detect_every=4, max_animals=2), pose="spots.onnx", detector="boxes.onnx")
    assert isinstance(pair, BoxesFinder)
    assert pair.model.detect_every == 4 and pair.model.detector.spec.max_animals == 2
    combined = opened(SEVERAL, RunOptions(combined=True), pose="spots.onnx", detector="boxes.onnx", pair="pair.onnx")
    [found] = combined.find(captured(drawn([(100, 100)])))
    assert isinstance(combined, WholeFrameFinder) and found.looked == "detector" and found.ids.tolist() == [0]
    patches = opened(CROPS, RunOptions(patch_search=PatchSearch()), pose="spots.onnx")
    assert isinstance(patches, PatchesFinder)


@pytest.mark.usefixtures("without_graphs")
def test_a_conditional_model_looks_at_every_frame_behind_its_partner(tmp_path: Path) -> None:
    rough = bundle(tmp_path / "rough", replace(HERD, unique_keypoints=()), pose="herd.onnx")
    own = bundle(tmp_path / "own", CONDITIONAL, pose="told.onnx")
    finder = open_finder(own, device="cpu", conditions=rough, options=RunOptions(grouping={"apply_pose_nms": False}))
    assert isinstance(finder, WholeFrameFinder)
    found = one_by_one(finder, captured(draw_frame(number) for number in range(3)))
    assert [len(one.poses) for one in found] == [2, 2, 2]
    assert [sorted(one.ids.tolist()) for one in found] == [[0, 1]] * 3
    with pytest.raises(BundleError, match="--conditions"):
        open_finder(own, device="cpu")


@pytest.mark.usefixtures("without_graphs")
def test_a_crop_network_alone_names_the_option_that_finds_its_animal(tmp_path: Path) -> None:
    alone = bundle(tmp_path, CROPS, pose="spots.onnx")
    with pytest.raises(BundleError, match=r"has no detector.* export the shuffle again .*for one animal, add --search"):
        open_finder(alone, device="cpu")
    several = bundle(tmp_path, SEVERAL, pose="spots.onnx")
    with pytest.raises(ConfigError, match=r"finds one animal, and the model is of 3 \(ann, bob, cat\)"):
        open_finder(several, device="cpu", options=RunOptions(patch_search=PatchSearch()))


@pytest.mark.usefixtures("without_graphs")
def test_a_search_in_patches_analyses_videos_too(tmp_path: Path) -> None:
    analyzer = load(
        bundle(tmp_path, CROPS, pose="spots.onnx"), device="cpu", options=RunOptions(patch_search=PatchSearch())
    )
    assert isinstance(analyzer.model, PatchSearchAnalyzer)
    analyzer.check_complete()
    assert analyzer.settings["patch_search"]["least_side"] == 50
    result = analyzer.analyze(write_video(tmp_path / "a.mp4", range(12)), AnalysisOptions(batch=5))
    assert result.frames == 12 and read_results(result.h5).xy.shape == (12, 1, 2, 2)


@pytest.mark.usefixtures("without_graphs")
def test_words_that_a_model_has_no_use_for_are_refused(tmp_path: Path) -> None:
    herd = bundle(tmp_path, HERD, pose="herd.onnx")
    with pytest.raises(ConfigError, match=r"redetect: .* has no detector that could leave out frames; leave it out\."):
        open_finder(herd, device="cpu", redetect_s=1.0)
    single = bundle(tmp_path, replace(CROPS, task="single_animal", crop=None), pose="spots.onnx")
    with pytest.raises(ConfigError, match=r"ids: .* finds one animal, which is number 0"):
        open_finder(single, device="cpu", ids=TrackingSettings())


@pytest.mark.usefixtures("without_graphs")
def test_settings_of_ids_reach_the_tracker(tmp_path: Path) -> None:
    for ids, numbers in ((None, [0, 0, 0]), (TrackingSettings(min_hits=3), [-1, -1, 0])):
        pair = bundle(tmp_path, SEVERAL, pose="spots.onnx", detector="boxes.onnx")
        found = one_by_one(open_finder(pair, device="cpu", ids=ids), captured(drawn([(100, 100)] * 3)))
        assert [one.ids.tolist() for one in found] == [[number] for number in numbers]


def test_a_part_of_the_frame_is_around_any_of_them(tmp_path: Path) -> None:
    opened = write_spot_bundle(tmp_path / "bundle")
    finder = open_finder(opened, device="cpu", threads=1, part=Crop(100, 300, 50, 200))
    assert isinstance(finder, CroppedFinder) and finder.spec.keypoints == ("head", "tail") and finder.device == "cpu"
    finder.warm_up(240, 320, 2)
    [found] = finder.find(captured(drawn([(200, 120)])))
    # A cell of 16 px has its middle at most 8 px from what is in it.
    assert np.abs(found.poses.xy[0, 0] - (200, 120)).max() <= 8
    finder.forget("left")


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("way", ["whole", "region", "boxes", "patches", "part"])
def test_the_time_in_sessions_can_be_told_from_the_rest(way: str, tmp_path: Path) -> None:
    options, part, graphs = RunOptions(), None, {"pose": "spots.onnx"}
    model = replace(CROPS, task="single_animal", crop=None)
    if way == "region":
        options = RunOptions(dynamic_crop=DynamicCrop())
    if way == "boxes":
        model, graphs = SEVERAL, {"pose": "spots.onnx", "detector": "boxes.onnx"}
    if way == "patches":
        model, options = CROPS, RunOptions(patch_search=PatchSearch())
    if way == "part":
        part = Crop(10, 310, 10, 230)
    finder = open_finder(bundle(tmp_path, model, **graphs), device="cpu", options=options, part=part)
    frames = captured(drawn([(100, 100)] * 3))
    calls = []
    told = watch_sessions(finder, clock=lambda: float(len(calls.append(0) or calls)))
    one_by_one(finder, frames)
    # The clock goes one further with each look at it, so that a call of a session takes one.
    runs = {"whole": 3, "region": 3, "part": 3, "boxes": 6, "patches": 4}[way]
    assert told.seconds == runs and len(calls) == 2 * runs
