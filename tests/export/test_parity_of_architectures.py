"""Documented networks give the same poses in ONNX Runtime as in torch, through the rig's own analyzer.

Deeper and wider ones of a family repeat its layers; ``benchmarks/export_table.py`` compares all that are documented.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from exported_pairs import Pair, documented_config, drawn, export_pair

from rigpose.analyzers.analyzer import Analyzer
from rigpose.bundles.golden import Told
from rigpose.measures.differences import Tolerance, compare
from rigpose.models.model_spec import ModelSpec
from rigpose.schema import parse
from rigpose_export.proof.parity import ask_poses, prove
from rigpose_training.spec import model_spec

# 0.01 px, plus float32 rounding of far coordinates: half a cell, the smallest real mistake, is 1 px or more.
TOLERANCE = Tolerance()
# Batch, height, width: the frame's own size is odd, so every network is padded or leaves a remainder at each stride.
CASES = ((1, 97, 131), (3, 64, 96), (8, 75, 51))


def check(pair: Pair, *, cases: tuple[tuple[int, int, int], ...] = CASES) -> None:
    """Compare in every case; make sure that there was something to compare."""
    poses, ties, compared = [], 0, 0
    for batch, height, width in cases:
        frames = [drawn(i, height, width) for i in range(batch)]
        ask = ask_poses(pair.reference.spec, frames, Told())
        answers = prove(ask, pair.torch, pair.exported.session, TOLERANCE)
        expected, difference = answers.answers[0], answers.difference
        print(f"batch {batch}, {height} x {width}: {difference}")
        assert difference.within, difference
        poses += [p.to_array()[0] for p in expected]
        ties, compared = ties + difference.ties, compared + difference.compared
    assert ties <= compared // 10
    xy, score = np.stack(poses)[..., :2], np.stack(poses)[..., 2]
    places = np.unique(xy.reshape(-1, 2), axis=0)
    assert len(places) > 8, "keypoints lie at different places, so that mistakes would show"
    assert np.ptp(score) > 0.01 and score.max() < 1.0, "scores differ and are not clipped"


def check_outputs(pair: Pair) -> None:
    assert [(v.name, v.dtype) for v in pair.graph.inputs] == [("frames", "uint8")]
    assert [(v.name, v.dtype) for v in pair.graph.outputs] == [("keypoints", "float32")]
    batch, height, width, channels = pair.graph.inputs[0].shape
    assert all(isinstance(axis, str) for axis in (batch, height, width)) and channels == 3
    assert pair.graph.outputs[0].shape == (batch, 4, 3)


@pytest.fixture(scope="module")
def tiny(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return export_pair(tiny_config, tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("net_type", ["resnet_50", "hrnet_w18"])
def test_a_documented_network_gives_torchs_poses(net_type: str, tmp_path: Path) -> None:
    pair = export_pair(documented_config(net_type), tmp_path)
    check_outputs(pair)
    check(pair)


def changed(config: Mapping[str, Any], *, head: Mapping[str, Any] | None = None, **inference: Any) -> dict[str, Any]:
    """A copy with other entries in the head and in ``data.inference``."""
    result = copy.deepcopy(dict(config))
    result["model"]["heads"]["bodypart"] |= head or {}
    result["data"]["inference"] |= inference
    return result


def test_a_second_deconvolution_is_exported(tiny_config: dict[str, Any], tmp_path: Path) -> None:
    two = {"kernel_size": [3, 3], "strides": [2, 2]}
    head = {
        "heatmap_config": {"channels": [512, 32, 4], **two},
        "locref_config": {"channels": [512, 32, 8], **two},
    }
    pair = export_pair(changed(tiny_config, head=head), tmp_path)
    assert pair.model.strides == {"bodypart": 4.0}
    check(pair)


def test_without_location_refinement_keypoints_are_cell_centres(tiny_config: dict[str, Any], tmp_path: Path) -> None:
    predictor = tiny_config["model"]["heads"]["bodypart"]["predictor"] | {"location_refinement": False}
    pair = export_pair(changed(tiny_config, head={"predictor": predictor, "locref_config": None}), tmp_path)
    check(pair)
    keypoints = pair.exported.predict(drawn(0, 97, 131))[0].xy
    np.testing.assert_array_equal(keypoints % 8, 4)  # stride 8, and the frame is not scaled


def test_a_sigmoid_is_exported(tiny: Pair, tiny_config: dict[str, Any], tmp_path: Path) -> None:
    predictor = tiny_config["model"]["heads"]["bodypart"]["predictor"]
    logits = export_pair(changed(tiny_config, head={"predictor": predictor | {"apply_sigmoid": True}}), tmp_path)
    check(logits)
    frame = drawn(0, 97, 131)
    expected = 1 / (1 + np.exp(-tiny.exported.predict(frame)[0].score.astype(np.float64)))
    np.testing.assert_allclose(logits.exported.predict(frame)[0].score, expected, atol=1e-5)


def test_pixels_scaled_to_the_unit_range_alone_are_exported(tiny_config: dict[str, Any], tmp_path: Path) -> None:
    check(export_pair(changed(tiny_config, normalize_images=False, scale_to_unit_range=True), tmp_path))


@pytest.mark.parametrize(
    ("inference", "input_size"),
    [
        ({"resize": {"width": 120, "height": 90, "keep_ratio": True}}, (90, 120)),
        ({"resize": {"width": 120, "height": 90, "keep_ratio": False}}, (90, 120)),
        ({"longest_max_size": 100}, (74, 100)),
    ],
    ids=["resize inside", "resize", "longest side"],
)
def test_the_hosts_steps_before_the_graph_are_the_same(
    tiny: Pair, tiny_config: dict[str, Any], inference: dict[str, Any], input_size: tuple[int, int]
) -> None:
    spec = model_spec(changed(tiny_config, **inference))
    reference, exported = (Analyzer(spec, one.session) for one in (tiny.reference, tiny.exported))
    assert exported.preparation(97, 131).input_size == input_size
    check(replace(tiny, reference=reference, exported=exported))


def test_frames_are_padded_to_what_the_graph_takes(tiny_config: dict[str, Any], tmp_path: Path) -> None:
    padding = {"pad_width_divisor": 32, "pad_height_divisor": 32}
    pair = export_pair(changed(tiny_config, auto_padding=padding), tmp_path)
    assert pair.exported.preparation(97, 131).input_size == (128, 160)
    assert pair.graph.inputs[0].shape[1:3] == ("32*height", "32*width")
    check(pair)


def test_a_frame_alone_and_in_a_batch_gives_one_pose(tiny: Pair) -> None:
    frames = [drawn(i, 75, 51) for i in range(8)]
    together = tiny.exported.predict(frames)
    alone = [tiny.exported.predict(frame)[0] for frame in frames]
    assert compare(alone, together, TOLERANCE).within
    assert not compare(alone, together[::-1], TOLERANCE).within


def test_the_exported_graph_has_no_control_flow_and_carries_its_contract(tiny: Pair) -> None:
    model = onnx.load(tiny.file)
    assert not {"If", "Loop", "Scan", "NonZero"} & {node.op_type for node in model.graph.node}
    assert tiny.graph.nodes == len(model.graph.node) < 200
    (contract,) = [p.value for p in model.metadata_props if p.key == "rigpose.model"]
    assert parse(ModelSpec, json.loads(contract), where="contract") == tiny.reference.spec
    assert [p.name for p in tiny.file.parent.iterdir()] == ["pose.onnx"], "weights are inside"
    assert torch.is_grad_enabled(), "the exporter leaves torch as it was"
