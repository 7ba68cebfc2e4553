"""Every single-animal network against DeepLabCut's recorded outputs under reproducible weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_weights import fill, network_input

from rigpose_training import build_model, decode_maps
from rigpose_training.pose_config.files import read_pose_config

NETWORKS = ["resnet_50", "resnet_101", "hrnet_w18", "hrnet_w32", "hrnet_w48"]
# Relative to each map's spread: random weights give outputs from 1e-4 to 1e4. The rest is the order of float32 sums.
RELATIVE = 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_deeplabcuts_maps(golden: Path, name: str) -> None:
    folder = golden / "networks"
    facts = json.loads((folder / f"single.{name}.json").read_text())
    model = build_model(folder / f"single.{name}.yaml").eval()
    recorded = {key: tuple(shape) for key, shape in facts["parameters"].items()}
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == recorded
    assert list(model.state_dict()) == list(recorded)
    assert model.strides == facts["strides"]

    fill(model, facts["salt"])
    with torch.inference_mode():
        outputs = model(network_input(facts["input"], facts["input_seed"]))
    with np.load(folder / f"single.{name}.npz") as arrays:
        reference = {key: arrays[key] for key in arrays.files}
    compared = 0
    for key, expected in reference.items():
        if key.startswith("output."):
            _, head, kind = key.split(".")
            found = outputs[head][kind].numpy()
            assert np.abs(found - expected).max() <= RELATIVE * np.ptp(expected), key
            compared += 1
    assert compared == 2

    predictor = read_pose_config(folder / f"single.{name}.yaml")["model"]["heads"]["bodypart"]["predictor"]
    maps = {k.split(".")[-1]: v for k, v in reference.items() if k.startswith("output.bodypart")}
    poses = decode_maps(predictor, maps, facts["strides"]["bodypart"])
    expected = next(v for k, v in reference.items() if k.startswith("prediction.bodypart"))
    found = np.stack([p.to_array() for p in poses])
    # Offsets of random networks reach 1e5 px, where float32 steps are 0.01 px.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-3)


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
