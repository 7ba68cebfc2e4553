"""Loading bundles of every family, over sessions without a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from drawn_herd import SPEC as HERD
from drawn_herd import Herd
from drawn_video import draw_frame, write_video

from rigpose.analyzers.conditional import ConditionalAnalyzer
from rigpose.analyzers.run_options import RunOptions
from rigpose.analyzers.top_down import TopDownAnalyzer
from rigpose.analyzers.tracking_crop import DynamicCrop, TrackingAnalyzer
from rigpose.arrays import Array
from rigpose.bundles.bundle import FORMAT, Bundle, Display, GraphSpec, Manifest, Provenance, Role, TensorSpec
from rigpose.errors import BackendError, BundleError, ConfigError
from rigpose.files.results import read_results
from rigpose.load import BundleAnalyzer, load
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.parity.replay import open_sessions
from rigpose.sessions import backends
from rigpose.videos.analysis import AnalysisOptions

PAIR = ModelSpec("top_down", "x", ("nose", "tail"), ("one", "two"), crop=CropSpec(16, 16), box_margin=20)
CONDITIONAL = ModelSpec(
    "conditional_top_down", "x", ("tail", "nose"), ("one", "two"), crop=CropSpec(16, 16), box_margin=5
)


class TwoBoxes:
    """A detector that sees two animals wherever it looks."""

    device = "cpu"
    looked = 0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        count = len(inputs["frames"])
        TwoBoxes.looked += count
        boxes = np.array([[10, 10, 50, 50], [60, 20, 100, 60], [0, 0, 0, 0]], np.float32)
        return {
            "boxes": np.tile(boxes, (count, 1, 1)),
            "scores": np.tile(np.array([0.9, 0.4, 0], np.float32), (count, 1)),
        }


class Middle:
    """A crop network whose keypoints are in the middle of the crop, or where it is told."""

    device = "cpu"
    told: Array = np.empty(0)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        Middle.told = inputs.get("conditions", np.empty(0))
        return {"keypoints": np.tile(np.array([8, 8, 0.9], np.float32), (len(inputs["frames"]), 2, 1))}


SESSIONS = {"herd.onnx": Herd, "middle.onnx": Middle, "boxes.onnx": TwoBoxes}


@pytest.fixture(autouse=True)
def without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(path: Path, *, device: str, threads: int | None) -> object:
        assert device == "cpu" and threads == 3
        return SESSIONS[path.name]()

    monkeypatch.setattr(backends, "OnnxRuntimeSession", opened)
    TwoBoxes.looked = 0


def bundle(folder: Path, model: ModelSpec, pose: str, *, detector: DetectorSpec | None = None) -> Bundle:
    graphs: dict[Role, str] = {"pose": pose}
    if detector is not None:
        graphs["detector"] = "boxes.onnx"
    manifest = Manifest(
        rigpose_bundle=FORMAT,
        created="",
        scorer="DLC_x",
        model=model,
        detector=detector,
        graphs=tuple(
            GraphSpec(role, file, ("onnxruntime", "openvino"), "fp32", 17, 1, "1.17", (), ())
            for role, file in graphs.items()
        ),
        display=Display(),
        provenance=Provenance("", "", "", "", "", None, "", None, None),
        files={},
    )
    (folder / "pytorch_config.yaml").write_text("net_type: x\n", encoding="utf-8")
    return Bundle(folder, manifest, f"checksum of {pose}")


def loaded(opened: Bundle, **chosen) -> BundleAnalyzer:
    return load(opened, device="cpu", threads=3, **chosen)


def test_a_bundle_of_whole_frames_runs_with_the_chosen_grouping(tmp_path: Path) -> None:
    analyzer = loaded(bundle(tmp_path, HERD, "herd.onnx"), options=RunOptions(max_animals=1))
    [poses] = analyzer.predict(draw_frame(3))
    assert len(poses) == 1 and analyzer.spec.individuals == HERD.individuals
    assert analyzer.settings["grouping"]["max_animals"] == 1


def test_a_region_follows_the_one_animal_of_a_network_that_sees_frames_of_any_size(tmp_path: Path) -> None:
    single = bundle(tmp_path, ModelSpec("single_animal", "x", ("nose", "tail")), "middle.onnx")
    analyzer = loaded(single, options=RunOptions(dynamic_crop=DynamicCrop(margin=4)))
    assert isinstance(analyzer.model, TrackingAnalyzer) and analyzer.settings["dynamic_crop"]["margin"] == 4
    assert analyzer.analyze(write_video(tmp_path / "a.mp4", range(10))).frames == 10
    assert loaded(single).settings["dynamic_crop"] is None
    for sides, fits in ((("height", "width"), True), (("32*height", "32*width"), True), ((256, 256), False)):
        frames = TensorSpec("frames", "uint8", ("batch", *sides, 3))
        graph = replace(single.manifest.graph("pose"), inputs=(frames,))
        sized = replace(single, manifest=replace(single.manifest, graphs=(graph,)))
        if fits:
            loaded(sized, options=RunOptions(dynamic_crop=DynamicCrop()))
            continue
        with pytest.raises(ConfigError, match=r"crop dynamic: the network of .* sees 256 x 256 px and nothing else"):
            loaded(sized, options=RunOptions(dynamic_crop=DynamicCrop()))


def test_a_pair_is_detector_and_crops(tmp_path: Path) -> None:
    pair = bundle(tmp_path, PAIR, "middle.onnx", detector=DetectorSpec(2))
    analyzer = loaded(pair, options=RunOptions(detect_every=3))
    assert isinstance(analyzer.model, TopDownAnalyzer) and analyzer.device == "cpu"
    [poses] = analyzer.predict(draw_frame(0))
    np.testing.assert_allclose(poses.xy[:, 0], [[30, 30], [80, 40]])
    [sure] = loaded(pair, options=RunOptions(detector_cutoff=0.5)).predict(draw_frame(0))
    assert len(sure) == 1
    assert analyzer.settings == {
        "max_animals": 2,
        "detector_cutoff": 0.0,
        "detector_iou": 1.0,
        "detect_every": 3,
        "same_animal": None,
        "backend": "onnxruntime",
        "precision": "fp32",
    }


def test_a_pair_analyses_a_video_and_detects_as_often_as_it_is_told(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(20))
    pair = bundle(tmp_path, PAIR, "middle.onnx", detector=DetectorSpec(2))
    result = loaded(pair, options=RunOptions(detect_every=3)).analyze(video, AnalysisOptions(batch=4))
    # Frames 0, 3, ... 18.
    assert TwoBoxes.looked == 7
    found = read_results(result.h5)
    assert found.individuals == ("one", "two")
    np.testing.assert_allclose(found.xy[:, 0], np.broadcast_to([30, 30], (20, 2, 2)))
    np.testing.assert_allclose(found.xy[:, 1], np.broadcast_to([80, 40], (20, 2, 2)))


def test_a_pair_without_its_detector_says_what_to_do(tmp_path: Path) -> None:
    analyzer = loaded(bundle(tmp_path, PAIR, "middle.onnx"))
    for use in (analyzer.check_complete, lambda: analyzer.predict(draw_frame(0))):
        with pytest.raises(BundleError, match=r"has no detector.*export the shuffle again"):
            use()


def test_a_conditional_bundle_gets_its_rough_poses_from_the_one_that_is_named(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(6))
    other = tmp_path / "other"
    other.mkdir()
    rough = bundle(other, HERD, "herd.onnx")
    analyzer = loaded(
        bundle(tmp_path, CONDITIONAL, "middle.onnx"),
        conditions=rough,
        options=RunOptions(grouping={"apply_pose_nms": False, "min_center_score": 0.1}),
    )
    assert isinstance(analyzer.model, ConditionalAnalyzer)
    assert analyzer.settings["conditions"] == "checksum of herd.onnx"
    assert analyzer.settings["grouping"]["min_center_score"] == 0.1
    [poses] = analyzer.predict(draw_frame(0))
    assert analyzer.settings["same_animal"] is None
    # As many animals as the conditional model has; its keypoints are named the other way round.
    assert len(poses) == 2 and Middle.told.shape == (2, 2, 3)
    assert (Middle.told[:, 0, 1] > Middle.told[:, 1, 1]).all()
    np.testing.assert_allclose(Middle.told[..., 2], [[0.8, 0.9]] * 2, atol=1e-6)
    assert analyzer.analyze(video).frames == 6


def test_a_conditional_bundle_alone_and_one_with_the_wrong_partner_are_refused(tmp_path: Path) -> None:
    conditional = bundle(tmp_path, CONDITIONAL, "middle.onnx")
    with pytest.raises(BundleError, match="--conditions"):
        loaded(conditional).check_complete()
    with pytest.raises(BundleError, match="top_down looks at one animal at a time"):
        loaded(conditional, conditions=bundle(tmp_path, PAIR, "middle.onnx"))
    with pytest.raises(ConfigError, match="knows no keypoint tail"):
        loaded(conditional, conditions=bundle(tmp_path, replace(HERD, keypoints=("nose", "x")), "herd.onnx"))
    rough = bundle(tmp_path, HERD, "herd.onnx")
    with pytest.raises(ConfigError, match="detect_every: a model of the task conditional_top_down has no detector"):
        loaded(conditional, conditions=rough, options=RunOptions(detect_every=2))
    with pytest.raises(BundleError, match="needs no rough poses"):
        loaded(rough, conditions=conditional)


def test_an_older_onnxruntime_than_a_graph_needs_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = bundle(tmp_path, HERD, "herd.onnx")
    graph = replace(opened.manifest.graph("pose"), minimum_onnxruntime="1.25")
    needy = replace(opened, manifest=replace(opened.manifest, graphs=(graph,)))
    for installed in ("1.25.0", "1.25.0.dev3", "1.31.1", "2.0"):
        monkeypatch.setattr(onnxruntime, "__version__", installed)
        loaded(needy)
    for installed in ("1.24.4", "1.9.0"):
        monkeypatch.setattr(onnxruntime, "__version__", installed)
        with pytest.raises(BackendError, match=rf"needs onnxruntime 1\.25 .* {installed}.*pip install --upgrade 'onnx"):
            loaded(needy)
        with pytest.raises(BackendError, match="needs onnxruntime"):
            open_sessions(needy, device="cpu")


SHIPPED = (
    GraphSpec("pose", "pose.onnx", ("onnxruntime", "openvino"), "fp32", 17, 1, "1.17", (), ()),
    GraphSpec("pose", "pose.portable.onnx", ("tensorrt",), "fp32", 17, 1, "1.17", (), ()),
    GraphSpec("pose", "pose.fp16.onnx", ("onnxruntime", "openvino", "tensorrt"), "fp16", 17, 1, "1.17", (), ()),
    GraphSpec("pose", "pose.int8.onnx", ("onnxruntime",), "int8", 17, 1, "1.17", (), ()),
    GraphSpec("pose", "pose.int8-symmetric.onnx", ("openvino", "tensorrt"), "int8", 17, 1, "1.17", (), ()),
)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Which class was given which file."""
    seen: list[tuple[str, str]] = []

    def onnxruntime_session(path: Path, *, device: str, threads: int | None, tensorrt: object = None) -> object:
        seen.append(("onnxruntime" if tensorrt is None else "onnxruntime-tensorrt", path.name))
        return Herd()

    def openvino_session(path: Path, *, device: str, threads: int | None, precision: str) -> object:
        seen.append((f"openvino {precision}", path.name))
        return Herd()

    def tensorrt_session(bundle: Bundle, graph: GraphSpec, *, device: str) -> object:
        seen.append(("tensorrt", graph.file))
        return Herd()

    monkeypatch.setattr(backends, "OnnxRuntimeSession", onnxruntime_session)
    monkeypatch.setattr(backends, "OpenVinoSession", openvino_session)
    monkeypatch.setattr("rigpose.sessions.tensorrt.open_tensorrt", tensorrt_session)
    return seen


