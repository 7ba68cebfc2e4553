"""The families of networks that ``multi_animal.py`` compares, and how their configurations suit its small pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rigpose_training.pose_config.files import update


@dataclass(frozen=True)
class Family:
    """One way to find several animals.

    Attributes:
        shuffle: Its number in the project.
        net_type: As in ``available_models()``.
        rate: Learning rate from random weights.
        detector: Of a top-down pair, as in ``available_detectors()``.
        conditions: The family whose poses a conditional model corrects.
        changes: Dotted keys of its configuration.
        patience: How many times as many epochs it gets: heads without maps of the whole crop learn late.
    """

    shuffle: int
    net_type: str
    rate: float = 1e-3
    detector: str | None = None
    conditions: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    patience: int = 1


SIDE = 128
"""Of the crops around an animal [px]; in drawn pictures it is some 80 px long."""


def _crops(**more: Any) -> dict[str, Any]:
    sides = {f"data.{mode}.top_down_crop.{key}": SIDE for mode in ("train", "inference") for key in ("width", "height")}
    return {**sides, **more}


HEAD = "model.heads.bodypart."
SMALL = {"model.backbone.model_name": "resnet18", "model.backbone_output_channels": 512}
BINS = {
    f"{HEAD}input_size": [SIDE, SIDE],
    f"{HEAD}target_generator.input_size": [SIDE, SIDE],
    f"{HEAD}in_featuremap_size": [SIDE // 32, SIDE // 32],
}
TOLD = {"model.backbone.img_size": [SIDE, SIDE]}
UPRIGHT = {"data.train.affine": None, "data.train.random_bbox_transform": None, "data.train.motion_blur": False}
"""Heads that take coordinates for classes need far more pictures to learn every turn of an animal, and so does DEKR."""
TOKENS = {
    "model.neck.feature_size": [SIDE // 4, SIDE // 4],
    "model.neck.patch_size": [4, 4],
    f"{HEAD}heatmap_size": [SIDE // 4, SIDE // 4],
    f"{HEAD}heatmap_dim": (SIDE // 4) ** 2,
}
NARROW = {
    "model.backbone.model_name": "hrnet_w18_small",
    "model.backbone_output_channels": 16,
    "model.neck.channels": 16,
}
FAMILIES = {
    "paf_small": Family(1, "resnet_50", changes=SMALL),
    "paf": Family(2, "resnet_50", rate=5e-4),
    "dlcrnet": Family(3, "dlcrnet_stride16_ms5", rate=5e-4),
    "dekr": Family(4, "dekr_w18", changes={"data.train.affine": None}, patience=2),
    "top_down": Family(5, "top_down_resnet_50", rate=5e-4, detector="ssdlite", changes=_crops()),
    "top_down_mobilenet": Family(
        6, "top_down_resnet_50", rate=5e-4, detector="fasterrcnn_mobilenet_v3_large_fpn", changes=_crops()
    ),
    "rtmpose": Family(7, "rtmpose_s", detector="ssdlite", changes=_crops(**BINS, **UPRIGHT), patience=8),
    "tokenpose": Family(
        8, "animaltokenpose_base", rate=3e-4, detector="ssdlite", changes=_crops(**TOKENS, **UPRIGHT), patience=2
    ),
    "tokenpose_small": Family(
        11,
        "animaltokenpose_base",
        detector="ssdlite",
        changes=_crops(**TOKENS, **UPRIGHT, **NARROW),
        patience=2,
    ),
    "ctd_coam": Family(9, "ctd_coam_w32", rate=5e-4, conditions="paf_small", changes=_crops(**TOLD)),
    "ctd_prenet": Family(
        10, "ctd_prenet_rtmpose_s", conditions="paf_small", changes=_crops(**TOLD, **BINS, **UPRIGHT), patience=8
    ),
}


def adapted(
    config: dict[str, Any], family: Family, *, epochs: int, detector_epochs: int, crop: int, random_weights: bool
) -> dict[str, Any]:
    """The template edited as a user would for small pictures of animals seen from above, and a short schedule.

    Args:
        config: The whole ``pytorch_config.yaml``.
        family: Whose it is.
        epochs: Of the pose network.
        detector_epochs: Of the detector, if it has one.
        crop: Side of what whole-frame networks train on [px].
        random_weights: They start from nothing.
    """
    turned = {"p": 1.0, "rotation": 180, "scaling": [0.8, 1.2], "translation": 0}
    changes = {"data.train.affine": turned, **family.changes, **_schedule("", epochs, family.rate)}
    if config["data"]["train"].get("crop_sampling"):
        changes |= {f"data.train.crop_sampling.{side}": crop for side in ("width", "height")}
    if config.get("detector"):
        # The template's rate is for weights from COCO.
        changes |= _schedule("detector.", detector_epochs, 1e-3 if random_weights else 1e-4)
    changed = update(config, changes)
    if random_weights:
        for backbone in _sections(changed, "freeze_bn_stats"):
            backbone["freeze_bn_stats"] = False
    if config["method"] == "bu":
        # Templates expect frames of about 450 px; in smaller ones the animals' neighbours come into that radius.
        for generator in _sections(changed["model"], "pos_dist_thresh"):
            generator["pos_dist_thresh"] = 8
        for generator in _sections(changed["model"], "width"):
            generator["width"] = 10
        # From random weights the affinities learn too little at the template's 0.1 in so few epochs.
        for criterion in _sections(changed["model"], "paf"):
            criterion["paf"]["weight"] = 0.5
    if "model.backbone_output_channels" in family.changes:
        _fit_channels(changed)
    return changed


def _schedule(at: str, epochs: int, rate: float) -> dict[str, Any]:
    steps = {"lr_list": [[rate / 5], [rate / 25]], "milestones": [epochs * 6 // 10, epochs * 17 // 20]}
    return {
        f"{at}runner.optimizer.params.lr": rate,
        f"{at}runner.scheduler": {"type": "LRListScheduler", "params": steps},
        f"{at}runner.eval_interval": epochs,
        f"{at}runner.snapshots.save_epochs": epochs,
    }


def _fit_channels(config: dict[str, Any]) -> None:
    """Let heads begin with as many channels as a changed backbone gives."""
    for head in config["model"]["heads"].values():
        for part in head.keys() & {"heatmap_config", "locref_config", "paf_config"}:
            head[part]["channels"][0] = config["model"]["backbone_output_channels"]


def _sections(section: Any, key: str) -> Iterator[dict[str, Any]]:
    """All mappings inside that have a key."""
    if isinstance(section, dict):
        if key in section:
            yield section
        for value in section.values():
            yield from _sections(value, key)
    elif isinstance(section, list):
        for value in section:
            yield from _sections(value, key)
