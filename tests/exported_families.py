"""A small network of every family with reproducible random weights, as the files that an export reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import torch
from exported_once import made_once
from exported_pairs import NAMES, drawn
from reference_weights import fill
from small_networks import SIZE, small_config

from rigpose.bundles.bundle import Bundle
from rigpose_export.pack import export_bundle
from rigpose_export.source import ExportSource, pair_source
from rigpose_training.models import build_model
from rigpose_training.models.detectors import build_detector
from rigpose_training.pose_config.files import write_pose_config
from rigpose_training.pose_config.templates import Metadata, make_pose_config

UNIQUE, INDIVIDUALS = ("door", "lamp"), ("anna", "bert", "carl")
# Documented model -> the small network that takes the place of its own.
FAMILIES = {
    "resnet_50": "paf",
    "dekr_w18": "dekr",
    "top_down_resnet_50": "heatmap",
    "rtmpose_s": "simcc",
    "tokenpose_base": "tokens",
    "ctd_prenet_hrnet_w32": "prenet",
    "ctd_coam_w32": "coam",
}


def family_config(net_type: str, *, with_identity: bool = False) -> dict[str, Any]:
    """The configuration of a documented model, with a small network and small crops."""
    unique = UNIQUE if with_identity else ()
    metadata = Metadata("", "", NAMES, unique, INDIVIDUALS, with_identity=with_identity)
    config = make_pose_config(net_type, metadata)
    small = small_config(FAMILIES[net_type], NAMES, unique=unique, individuals=INDIVIDUALS if with_identity else ())
    for name, head in small["model"]["heads"].items():
        head["predictor"] = config["model"]["heads"][name]["predictor"]
    config["model"] = small["model"]
    if net_type == "tokenpose_base":
        # Its tokens are patches of features of a quarter of the crop's size, as only an HRNet gives them.
        backbone = config["model"]["backbone"] = {"type": "HRNet", "model_name": "hrnet_w18_small"}
        backbone |= {"interpolate_branches": False, "increased_channel_count": False}
        config["model"]["backbone_output_channels"] = config["model"]["neck"]["channels"] = 16
        config["model"]["neck"] |= {"feature_size": [SIZE // 4, SIZE // 4], "patch_size": [8, 8]}
    if config["method"] != "bu":
        config["data"]["inference"]["top_down_crop"] |= {"width": SIZE, "height": SIZE}
    return config


def family_source(folder: Path, config: dict[str, Any], *, detector: bool = False) -> ExportSource:
    """Configuration, snapshots and eight drawn frames of an odd size on disk."""
    torch.set_num_threads(2)
    (folder / "frames").mkdir(parents=True)
    for i in range(8):
        cv2.imwrite(str(folder / "frames" / f"{i}.png"), drawn(i, 97, 131))
    write_pose_config(folder / "pytorch_config.yaml", config)
    pose = build_model(config)
    fill(pose, "family")
    weights: dict[str, torch.nn.Module] = {"snapshot-005.pt": pose}
    if detector:
        weights["snapshot-detector-007.pt"] = build_detector(config["detector"]["model"])
        fill(weights["snapshot-detector-007.pt"], "x")
    for name, network in weights.items():
        content = {"model": network.state_dict(), "metadata": {"epoch": 5, "metrics": {}, "losses": {}}}
        torch.save(content, folder / name)
    return pair_source(
        folder / "pytorch_config.yaml",
        folder / "snapshot-005.pt",
        detector=folder / "snapshot-detector-007.pt" if detector else None,
        frames=[folder / "frames"],
    )


def family_bundle(shared: Path, net_type: str, *, detector: bool = False) -> Bundle:
    """The fp32 bundle of ``family_source``, made once in a run of tests, which only read it.

    Args:
        shared: The folder of the whole run.
        net_type: A documented model.
        detector: Of a top-down pair, with its detector.
    """

    def make(folder: Path) -> None:
        export_bundle(family_source(folder / "source", family_config(net_type), detector=detector), folder / "bundle")

    return Bundle.open(made_once(shared, f"{net_type} pair" if detector else net_type, make) / "bundle")
