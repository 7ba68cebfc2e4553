"""A pair's combined graph as a file: the poses of two graphs from ONNX Runtime, for any batch and any frame."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from combined_pairs import ANIMALS, CombinedPair, combined_pair, drawn_batch, largest_gaps

from rigpose.analyzers.combined import CombinedAnalyzer, by_the_pose_graph
from rigpose.bundles.bundle import GraphSpec
from rigpose.files.results import read_results
from rigpose.models.crops import CropSpec, plan_crop
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose.sessions.tensorrt_library import installed_libraries
from rigpose.videos.analysis import AnalysisOptions, analyze_video
from rigpose.videos.metadata import ResultIdentity
from rigpose_export.graphs.half_precision import to_fp16
from rigpose_export.graphs.onnx_file import write_pair
from rigpose_export.graphs.rules import check_structure
from rigpose_export.proof.tensorrt_check import build_with_rtx
from rigpose_training.crop_sampling import CropSampler

# Keypoints may be this far from those of two graphs; half of the 0.1 px that labels are given with.
ALLOWED = 0.05
# Two engines add up in other orders: coordinates of hundreds of pixels in float32, moved by a network's offsets.
OTHER_ENGINE = 1e-3


@dataclass(frozen=True)
class Written:
    """A pair, and its combined graph on disk."""

    pair: CombinedPair
    file: Path
    graph: GraphSpec

    def analyzer(self, file: Path | None = None) -> CombinedAnalyzer:
        session = OnnxRuntimeSession(file or self.file, device="cpu", threads=2)
        return CombinedAnalyzer(self.pair.spec, self.pair.boxes, session, animals=ANIMALS)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    pair, file = combined_pair("top_down_resnet_50"), tmp_path_factory.mktemp("pair") / "pair.onnx"
    return Written(pair, file, write_pair(pair.graph, pair.boxes, pair.spec, file))


@pytest.mark.slow
def test_onnx_runtime_gives_the_poses_of_two_graphs_for_any_batch_and_frame(written: Written) -> None:
    analyzer = written.analyzer()
    for batch, height, width in ((1, 97, 131), (3, 131, 97), (2, 301, 200), (3, 480, 641)):
        frames = drawn_batch(batch, height, width)
        found = analyzer.predict(frames)
        assert [len(poses) for poses in found] == [ANIMALS] * batch
        keypoints, boxes = largest_gaps(written.pair.two_graphs.predict(frames), found)
        assert max(keypoints, boxes) <= OTHER_ENGINE < ALLOWED
        # In its own boxes no rounding of a box can hide anything.
        alone = by_the_pose_graph(found, written.pair.two_graphs.crops, list(frames))
        assert largest_gaps(alone, found)[0] <= OTHER_ENGINE


@pytest.mark.slow
def test_the_file_says_what_it_holds(written: Written) -> None:
    graph, model = written.graph, onnx.load(str(written.file))
    assert graph.role == "pair" and graph.precision == "fp32" and graph.file == "pair.onnx"
    assert graph.backends == ("onnxruntime", "openvino", "tensorrt")
    assert graph.inputs[0].shape == ("batch", "height", "width", 3)
    keypoints = len(written.pair.spec.keypoints)
    assert {tensor.name: tensor.shape for tensor in graph.outputs} == {
        "boxes": ("batch", ANIMALS, 4),
        "scores": ("batch", ANIMALS),
        "keypoints": ("batch", ANIMALS, keypoints, 3),
    }
    assert {"rigpose.model", "rigpose.detector"} <= {prop.key for prop in model.metadata_props}
    assert Counter(node.op_type for node in model.graph.node)["GridSample"] == 1
    # The frames are read as they are, as many as there are, for all of their crops at once.
    (sample,) = [node for node in model.graph.node if node.op_type == "GridSample"]
    values = {value.name: value.type.tensor_type for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    read = [dim.dim_param or dim.dim_value for dim in values[sample.input[0]].shape.dim]
    assert read == ["batch", 3, "height", "width"]


@pytest.mark.slow
def test_a_video_has_the_poses_of_two_graphs(written: Written, tmp_path: Path) -> None:
    video = tmp_path / "drawn.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 120))
    for frame in drawn_batch(7, 120, 160):
        writer.write(frame)
    writer.release()
    tables = []
    for analyzer in (written.analyzer(), written.pair.two_graphs):
        options = AnalysisOptions(batch=3, destination=tmp_path / type(analyzer).__name__, save_csv=False)
        result = analyze_video(analyzer, video, identity=ResultIdentity("DLC_Drawn", "01", {}, {}), options=options)
        assert result.frames == 7
        tables.append(read_results(result.h5))
    assert np.isfinite(tables[0].xy).any()
    np.testing.assert_allclose(tables[0].xy, tables[1].xy, atol=OTHER_ENGINE)


@pytest.mark.slow
def test_in_float16_crops_are_cut_in_float32(written: Written, tmp_path: Path) -> None:
    half = to_fp16(onnx.load(str(written.file)))
    check_structure(half, "pair.fp16.onnx")
    onnx.save(half, str(tmp_path / "pair.fp16.onnx"))
    frames = drawn_batch(2, 131, 197)
    exact, analyzer = written.analyzer(), written.analyzer(tmp_path / "pair.fp16.onnx")
    (sample,) = [node for node in half.graph.node if node.op_type == "GridSample"]
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(half).graph.value_info
    }
    assert {types[name] for name in (*sample.input, *sample.output)} == {onnx.TensorProto.FLOAT}
    for found, right in zip(analyzer.predict(frames), exact.predict(frames), strict=True):
        assert found.boxes is not None and right.boxes is not None
        apart = np.abs(found.boxes[:, None] - right.boxes[None]).max(axis=-1)
        # The two of each pair of boxes that score alike may change places.
        assert np.median(apart.min(axis=1)) < 1


@pytest.mark.slow
@pytest.mark.skipif("tensorrt_rtx" not in installed_libraries(), reason="TensorRT for RTX is not installed")
def test_tensorrt_for_rtx_builds_it(written: Written) -> None:
    assert build_with_rtx(written.file).plan_bytes > 0


def test_crops_cut_by_onnx_runtime_are_opencvs_to_the_last_grey_level(tmp_path: Path) -> None:
    spec, file = CropSpec(80, 64, margin=4), tmp_path / "crops.onnx"
    examples = (torch.zeros(2, 64, 96, 3, dtype=torch.uint8), torch.rand(2, 5, 4))
    program = torch.onnx.export(
        CropSampler(spec).eval(),
        examples,
        input_names=["frames", "boxes"],
        output_names=["crops", "windows"],
        dynamic_shapes=({0: "batch", 1: "height", 2: "width"}, {0: "batch"}),
        opset_version=20,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(str(file))
    session, rng = OnnxRuntimeSession(file, device="cpu", threads=1), np.random.default_rng(0)
    for batch, height, width in ((1, 97, 131), (3, 480, 641), (2, 1080, 1920)):
        frames = rng.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
        centres = rng.uniform(-0.1, 1.1, (batch, 5, 2)) * [width, height]
        halves = np.exp(rng.uniform(0, np.log(height), (batch, 5, 2))) / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=2).astype(np.float32)
        found = session.run({"frames": frames, "boxes": boxes})
        for frame, rows, crops, windows in zip(frames, boxes, found["crops"], found["windows"], strict=True):
            for box, crop, window in zip(rows, crops, windows, strict=True):
                planned = plan_crop(np.concatenate([box[:2], box[2:] - box[:2]]), (height, width), spec)
                out = np.empty((spec.height, spec.width, 3), np.uint8)
                planned.write(frame, out)
                np.testing.assert_array_equal(window, planned.window)
                np.testing.assert_array_equal(crop, out)


@pytest.mark.slow
def test_the_rows_of_a_surer_choice_are_the_first_of_all(written: Written) -> None:
    frames = drawn_batch(2, 120, 160)
    every = written.analyzer().predict(frames)
    scores = [poses.animal_score for poses in every if poses.animal_score is not None]
    cutoff = float(np.median(np.concatenate(scores)))
    fewer = replace(written.pair.boxes, max_animals=3, min_score=cutoff)
    session = OnnxRuntimeSession(written.file, device="cpu", threads=2)
    chosen = CombinedAnalyzer(written.pair.spec, fewer, session, animals=ANIMALS).predict(frames)
    assert [len(p) for p in chosen] == [min(3, int((s >= cutoff).sum())) for s in scores]
    for poses, all_of_them in zip(chosen, every, strict=True):
        np.testing.assert_array_equal(poses.xy, all_of_them.xy[: len(poses)])
