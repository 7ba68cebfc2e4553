"""Every bottom-up network against DeepLabCut's recorded outputs under reproducible weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_weights import fill, network_input

from rigpose_training import build_model, decode_maps
from rigpose_training.pose_config.files import read_pose_config

SINGLE_ANIMAL = ["resnet_50", "resnet_101", "hrnet_w18", "hrnet_w32", "hrnet_w48"]
NETWORKS = [
    *(f"single.{name}" for name in SINGLE_ANIMAL),
    *(f"paf.{name}" for name in SINGLE_ANIMAL),
    "dlcrnet_stride16_ms5",
    "dlcrnet_stride32_ms5",
    "dekr_w18",
    "dekr_w32",
    "dekr_w48",
]
MAPS = {"single": {"heatmap", "locref"}, "dekr": {"heatmap", "offset"}}
# Relative to each map's spread: random weights give outputs from 1e-4 to 1e4. The rest is the order of float32 sums.
RELATIVE = 1e-4
# Random weights move the sampling points of deformable convolutions by about 1000 cells, where a float32 step is
# 6e-5 of a cell: the few points that still fall on the map, and between very different cells, move with the last bit.
# The recorded maps themselves are this far from the same network in float64 (dekr_w48: 1.6e-4).
RELATIVE_WHERE_SAMPLES_MOVE = 1e-3


def recorded(golden: Path, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    facts = json.loads((golden / "networks" / f"{name}.json").read_text())
    with np.load(golden / "networks" / f"{name}.npz") as arrays:
        return facts, {key: arrays[key] for key in arrays.files}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_deeplabcuts_maps(golden: Path, name: str) -> None:
    facts, reference = recorded(golden, name)
    model = build_model(golden / "networks" / f"{name}.yaml").eval()
    parameters = {key: tuple(shape) for key, shape in facts["parameters"].items()}
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == parameters
    assert list(model.state_dict()) == list(parameters)
    assert model.strides == facts["strides"]

    fill(model, facts["salt"])
    with torch.inference_mode():
        outputs = model(network_input(facts["input"], facts["input_seed"]))
    family = name.replace("_", ".").split(".")[0]
    assert set(outputs["bodypart"]) == MAPS.get(family, {"heatmap", "locref", "paf"})
    for kind, found in outputs["bodypart"].items():
        expected = reference[f"output.bodypart.{kind}"]
        assert found.shape == expected.shape
        errors = np.abs(found.numpy() - expected) / np.ptp(expected)
        if kind == "offset":
            assert errors.max() <= RELATIVE_WHERE_SAMPLES_MOVE, kind
            assert np.quantile(errors, 0.999) <= RELATIVE / 10, kind
        else:
            assert errors.max() <= RELATIVE, kind


@pytest.mark.parametrize("name", SINGLE_ANIMAL)
def test_the_maps_of_one_animal_are_decoded_to_deeplabcuts_pose(golden: Path, name: str) -> None:
    facts, reference = recorded(golden, f"single.{name}")
    config = read_pose_config(golden / "networks" / f"single.{name}.yaml")
    predictor = config["model"]["heads"]["bodypart"]["predictor"]
    maps = {kind: reference[f"output.bodypart.{kind}"] for kind in ("heatmap", "locref")}
    poses = decode_maps(predictor, maps, facts["strides"]["bodypart"])
    expected = reference["prediction.bodypart.poses"]
    # Offsets of random networks reach 1e5 px, where float32 steps are 0.01 px.
    np.testing.assert_allclose(np.stack([p.to_array() for p in poses]), expected, rtol=1e-6, atol=1e-3)


def test_a_second_deconvolution_is_an_edit_of_the_lists(golden: Path) -> None:
    config = read_pose_config(golden / "networks" / "single.resnet_50.yaml")
    head = config["model"]["heads"]["bodypart"]
    for section, outputs in (("heatmap_config", 4), ("locref_config", 8)):
        head[section] |= {"channels": [2048, 32, outputs], "kernel_size": [3, 3], "strides": [2, 2]}
    model = build_model(config).eval()
    assert model.strides == {"bodypart": 4.0}
    with torch.inference_mode():
        maps = model(torch.zeros(1, 3, 64, 96))["bodypart"]
    # 64 x 96 at stride 16 is 4 x 6 cells; each deconvolution takes n to 2n + 1.
    assert maps["heatmap"].shape == (1, 4, 19, 27)
    assert maps["locref"].shape == (1, 8, 19, 27)
    assert "heads.bodypart.heatmap_head.deconv_layers.2.weight" in model.state_dict()
