"""Code of users on live poses: functions, and processors as they are written for DeepLabCut-Live, run unchanged."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_networks import CROPS, WHOLE, Spots, animal, drawn, round_trip, write_spot_bundle
from live_poses import MICE, MOUSE, found_of, pose_at, poses_of

from rigpose.analyzers.analyzer import Analyzer
from rigpose.analyzers.patch_search import PatchSearchAnalyzer
from rigpose.analyzers.run_options import RunOptions
from rigpose.analyzers.top_down import CropAnalyzer
from rigpose.analyzers.tracking_crop import TrackingAnalyzer
from rigpose.errors import ConfigError, RigposeError
from rigpose.live.faults import LiveError
from rigpose.live.finding.patches import PatchesFinder
from rigpose.live.finding.pose_finder import PoseFinder
from rigpose.live.finding.region import RegionFinder
from rigpose.live.finding.whole_frame import WholeFrameFinder
from rigpose.live.live_pose import LivePose
from rigpose.live.processors import dlclive
from rigpose.live.processors.callback import CallbackOutput, open_callback
from rigpose.live.processors.dlclive import DLCLive, Processor
from rigpose.live.processors.pose_array import pose_array
from rigpose.poses import Poses

ANIMAL = [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)]


class AheadByVelocity(Processor):
    """As users write them: a filter with state, times by ``time.time()``, and a file at the end."""

    def __init__(self, lead: float = 0.1, threshold: float = 0.5) -> None:
        super().__init__()
        self.lead, self.threshold = lead, threshold
        self.last: Any = None
        self.log: list[tuple[float, bool]] = []

    def process(self, pose: Any, **kwargs: Any) -> Any:
        at = kwargs["frame_time"]
        ahead = pose.copy()
        if self.last is not None:
            before, then = self.last
            sure = pose[:, 2] > self.threshold
            ahead[sure, :2] += self.lead * (pose[sure, :2] - before[sure, :2]) / (at - then)
        self.last = pose, at
        if kwargs["record"]:
            self.log.append((at, bool((pose[:, 2] > self.threshold).all())))
        return ahead

    def save(self, file: str = "") -> None:
        Path(file).write_text(repr(self.log))


class Silent:
    """Returns nothing, takes no keyword arguments, and does not inherit."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def process(self, pose: Any) -> None:
        self.seen.append(pose)

    def save(self, _: str = "") -> int:
        return 0


class Raising(Processor):
    def process(self, *_: Any, **__: Any) -> Any:
        raise OSError("the port is gone")


# -- as an output


def test_a_function_gets_the_whole_result() -> None:
    seen: list[LivePose] = []
    output = CallbackOutput(seen.append, MICE)
    output.open()
    pose = pose_at(1.0, found_of([ANIMAL]), triggers={"go": True})
    output.send(pose)
    output.safe()
    output.close()
    assert seen == [pose]


def test_a_processor_gets_its_array_and_times_of_the_wall(tmp_path: Path) -> None:
    output = CallbackOutput(AheadByVelocity, MOUSE, arguments={"lead": 0.2}, record=True, save_to=tmp_path / "log")
    output.open()
    clock = time.perf_counter
    exposed = clock() - 0.5
    output.send(pose_at(exposed, found_of([ANIMAL])))
    output.send(pose_at(exposed + 0.1, found_of([])))  # the one animal is not there
    processor = output._callback
    first, second = processor.log
    # a machine that lets this process wait between two readings of the clocks may shift them by that
    assert first[0] == pytest.approx(time.time() - (clock() - exposed), abs=0.05)
    assert second[0] - first[0] == pytest.approx(0.1, abs=0.05)
    assert (first[1], second[1]) == (True, False)
    array, _ = processor.last
    assert array.shape == (3, 3) and np.isnan(array[:, :2]).all() and (array[:, 2] == 0).all()
    output.close()
    output.close()
    assert (tmp_path / "log").read_text() == repr([first, second])


def test_several_animals_have_an_axis_of_their_own() -> None:
    silent = Silent()
    output = CallbackOutput(silent, MICE)
    output.open()
    output.send(pose_at(0, found_of([ANIMAL, ANIMAL])))
    output.send(pose_at(0, found_of([])))
    assert [array.shape for array in silent.seen] == [(2, 3, 3), (0, 3, 3)]
    np.testing.assert_allclose(silent.seen[0][1, :, :2], ANIMAL)


