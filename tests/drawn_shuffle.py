"""A drawn project whose first shuffle has a small network with random weights: what a training leaves behind."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from reference_weights import fill

from rigpose_training.engine.snapshots import write_whole
from rigpose_training.models import build_model
from rigpose_training.pose_config.files import read_pose_config, write_pose_config
from rigpose_training.project.config import read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import Shuffle, find_shuffle
from rigpose_training.scene.project import write_project


def write_shuffle(folder: Path, *, size: tuple[int, int] = (96, 128)) -> Shuffle:
    """A project of a few labelled frames and its shuffle, edited to a ResNet of ten layers."""
    write_project(folder, labelled_frames=6, size=size)
    (index,) = create_training_dataset(folder, net_type="resnet_50")
    shuffle = find_shuffle(read_project_config(folder), index=index)
    write_pose_config(shuffle.pose_config_path, made_small(read_pose_config(shuffle.pose_config_path)))
    write_snapshot(shuffle, "snapshot-010.pt")
    return shuffle


def made_small(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a ResNet-50 with ten layers instead."""
    small = copy.deepcopy(config)
    small["model"]["backbone"]["model_name"] = "resnet10t"
    small["model"]["backbone_output_channels"] = 512
    head = small["model"]["heads"]["bodypart"]
    for section in ("heatmap_config", "locref_config"):
        head[section]["channels"][0] = 512
    return small


def write_snapshot(shuffle: Shuffle, name: str) -> Path:
    """A snapshot whose weights its name determines."""
    torch.set_num_threads(2)
    model = build_model(shuffle.pose_config_path)
    fill(model, name)
    epoch = int(name.removesuffix(".pt").split("-")[-1])
    path = shuffle.train_folder / name
    write_whole({"model": model.state_dict(), "metadata": {"epoch": epoch, "metrics": {}, "losses": {}}}, path)
    return path
