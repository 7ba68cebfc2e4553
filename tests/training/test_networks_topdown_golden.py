"""Every top-down network against DeepLabCut's recorded outputs under reproducible weights."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_weights import fill, network_input

from rigpose.errors import ConfigError
from rigpose_training import build_model, decode_maps
from rigpose_training.models.necks import sine_positions
from rigpose_training.pose_config.files import read_pose_config

slow = pytest.mark.slow
NETWORKS = [
    "top_down_resnet_50",
    pytest.param("top_down_resnet_101", marks=slow),
    "top_down_hrnet_w18",
    pytest.param("top_down_hrnet_w32", marks=slow),
    pytest.param("top_down_hrnet_w48", marks=slow),
    "rtmpose_s",
    "rtmpose_m",
    pytest.param("rtmpose_x", marks=slow),
    "animaltokenpose_base",
    "ctd_coam_w32",
    "ctd_prenet_hrnet_w32",
    "ctd_prenet_rtmpose_s",
]
# Relative to each map's spread: random weights give outputs from 1e-4 to 1e4. The rest is the order of float32 sums.
RELATIVE = 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_deeplabcuts_maps(golden: Path, name: str) -> None:
    folder = golden / "networks"
    facts = json.loads((folder / f"{name}.json").read_text())
    with np.load(folder / f"{name}.npz") as arrays:
        reference = {key: arrays[key] for key in arrays.files}
    model = build_model(folder / f"{name}.yaml").eval()
    recorded = {key: tuple(shape) for key, shape in facts["parameters"].items()}
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == recorded
    assert list(model.state_dict()) == list(recorded)
    assert model.strides == facts["strides"]
    assert model.conditional == name.startswith("ctd_")

    fill(model, facts["salt"])
    images = network_input(facts["input"], facts["input_seed"])
    with torch.inference_mode():
        outputs = model(images, conditions(folder, reference)) if model.conditional else model(images)
    expected_maps = {key.split(".")[-1]: value for key, value in reference.items() if key.startswith("output.")}
    assert sorted(outputs["bodypart"]) == sorted(expected_maps)
    for kind, expected in expected_maps.items():
        found = outputs["bodypart"][kind].numpy()
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= RELATIVE * np.ptp(expected), kind

    if "heatmap" in expected_maps:
        predictor = read_pose_config(folder / f"{name}.yaml")["model"]["heads"]["bodypart"]["predictor"]
        poses = decode_maps(predictor, expected_maps, facts["strides"]["bodypart"])
        expected = reference["prediction.bodypart.poses"]
        # Offsets of random networks reach 1e5 px, where float32 steps are 0.01 px.
        np.testing.assert_allclose(np.stack([p.to_array() for p in poses]), expected, rtol=1e-6, atol=1e-3)


def conditions(folder: Path, reference: dict[str, np.ndarray]) -> torch.Tensor:
    """(B, K, 3) the rough poses that the outputs were recorded with, without the axis of animals.

    CoAM's file lacks them; they were drawn as those of the pre-net, from the same generator after the same image.
    """
    if "cond_kpts" not in reference:
        with np.load(folder / "ctd_prenet_hrnet_w32.npz") as arrays:
            return torch.from_numpy(arrays["cond_kpts"][:, 0])
    return torch.from_numpy(reference["cond_kpts"][:, 0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rtmpose_s", ["heads.bodypart.input_size", "256 x 256", "found 4 x 4", "width: 256"]),
        ("animaltokenpose_base", ["model.neck", "(32, 64, 64)", "(32, 32, 32)"]),
        ("ctd_coam_w32", ["model.backbone.img_size", "256 x 256", "found 128 x 128", "top_down_crop"]),
        ("ctd_prenet_rtmpose_s", ["model.backbone.img_size", "found 128 x 128"]),
    ],
)
def test_a_crop_of_another_size_than_the_weights_is_named(golden: Path, name: str, words: list[str]) -> None:
    model = build_model(golden / "networks" / f"{name}.yaml").eval()
    images = torch.zeros(1, 3, 128, 128)
    with torch.inference_mode(), pytest.raises(ConfigError) as caught:
        model(images, torch.zeros(1, 4, 3))
    for word in words:
        assert word in str(caught.value)


def test_a_human_crop_is_taller_than_wide_whatever_the_order_of_its_cells(golden: Path) -> None:
    config = read_pose_config(golden / "networks" / "rtmpose_s.yaml")
    head: dict[str, Any] = config["model"]["heads"]["bodypart"]
    head |= {"input_size": [96, 128], "in_featuremap_size": [3, 4]}
    for cells in ([3, 4], [4, 3]):
        head["in_featuremap_size"] = cells
        model = build_model(config).eval()
        with torch.inference_mode():
            maps = model(torch.zeros(1, 3, 128, 96))["bodypart"]
            assert maps["x"].shape == (1, 4, 192) and maps["y"].shape == (1, 4, 256)
            with pytest.raises(ConfigError, match="3 x 4 cells, but found 4 x 3"):
                model(torch.zeros(1, 3, 96, 128))


def test_positions_are_waves_of_the_row_and_then_of_the_column() -> None:
    """The recorded network holds drawn numbers here, so the table is checked against its formula, one by one."""
    rows, columns, dim = 3, 5, 12
    found = sine_positions(rows, columns, dim)
    assert found.shape == (1, rows * columns, dim)
    for row, column, i in itertools.product(range(rows), range(columns), range(dim)):
        number, count, j = (row + 1, rows, i) if i < dim // 2 else (column + 1, columns, i - dim // 2)
        wavelength = 10000 ** (2 * (j // 2) / (dim // 2))
        wave = math.cos if j % 2 else math.sin
        expected = wave(2 * math.pi * number / count / wavelength)
        # float32 of an angle up to 2 pi, and the 1e-6 by which a count is divided.
        assert abs(float(found[0, row * columns + column, i]) - expected) < 1e-5


def test_a_prenet_obeys_the_normalisation_flags_of_the_backbone_inside(golden: Path) -> None:
    config = read_pose_config(golden / "networks" / "ctd_prenet_rtmpose_s.yaml")
    section = config["model"]["backbone"]
    backbone: Any = build_model(config).backbone
    assert (backbone.freeze_bn_stats, backbone.freeze_bn_weights) == (False, False)
    section["backbone"]["freeze_bn_stats"] = True
    section["freeze_bn_weights"] = True
    backbone = build_model(config).backbone
    assert (backbone.freeze_bn_stats, backbone.freeze_bn_weights) == (True, True)


@pytest.mark.parametrize("name", ["rtmpose_s", "animaltokenpose_base", "ctd_coam_w32", "ctd_prenet_rtmpose_s"])
def test_gradients_reach_the_head_and_what_is_new_before_it(golden: Path, name: str) -> None:
    model = build_model(golden / "networks" / f"{name}.yaml")
    rough = torch.tensor([[[80.0, 60.0, 1.0], [90.0, 100.0, 1.0], [120.0, 90.0, 1.0], [30.0, 200.0, 1.0]]])
    maps = model(torch.randn(2, 3, 256, 256), rough.expand(2, 4, 3))["bodypart"]
    torch.stack([map_.square().mean() for map_ in maps.values()]).sum().backward()
    without = {key for key, value in model.named_parameters() if value.requires_grad and value.grad is None}
    # HRNet's low-resolution branches of the last stage feed nothing here.
    assert {key for key in without if not key.startswith(("backbone.model.stage4", "backbone.backbone.model"))} == set()


@pytest.mark.parametrize(
    ("name", "place", "edit", "words"),
    [
        ("rtmpose_s", "head", {"in_channels": 768}, ["in_channels", "write 512"]),
        ("rtmpose_s", "head", {"gau_cfg": {"pos_enc": True}}, ["gau_cfg.pos_enc", "write false"]),
        ("animaltokenpose_base", "head", {"heatmap_dim": 4000}, ["heatmap_dim", "write 4096"]),
        ("animaltokenpose_base", "neck", {"patch_size": [5, 4]}, ["neck.patch_size", "divides feature_size"]),
        ("animaltokenpose_base", "neck", {"heads": 7}, ["neck.dim", "multiple of heads"]),
        ("animaltokenpose_base", "neck", {"type": "Transfomer"}, ["neck.type", "did you mean Transformer"]),
        ("ctd_coam_w32", "backbone", {"coam_modules": [4]}, ["coam_modules", "transitions 1, 2 or 3"]),
        ("ctd_coam_w32", "backbone", {"img_size": [256, 250]}, ["img_size", "multiples of 32"]),
        ("ctd_prenet_rtmpose_s", "backbone", {"img_size": [128, 128]}, ["kpt_encoder.img_size", "remove it"]),
    ],
)
def test_a_section_that_does_not_fit_is_named_with_its_key(
    golden: Path, name: str, place: str, edit: dict[str, Any], words: list[str]
) -> None:
    config = read_pose_config(golden / "networks" / f"{name}.yaml")
    section = config["model"]["heads"]["bodypart"] if place == "head" else config["model"][place]
    section |= edit
    if "img_size" in edit and name == "ctd_coam_w32":
        del section["kpt_encoder"]["img_size"]
    with pytest.raises(ConfigError) as caught:
        build_model(config)
    for word in words:
        assert word in str(caught.value)