@pytest.mark.parametrize(
    ("backend", "precision", "expected"),
    [
        ("onnxruntime", None, ("onnxruntime", "pose.onnx")),
        ("onnxruntime", "fp16", ("onnxruntime", "pose.fp16.onnx")),
        ("onnxruntime", "int8", ("onnxruntime", "pose.int8.onnx")),
        ("openvino", None, ("openvino fp32", "pose.onnx")),
        ("openvino", "bf16", ("openvino bf16", "pose.onnx")),
        ("openvino", "int8", ("openvino int8", "pose.int8-symmetric.onnx")),
        ("tensorrt", None, ("tensorrt", "pose.portable.onnx")),
        ("tensorrt", "fp16", ("tensorrt", "pose.fp16.onnx")),
        ("tensorrt", "int8", ("tensorrt", "pose.int8-symmetric.onnx")),
        ("onnxruntime-tensorrt", None, ("onnxruntime-tensorrt", "pose.portable.onnx")),
        ("onnxruntime-tensorrt", "int8", ("onnxruntime-tensorrt", "pose.int8-symmetric.onnx")),
    ],
)
def test_each_word_opens_the_file_that_is_made_for_it(
    backend: str, precision: str | None, expected: tuple[str, str], tmp_path: Path, opened: list[tuple[str, str]]
) -> None:
    shipped = bundle(tmp_path, HERD, "pose.onnx")
    shipped = replace(shipped, manifest=replace(shipped.manifest, graphs=SHIPPED))
    analyzer = loaded(shipped, backend=backend, precision=precision)
    assert opened == [expected]
    # What an interrupted analysis is compared with before it is continued.
    assert analyzer.settings["backend"] == backend and analyzer.settings["precision"] == (precision or "fp32")