def test_what_it_raises_says_where() -> None:
    output = CallbackOutput(Raising(), MOUSE, name="mine")
    output.open()
    with pytest.raises(
        LiveError, match=r"^mine: could not take a pose \(OSError: the port is gone, line \d+ of .*py\)"
    ):
        output.send(pose_at(0, found_of([ANIMAL])))


def test_safe_and_close_are_told_to_who_wants_to_know() -> None:
    told: list[str] = []

    class Laser(Silent):
        def safe(self) -> None:
            told.append("safe")

        def close(self) -> None:
            told.append("close")

    output = CallbackOutput(Laser, MOUSE)
    output.open()
    output.safe()
    output.close()
    assert told == ["safe", "safe", "close"]


def test_a_users_file_runs_with_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "wiring_of_mine.py").write_text("PIN = 13\n")
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "import wiring_of_mine\n"
        "@dataclass\n"
        "class Pin:\n"
        "    level: float\n"
        "    def process(self, pose, **kwargs):\n"
        "        self.seen = wiring_of_mine.PIN, self.level, sorted(kwargs)\n"
        "def broken(pose):\n"
        "    return 1 / 0\n"
    )
    output = open_callback(f"{tmp_path / 'mine.py'}:Pin", MOUSE, {"level": "0.5"}, name="pin")
    output.open()
    output.send(pose_at(0, found_of([ANIMAL])))
    assert output._callback.seen == (13, 0.5, ["frame_time", "pose_time", "record"])
    broken = open_callback(f"{tmp_path / 'mine.py'}:broken", MOUSE, {}, name="b")
    broken.open()
    with pytest.raises(LiveError, match=r"ZeroDivisionError: division by zero, line 10 of .*mine\.py"):
        broken.send(pose_at(0, found_of([ANIMAL])))
    with pytest.raises(LiveError, match="is no class and takes no arguments; leave out level"):
        open_callback(f"{tmp_path / 'mine.py'}:broken", MOUSE, {"level": "1"}, name="b")
    (tmp_path / "worse.py").write_text("import wiring_of_mine\nx = =\n")
    with pytest.raises(LiveError, match=r"^w: .*worse.py cannot be loaded \(SyntaxError"):
        open_callback(f"{tmp_path / 'worse.py'}:x", MOUSE, {}, name="w")
    missing = open_callback(f"{tmp_path / 'mine.py'}:Pin", MOUSE, {}, name="pin")
    with pytest.raises(LiveError, match=r"could not be made \(TypeError.*level"):
        missing.open()
    with pytest.raises(LiveError, match="neither a function nor has it a method process"):
        open_callback(f"{tmp_path / 'wiring_of_mine.py'}:PIN", MOUSE, {}, name="pin")


def test_the_best_animal_is_the_one_where_one_is_asked_for() -> None:
    poses = poses_of([ANIMAL, [(7, 8), (9, 10), (11, 12)]], np.array([[0.9, np.nan, 0.9], [0.8, 0.8, 0.8]]))
    np.testing.assert_allclose(pose_array(poses, one_animal=True)[:, :2], [(7, 8), (9, 10), (11, 12)])
    np.testing.assert_allclose(pose_array(poses, one_animal=False)[0, :, 2], [0.9, 0, 0.9])
    assert np.isnan(poses.score[0, 1])  # the poses themselves stay as they are


# -- in place of DeepLabCut-Live


def finder_of_spots(options: RunOptions) -> PoseFinder:
    """Exact networks behind the real ways of looking."""
    if options.dynamic_crop is not None:
        return RegionFinder(TrackingAnalyzer(Analyzer(WHOLE, Spots()), options.dynamic_crop))
    if options.patch_search is not None:
        return PatchesFinder(PatchSearchAnalyzer(CropAnalyzer(CROPS, Spots()), options.patch_search))
    return WholeFrameFinder(Analyzer(WHOLE, Spots()), None)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Callable[..., DLCLive]:
    """A ``DLCLive`` over them."""
    monkeypatch.setattr(dlclive, "open_finder", lambda bundle, *, options, **_: finder_of_spots(options))
    return lambda **parameters: DLCLive("a.bundle", **parameters)


