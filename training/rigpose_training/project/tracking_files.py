"""The two files of a shuffle's ``test`` folder, of which DeepLabCut's trackers and older tools read the names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rigpose_training.project.config import ProjectConfig


def names_config(pose_config: Mapping[str, Any]) -> dict[str, Any]:
    """``test/pose_cfg.yaml``, from the shuffle's ``pytorch_config.yaml``."""
    metadata = pose_config["metadata"]
    names = [*metadata["bodyparts"], *metadata["unique_bodyparts"]]
    return {
        "dataset": metadata["project_path"],
        "num_joints": len(names),
        "all_joints": [[i] for i in range(len(names))],
        "all_joints_names": names,
        "net_type": pose_config["net_type"],
        "dataset_type": "multi-animal-imgaug",
        "global_scale": 1.0,
        "scoremap_dir": "test",
    }


def tracking_config(project: ProjectConfig) -> dict[str, Any]:
    """``test/inference_cfg.yaml``: the assembly and tracking of a multi-animal project."""
    return {
        "variant": 0,
        "pafthreshold": 0.1,
        "method": "m1",
        "minimalnumberofconnections": len(project.bodyparts) // 2,
        "pcutoff": 0.1,
        "topktoretain": len(project.individuals),
        "withid": bool(project.identity),
        "boundingboxslack": 0,
        "iou_threshold": 0.6,
        "max_age": 1,
        "min_hits": 1,
    }
