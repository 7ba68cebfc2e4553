"""Whole configurations of small networks, one for every kind of head and of backbone that depends on keypoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

CHANNELS = 96
SIZE = 64  # of images [px]; features have a sixteenth of it
RESNET = {"type": "ResNet", "model_name": "test_resnet", "output_stride": 16}


def _deconvolutions(*channels: int, final: int | None = None) -> dict[str, Any]:
    layers = len(channels) - 1
    config: dict[str, Any] = {"channels": list(channels), "kernel_size": [3] * layers, "strides": [2] * layers}
    return config | ({"final_conv": {"out_channels": final, "kernel_size": 1}} if final else {})


def _heatmap_head(keypoints: int, *between: int, final: bool = False, channels: int = CHANNELS) -> dict[str, Any]:
    sections = {
        name: _deconvolutions(channels, *between, final=maps) if final else _deconvolutions(channels, *between, maps)
        for name, maps in (("heatmap_config", keypoints), ("locref_config", 2 * keypoints))
    }
    return {"type": "HeatmapHead", "predictor": {"type": "HeatmapPredictor"}, **sections}


def _identity_head(individuals: int) -> dict[str, Any]:
    section = {"heatmap_config": _deconvolutions(CHANNELS, individuals)}
    return {"type": "HeatmapHead", "predictor": {"type": "IdentityPredictor"}, **section}


def _paf_head(keypoints: int, *between: int, stages: int = 2) -> dict[str, Any]:
    graph = [list(edge) for edge in combinations(range(keypoints), 2)]
    maps = {"heatmap_config": keypoints, "locref_config": 2 * keypoints, "paf_config": 2 * len(graph)}
    return {
        "type": "DLCRNetHead",
        "predictor": {"type": "PartAffinityFieldPredictor", "graph": graph},
        **{name: _deconvolutions(CHANNELS, *between, channels) for name, channels in maps.items()},
        "num_stages": stages,
        "features_dim": 6,
    }


def _dekr_head(keypoints: int) -> dict[str, Any]:
    return {
        "type": "DEKRHead",
        "predictor": {"type": "DEKRPredictor"},
        "heatmap_config": {"channels": [CHANNELS, 8, keypoints + 1]},
        "offset_config": {"channels": [CHANNELS, 5 * keypoints, keypoints], "num_offset_per_kpt": 5},
    }


def _simcc_head(keypoints: int) -> dict[str, Any]:
    return {
        "type": "RTMCCHead",
        "predictor": {"type": "SimCCPredictor"},
        "input_size": [SIZE, SIZE],
        "in_channels": CHANNELS,
        "out_channels": keypoints,
        "in_featuremap_size": [4, 4],
        "gau_cfg": {"hidden_dims": 16, "s": 8},
    }


def _tokens(keypoints: int) -> dict[str, Any]:
    neck = {"type": "Transformer", "feature_size": [4, 4], "patch_size": [2, 2], "num_keypoints": keypoints}
    neck |= {"channels": CHANNELS, "dim": 8, "heads": 2, "depth": 2}
    head = {"type": "TransformerHead", "predictor": {"type": "HeatmapPredictor"}, "dim": 8, "hidden_heatmap_dim": 16}
    head |= {"heatmap_dim": 64, "heatmap_size": [8, 8]}
    return {"neck": neck, "heads": {"bodypart": head}}


def _prenet(keypoints: int) -> dict[str, Any]:
    encoder = {"type": "StackedKeypointEncoder", "num_joints": keypoints, "kernel_size": [5, 5]}
    backbone = {"type": "CondPreNet", "backbone": RESNET, "kpt_encoder": encoder, "img_size": [SIZE, SIZE]}
    return {"backbone": backbone, "heads": {"bodypart": _heatmap_head(keypoints)}}


def _coam(keypoints: int) -> dict[str, Any]:
    encoder = {"type": "StackedKeypointEncoder", "num_joints": keypoints, "kernel_size": [5, 5]}
    backbone = {"type": "HRNetCoAM", "base_model_name": "hrnet_w18_small", "coam_modules": [2]}
    backbone |= {"kpt_encoder": encoder, "img_size": [SIZE, SIZE]}
    return {
        "backbone": backbone,
        "backbone_output_channels": 16,
        "heads": {"bodypart": _heatmap_head(keypoints, channels=16)},
    }


def _bodypart(head: Callable[[int], dict[str, Any]]) -> Callable[[int], dict[str, Any]]:
    return lambda keypoints: {"heads": {"bodypart": head(keypoints)}}


FAMILIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "heatmap": _bodypart(_heatmap_head),
    "heatmap, two deconvolutions": _bodypart(lambda k: _heatmap_head(k, 12)),
    "heatmap, three deconvolutions": _bodypart(lambda k: _heatmap_head(k, 12, 10)),
    "heatmap, final convolution": _bodypart(lambda k: _heatmap_head(k, 12, final=True)),
    "heatmap, convolution alone": _bodypart(lambda k: _heatmap_head(k, final=True)),
    "paf": _bodypart(_paf_head),
    "paf, two deconvolutions": _bodypart(lambda k: _paf_head(k, 12)),
    "paf, no stages": _bodypart(lambda k: _paf_head(k, stages=0)),
    "dekr": _bodypart(_dekr_head),
    "simcc": _bodypart(_simcc_head),
    "tokens": _tokens,
    "prenet": _prenet,
    "coam": _coam,
}


def small_config(
    family: str, bodyparts: Sequence[str], *, unique: Sequence[str] = (), individuals: Sequence[str] = ()
) -> dict[str, Any]:
    """The configuration of a network of ``family`` for these names."""
    section = {"backbone": RESNET, "backbone_output_channels": CHANNELS, **FAMILIES[family](len(bodyparts))}
    if unique:
        section["heads"]["unique_bodypart"] = _heatmap_head(len(unique))
    if individuals:
        section["heads"]["identity"] = _identity_head(len(individuals))
    names = {"bodyparts": list(bodyparts), "unique_bodyparts": list(unique), "individuals": list(individuals)}
    return {"metadata": names, "model": section}
