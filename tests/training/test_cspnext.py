"""CSPNeXt with plain heads against numbers that DeepLabCut 3.0.2 gave under reproducible weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_weights import fill, network_input

from rigpose_training.models import build_model
from rigpose_training.models.weights import initialise

FACTORS = {"s": (0.33, 0.5, 512), "m": (0.67, 0.75, 768), "x": (1.33, 1.25, 1280)}

# SHA-256 of the lines "key shape" of the whole state dict.
KEYS = {
    ("single", "s"): "c35c54fcc18e1fa713a5e7603ec9cb3c3da499b9713726e0c0326b2c143e3070",
    ("single", "m"): "8c4d5fc498c6f9a8a58660a7f602139f7b5f94edc794312b801e454db61f9013",
    ("single", "x"): "021818b057393c31198977dcafc7edc2b68453ae76a858ed2b067a4b41e4e5e0",
    ("paf", "s"): "505ad4bfd93557f8dad16025584fbc2976e2424419c768628a9eddfccbcbe4e4",
}
# Six values at equal distances along each flattened map, and its spread.
VALUES: dict[tuple[str, str], dict[str, tuple[list[float], float]]] = {
    ("single", "s"): {
        "heatmap": ([-1.5718, -1.21804, 0.0100317, -2.16203, -1.44419, -0.0080277], 14.2275),
        "locref": ([-2.14396, -2.61878, 4.18905, 0.25733, 1.04674, 0.230692], 13.8946),
    },
    ("single", "m"): {
        "heatmap": ([-5.33059, 7.17969, 4.18161, -13.5612, -0.981346, 3.75907], 28.8565),
        "locref": ([2.3473, 6.88144, 7.2628, 2.39556, 10.5127, 0.392944], 30.6091),
    },
    ("single", "x"): {
        "heatmap": ([22.4206, -15.0916, 23.9593, 85.9879, 69.7084, 99.3126], 224.847),
        "locref": ([29.5164, -45.4986, -7.5758, -32.0511, -137.539, -7.92937], 242.402),
    },
    ("paf", "s"): {
        "heatmap": ([0.17835, 0.0250934, 1.2282, -3.6554, -0.5254, -0.964777], 10.3772),
        "locref": ([-0.496598, -3.18944, -1.62322, 0.703694, 0.134413, 0.243705], 7.38459),
        "paf": ([0.17947, 1.02042, -1.10393, -1.49784, -1.03975, -0.221332], 7.0916),
    },
}


def config(kind: str, size: str) -> dict[str, Any]:
    deepen, widen, channels = FACTORS[size]
    backbone = {"type": "CSPNeXt", "model_name": f"cspnext_{size}", "deepen_factor": deepen, "widen_factor": widen}
    outputs = {"heatmap_config": 4, "locref_config": 8} | ({"paf_config": 12} if kind == "paf" else {})
    head: dict[str, Any] = {"type": "DLCRNetHead" if kind == "paf" else "HeatmapHead", "predictor": {}}
    for section, maps in outputs.items():
        head[section] = {"channels": [channels, maps], "kernel_size": [3], "strides": [2]}
    return {"model": {"backbone": backbone, "backbone_output_channels": channels, "heads": {"bodypart": head}}}


@pytest.mark.parametrize(("kind", "size"), list(VALUES))
def test_cspnext_gives_deeplabcuts_maps_under_its_names(kind: str, size: str) -> None:
    model = build_model(config(kind, size)).eval()
    names = "\n".join(f"{key} {list(value.shape)}" for key, value in model.state_dict().items())
    assert hashlib.sha256(names.encode()).hexdigest() == KEYS[kind, size]
    assert model.strides == {"bodypart": 8.0 if kind == "paf" else 16.0}

    fill(model, "")
    with torch.inference_mode():
        # Small inputs vanish beside the shifts of random normalisation layers, so that any picture gives one map.
        maps = model(1000 * network_input([1, 3, 96, 160], 0))["bodypart"]
    assert set(maps) == set(VALUES[kind, size])
    for name, (values, spread) in VALUES[kind, size].items():
        found = maps[name].numpy().ravel()
        places = np.linspace(0, found.size - 1, len(values)).astype(int)
        np.testing.assert_allclose(found[places], values, atol=1e-4 * spread)
        # The values above are written with six digits.
        np.testing.assert_allclose(np.ptp(found), spread, rtol=1e-4)


def test_imagenet_weights_are_read_from_deeplabcuts_hub_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is the one thing a test cannot have: a file like its stands in for the download."""
    donor: Any = build_model(config("single", "s")).backbone
    file = tmp_path / "cspnext_s.pt"
    torch.save({"state_dict": donor.state_dict()}, file)
    asked: list[tuple[str, str]] = []

    def download(repository: str, name: str) -> str:
        asked.append((repository, name))
        return str(file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    model = build_model(config("single", "s"))
    assert initialise(model) == "cspnext_s: starting from ImageNet weights."
    assert asked == [("DeepLabCut/DeepLabCut-Backbones", "cspnext_s.pt")]
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, donor.state_dict()[key]), key

    # The factors of another size: nothing may be called ImageNet weights then.
    other = build_model(config("single", "m"))
    before = {key: value.clone() for key, value in other.backbone.state_dict().items()}
    assert "RANDOM WEIGHTS" in initialise(other)
    assert all(torch.equal(value, before[key]) for key, value in other.backbone.state_dict().items())