def test_a_precision_that_is_not_there_or_does_not_help_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = bundle(tmp_path, HERD, "herd.onnx")
    with pytest.raises(ConfigError, match=r"no pose graph in int8 for onnxruntime .*fp32 .*--precision int8"):
        loaded(plain, precision="int8")
    with pytest.raises(ConfigError, match=r"no pose graph in fp32 for tensorrt"):
        loaded(plain, backend="onnxruntime-tensorrt")
    shipped = replace(plain, manifest=replace(plain.manifest, graphs=SHIPPED))
    with pytest.raises(ConfigError, match=r"precision 'fp16': OpenVINO computes in float32 .* use bf16"):
        loaded(shipped, backend="openvino", precision="fp16")
    for backend in ("tensorrt", "onnxruntime-tensorrt", "onnxruntime"):
        with pytest.raises(ConfigError, match=rf"precision 'bf16': {backend} runs a graph in the precision"):
            loaded(shipped, backend=backend, precision="bf16")
    monkeypatch.setattr(backends, "resolve_device", lambda asked: "cuda:0")
    with pytest.raises(ConfigError, match=r"precision 'int8': ONNX Runtime's CUDA provider .* add --device cpu"):
        load(shipped, device="cuda", threads=3, precision="int8")


def test_two_boxes_of_one_animal_are_one_where_the_run_says_so(tmp_path: Path) -> None:
    pair = bundle(tmp_path, PAIR, "middle.onnx", detector=DetectorSpec(2))
    # The boxes of 40 px overlap by nothing: their poses are 51 px apart.
    assert len(loaded(pair, options=RunOptions(same_animal=0.9, detector_iou=0.0)).predict(draw_frame(0))[0]) == 2
    chosen = loaded(pair, options=RunOptions(same_animal=0.9, detector_iou=0.3)).settings
    assert chosen["same_animal"] == 0.9 and chosen["detector_iou"] == 0.3