@pytest.mark.parametrize("cropping", [None, (20, 300, 10, 230), (33, 287, 21, 219)])
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("resize", [None, 0.5, 1.5])
def test_poses_are_in_the_frame_with_every_combination(
    live: Callable[..., DLCLive], *, cropping: tuple[int, ...] | None, dynamic: bool, resize: float | None
) -> None:
    """DeepLabCut-Live loses the animal in every second frame where ``cropping`` and ``dynamic`` come together."""
    model = live(cropping=cropping, dynamic=(dynamic, 0.5, 30), resize=resize)
    places = [(140.0 + 3 * (i > 3) * (i - 3), 110.0) for i in range(9)]  # it stands still, and then walks
    for i, (place, frame) in enumerate(zip(places, drawn(places), strict=True)):
        pose = model.get_pose(frame) if i else model.init_inference(frame)
        # 0.05 px for spots drawn in whole grey levels, and as much again where they are drawn anew at another size
        np.testing.assert_allclose(pose[:, :2], animal(place), atol=0.05 if resize is None else 0.1)
        assert (pose[:, 2] == 1).all()
    if dynamic and cropping is None:
        looked = model._finder.model.session.shapes  # type: ignore[union-attr]
        assert len(set(looked)) == 2 and looked[-1] == min(looked)  # it was followed in a region


def test_a_processor_changes_what_comes_back_and_not_where_is_looked(live: Callable[..., DLCLive]) -> None:
    class Elsewhere(Processor):
        def process(self, pose: Any, **_: Any) -> Any:
            return pose * 0 - 1000

    model = live(dynamic=(True, 0.5, 10), processor=Elsewhere())
    frames = drawn([(140, 110)] * 4)
    model.init_inference(frames[0])
    for frame in frames[1:]:
        assert (model.get_pose(frame) == -1000).all() and (model.pose == -1000).all()
    looked = model._finder.model.session.shapes  # type: ignore[union-attr]
    assert looked[-1] == min(looked) != max(looked)


def test_processors_run_unchanged(live: Callable[..., DLCLive], tmp_path: Path) -> None:
    processor = AheadByVelocity(lead=0.1)
    places = [(50.0 + 4 * i, 60.0) for i in range(5)]
    frames = drawn(places)
    with live(processor=processor) as model:
        model.init_inference(frames[0], frame_time=0.0, record=False)
        for i in range(1, 5):
            pose = model.get_pose(frames[i], frame_time=0.1 * i, record=True)
            # the way of two frames' errors of 0.05 px, added to the place's
            np.testing.assert_allclose(pose[:, :2], animal((places[i][0] + 4, 60.0)), atol=0.15)
        assert model.is_initialized
    assert not model.is_initialized
    model.processor.save(str(tmp_path / "log"))
    assert (tmp_path / "log").read_text().count("True") == 4


def test_a_processor_that_returns_nothing_or_raises(live: Callable[..., DLCLive]) -> None:
    silent = Silent()
    frames = drawn([(50, 60), (54, 60)])
    model = live(processor=silent)
    first = model.init_inference(frames[0])
    assert len(silent.seen) == 1 and first is silent.seen[0]
    raising = live(processor=Raising(), dynamic=(True, 0.5, 10))
    for frame in frames:
        with pytest.raises(OSError, match="the port is gone"):
            raising.get_pose(frame) if raising.is_initialized else raising.init_inference(frame)
    raising.processor = None
    np.testing.assert_allclose(raising.get_pose(frames[1])[:, :2], animal((54, 60)), atol=0.05)


def test_nothing_there_is_never_an_animal_in_the_corner(live: Callable[..., DLCLive]) -> None:
    class Nobody:
        spec, device = MICE, "cpu"

        def warm_up(self, height: int, width: int, frames: int) -> None: ...

        def find(self, _: Any) -> Any:
            return [found_of([])]

    model = live()
    model._finder = Nobody()  # type: ignore[assignment]
    frame = drawn([None])[0]
    pose = model.get_pose(frame)
    assert pose.shape == (3, 3) and np.isnan(pose[:, :2]).all() and (pose[:, 2] == 0).all()
    model.single_animal = False
    assert model.get_pose(frame).shape == (0, 3, 3)


def test_without_a_detector_patches_are_searched(live: Callable[..., DLCLive]) -> None:
    """DeepLabCut-Live raises on the first frame."""
    model = live(
        top_down_dynamic={
            "type": "TopDownDynamicCropper",
            "patch_counts": (3, 2),
            "patch_overlap": 50,
            "threshold": 0.3,
        }
    )
    places = round_trip(160)[:12]  # 5 px per frame, so that its spots stay inside the box around where it was
    for i, (place, frame) in enumerate(zip(places, drawn(places), strict=True)):
        pose = model.get_pose(frame) if i else model.init_inference(frame)
        # as of a resized frame: crops are brought to the network's size by whole grey levels
        np.testing.assert_allclose(pose[:, :2], animal(place), atol=0.1)


