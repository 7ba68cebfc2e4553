"""What float16 and int8 cost a trained network, in pixels and against labels that people made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from exported_recording import recorded_bundle
from numpy.typing import NDArray

from rigpose.arrays import Array, Floats
from rigpose.bundles.bundle import Bundle
from rigpose_export.graphs.half_precision import to_fp16
from rigpose_export.graphs.half_rounding import with_half_rounding
from rigpose_export.graphs.quantisation import quantise

SCORE = 0.6
HALF_PX = 0.1  # keypoints that the network is sure of
INT8_ERROR = 0.05  # of the mean distance to the labels, as much as it may change
EVALUATED, CALIBRATED = slice(0, 96, 8), slice(2, 98, 12)  # no frame is in both


class Trained:
    """A ResNet-50 that DeepLabCut trained on openfield, and labelled frames of that project."""

    def __init__(self, bundle: Bundle, openfield: Path) -> None:
        self.file = bundle.file(bundle.manifest.graph("pose").file)
        labels = next((openfield / "labeled-data").rglob("CollectedData_*.csv"))
        table = pd.read_csv(labels, header=[0, 1, 2])
        self.labels: Floats = table.iloc[:, -8:].to_numpy(np.float64).reshape(len(table), 4, 2)
        self.frames = [labels.parent / Path(str(row[0])).name for row in table.iloc[:, -9:-8].to_numpy()]

    def inputs(self, rows: slice) -> Iterator[Mapping[str, Array]]:
        for path in self.frames[rows]:
            yield {"frames": np.asarray(cv2.imread(str(path)))[None]}

    def poses(self, model: onnx.ModelProto) -> Floats:
        """(N, 4, 3) x, y [px], score in the evaluated frames."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 2, 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return np.concatenate([np.asarray(session.run(None, dict(feed))[0]) for feed in self.inputs(EVALUATED)])

    def error(self, poses: Floats, sure: NDArray[np.bool_]) -> float:
        """The mean distance to the labels [px], where the float32 graph is sure; elsewhere it guesses."""
        return float(np.nanmean(np.linalg.norm(poses[..., :2] - self.labels[EVALUATED], axis=-1)[sure]))


@pytest.fixture(scope="module")
def trained(golden: Path, openfield: Path, shared: Path) -> Trained:
    return Trained(recorded_bundle(shared, golden), openfield)


@pytest.fixture(scope="module")
def expected(trained: Trained) -> Floats:
    """The poses of the float32 graph."""
    poses = trained.poses(onnx.load(str(trained.file)))
    assert trained.error(poses, poses[..., 2] > SCORE) < 5 and (poses[..., 2] > SCORE).sum() > 30
    return poses


@pytest.mark.slow
def test_float16_moves_sure_keypoints_by_less_than_a_tenth_of_a_pixel(trained: Trained, expected: Floats) -> None:
    found = trained.poses(with_half_rounding(to_fp16(onnx.load(str(trained.file)))))
    moved = np.linalg.norm(found - expected, axis=-1)[expected[..., 2] > SCORE]
    print(f"float16: median {np.median(moved):.4f}, p99 {np.quantile(moved, 0.99):.4f}, worst {moved.max():.4f} px")
    # Where the heatmaps themselves are float16, a keypoint jumps by 2 px: its two best cells, 1e-4 apart, become equal.
    assert 0 < moved.max() <= HALF_PX


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_int8_is_as_near_to_the_labels(trained: Trained, expected: Floats, backend: Any, tmp_path: Path) -> None:
    int8 = quantise(trained.file, tmp_path / "int8.onnx", trained.inputs(CALIBRATED), backend=backend)
    found = trained.poses(int8)
    sure = expected[..., 2] > SCORE
    before, after = trained.error(expected, sure), trained.error(found, sure)
    print(f"int8 for {backend}: {before:.4f} -> {after:.4f} px")
    assert found.tolist() != expected.tolist()
    assert abs(after / before - 1) <= INT8_ERROR