def test_a_combined_graph_that_is_not_there_says_what_makes_one(tmp_path: Path) -> None:
    plain = bundle(tmp_path, HERD, "herd.onnx").manifest
    with pytest.raises(ConfigError, match=r"no pair graph in fp32 .*; export it again with --combined, or leave out"):
        plain.graph("pair")
    with pytest.raises(ConfigError, match=r"in fp32 for tensorrt .*; export it again with --combined --portable, or"):
        plain.graph("pair", backend="tensorrt")
    with pytest.raises(ConfigError, match=r"made in fp32 alone, so leave out combined, or int8\.$"):
        plain.graph("pair", precision="int8")


def test_a_proof_opens_the_combined_graph_in_fp32_alone(tmp_path: Path, opened: list[tuple[str, str]]) -> None:
    shipped = bundle(tmp_path, HERD, "pose.onnx")
    pair = GraphSpec("pair", "pair.onnx", ("onnxruntime", "openvino"), "fp32", 17, 1, "1.17", (), ())
    shipped = replace(shipped, manifest=replace(shipped.manifest, graphs=(*SHIPPED, pair)))
    for precision, with_pair in (("fp32", True), ("int8", False), ("bf16", False)):
        opened.clear()
        assert ("pair" in open_sessions(shipped, backend="openvino", precision=precision)) == with_pair
        assert ((f"openvino {precision}", "pair.onnx") in opened) == with_pair