def test_parameters_reach_the_options() -> None:
    model = DLCLive(
        "a.bundle",
        top_down_config={"bbox_cutoff": 0.4, "max_detections": 3, "skip_frames": {"skip": 5}},
        dynamic=(True, 0.7, 21),
        resize=0.5,
    )
    options = model._options
    assert (options.detector_cutoff, options.max_animals, options.detect_every) == (0.4, 3, 5)
    crop = options.dynamic_crop
    assert crop is not None and (crop.min_score, crop.margin) == (0.7, 11)  # of the frame at half its size


def test_grey_frames_and_what_is_looked_at(live: Callable[..., DLCLive]) -> None:
    model = live(cropping=[10, 110, 20, 80], resize=2.0)
    grey = np.arange(240 * 320, dtype=np.uint8).reshape(240, 320)
    for frame in (grey, grey[..., None]):
        looked = model.process_frame(frame)
        assert looked.shape == (120, 200, 3) and looked.dtype == np.uint8


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"model_type": "tflite"}, "'tflite' does not run bundles"),
        ({"model_type": "pytroch"}, "did you mean pytorch"),
        ({"tf_config": {}}, "nothing runs TensorFlow"),
        ({"convert2rgb": False}, "bundles take BGR"),
        ({"display": True}, "rigpose live --show"),
        ({"resize": 0.0}, "0 is no scale"),
        ({"cropping": [1, 2, 3]}, "are not x1, x2, y1, y2"),
        ({"dynamic": (True, 2.0, 10)}, "crop score: 2 is no score"),
        ({"top_down_config": {"crop_size": (256, 256)}}, r"top_down_config.crop_size: .*leave it out"),
        ({"top_down_config": {"skip_frames": {"margin": 5}}}, r"skip_frames.margin: .*leave it out"),
        ({"top_down_dynamic": {"type": "DynamicCropper"}}, "give TopDownDynamicCropper"),
        ({"top_down_dynamic": {"treshold": 1}}, "did you mean threshold"),
    ],
)
def test_what_means_nothing_here_is_refused(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RigposeError, match=sentence) as raised:
        DLCLive("a.bundle", **parameters)
    assert "\n" not in str(raised.value)


def test_calls_that_make_no_sense(live: Callable[..., DLCLive]) -> None:
    model = live(cropping=(0, 400, 0, 100))
    frame = drawn([(50, 60)])[0]
    with pytest.raises(LiveError, match="call init_inference first"):
        model.get_pose(frame)
    with pytest.raises(ConfigError, match=r"cropping: the crop 0,400,0,100 leaves the frame of 320x240 px"):
        model.init_inference(frame)
    assert model.init_inference() is None
    with pytest.raises(LiveError, match="there is no frame"):
        model.get_pose()
    with pytest.raises(LiveError, match=r"expected uint8 \(H, W, 3\) BGR or \(H, W\) grey, got float32"):
        live().process_frame(frame.astype(np.float32))
    with pytest.raises(LiveError, match=r"x\.pt: is no bundle; export the shuffle with rigpose export"):
        DLCLive("x.pt").init_inference(frame)


def test_a_real_bundle_gives_the_poses_of_the_analyzer(tmp_path: Path) -> None:
    import rigpose

    folder = write_spot_bundle(tmp_path / "spots.bundle").path
    frames = drawn([(100 + 3 * i, 80) for i in range(4)])
    expected = rigpose.load(folder, device="cpu", threads=1).predict(frames)
    with DLCLive(folder, model_type="pytorch", device="cpu") as model:
        assert model.cfg == {"net_type": "spots"}
        made_with = {"path": folder, "cfg": model.cfg, "model_type": "pytorch", "precision": "FP32", "cropping": None}
        assert model.parameterization == {
            **made_with,
            "dynamic": (False, 0.5, 10),
            "resize": None,
            "processor": None,
        }
        got = [model.get_pose(frame) if i else model.init_inference(frame) for i, frame in enumerate(frames)]
    for pose, poses in zip(got, expected, strict=True):
        np.testing.assert_array_equal(pose, poses.to_array()[0])
    with DLCLive(folder, device="cpu", single_animal=False) as model:
        np.testing.assert_array_equal(model.init_inference(frames[0]), expected[0].to_array())


def test_poses_are_nobody_elses_memory() -> None:
    poses: Poses = poses_of([ANIMAL])
    array = pose_array(poses, one_animal=True)
    array[:] = 0
    assert poses.xy[0, 0].tolist() == [1.0, 2.0]
