"""One small shuffle per family of networks, with snapshots of a real training: what goes to DeepLabCut and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
import torch
import yaml
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from rigpose.arrays import Floats, Frames
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.engine.snapshots import write_whole
from rigpose_training.engine.train import train_network
from rigpose_training.models import build_model
from rigpose_training.models.detectors import build_detector
from rigpose_training.pose_config.files import read_pose_config, update, write_pose_config
from rigpose_training.pose_graph import PixelNormalisation
from rigpose_training.project.config import read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import Shuffle, find_shuffle
from rigpose_training.scene.project import write_project
from rigpose_training.spec import normalisation

SIZE = 128  # px, of pictures and crops: a multiple of 32, because DeepLabCut pads others at a random side
ANIMALS = 2
BATCH = 5  # of five training images, or of their ten animals

_HEAD = "model.heads.bodypart"
_STILL = {
    "data.train.affine": None,  # without augmentation a short training learns its pictures by heart
    "data.train.motion_blur": False,
    "data.train.gaussian_noise": None,
    "data.train.random_bbox_transform": None,
}


def _sides(section: str) -> dict[str, Any]:
    return {f"data.{section}.{side}": SIZE for side in ("width", "height")}


WHOLE = _sides("train.crop_sampling")
CROPS = {**_sides("train.top_down_crop"), **_sides("inference.top_down_crop")}


@dataclass(frozen=True)
class Case:
    """One model, made small by settings that a user may change, too.

    Attributes:
        name: For people.
        net_type: As ``create_training_dataset`` takes it.
        changes: Of the new shuffle's configuration, by dotted key.
        animals: In every picture.
        extra_heads: Whether the project has a unique bodypart and asks for identities.
        detector: The detector that is exchanged, too, or none.
        epochs: Of one step (bottom-up) or two that rigpose trains before the exchange.
    """

    name: str
    net_type: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    animals: int = ANIMALS
    extra_heads: bool = False
    detector: str | None = None
    epochs: int = 1


_CASES = (
    Case("single animal resnet_50", "resnet_50", WHOLE, animals=1, epochs=20),
    Case("single animal hrnet_w18", "hrnet_w18", WHOLE, animals=1),
    Case("single animal cspnext_s", "cspnext_s", WHOLE, animals=1, epochs=40),
    # Random weights find peaks everywhere; after these steps it finds animals.
    Case("part affinities resnet_50", "resnet_50", WHOLE, epochs=40),
    Case("unique and identity heads resnet_50", "resnet_50", WHOLE, extra_heads=True, epochs=20),
    Case("dlcrnet_stride16_ms5", "dlcrnet_stride16_ms5", WHOLE),
    Case("dekr_w18", "dekr_w18", WHOLE),
    Case("top_down_resnet_50, ssdlite", "top_down_resnet_50", CROPS, detector="ssdlite"),
    Case(
        "rtmpose_s, fasterrcnn_mobilenet_v3_large_fpn",
        "rtmpose_s",
        {
            **CROPS,
            f"{_HEAD}.input_size": [SIZE, SIZE],
            f"{_HEAD}.target_generator.input_size": [SIZE, SIZE],
            f"{_HEAD}.in_featuremap_size": [SIZE // 32, SIZE // 32],
        },
        detector="fasterrcnn_mobilenet_v3_large_fpn",
    ),
    Case(
        "animaltokenpose_base",
        "animaltokenpose_base",
        {
            **CROPS,
            "model.neck.feature_size": [SIZE // 4, SIZE // 4],
            f"{_HEAD}.heatmap_size": [SIZE // 4, SIZE // 4],
            f"{_HEAD}.heatmap_dim": (SIZE // 4) ** 2,
        },
    ),
    Case("ctd_prenet_hrnet_w32", "ctd_prenet_hrnet_w32", {**CROPS, "model.backbone.img_size": [SIZE, SIZE]}),
    Case("ctd_coam_w32", "ctd_coam_w32", {**CROPS, "model.backbone.img_size": [SIZE, SIZE]}),
)
CASES = {case.name: case for case in _CASES}


@dataclass(frozen=True)
class Pair:
    """Snapshots of one shuffle."""

    pose: Path
    detector: Path | None = None


@dataclass(frozen=True)
class Known:
    """Three pictures that a shuffle trains on, and what a user or another model may know of them.

    Attributes:
        frames: (H, W, 3) uint8 BGR.
        boxes: (F, N, 4) x, y, width, height around the animals [frame px].
        conditions: (F, N, K, 3) x, y [frame px], score: rough poses; keypoint 1 of each is missing (all 0).
        images: (2, 3, H, W) a normalised input that is no picture.
        rough: (2, K, 3) conditions of ``images`` [input px].
    """

    frames: list[Frames]
    boxes: Floats
    conditions: Floats
    images: torch.Tensor
    rough: torch.Tensor


def make_shuffle(case: Case, folder: Path) -> Shuffle:
    """The case's shuffle in a new drawn project."""
    config = write_project(folder, labelled_frames=6, size=(SIZE, SIZE), animals=case.animals)
    if case.extra_heads:
        _add_unique_and_identity(config)
    options: dict[str, Any] = {"detector_type": case.detector} if case.detector else {}
    if case.net_type.startswith("ctd_"):
        (options["ctd_conditions"],) = create_training_dataset(config, net_type="resnet_50")
    (index,) = create_training_dataset(config, net_type=case.net_type, **options)
    shuffle = find_shuffle(read_project_config(config), index=index)
    changes = {**_STILL, **case.changes, "runner.snapshots.save_optimizer_state": True}
    changes["runner.eval_interval"] = case.epochs
    pose_config = update(read_pose_config(shuffle.pose_config_path), changes)
    if pose_config.get("detector"):
        pose_config = update(pose_config, {"detector.runner.eval_interval": 1})
    write_pose_config(shuffle.pose_config_path, pose_config)
    return shuffle


def what_is_known(shuffle: Shuffle) -> Known:
    """Three of its pictures, with rough poses and an input that are always the same ones."""
    rng = np.random.default_rng(0)
    labelled = DLCLoader(shuffle.config.path, shuffle=shuffle.index).images("train")[:3]
    xy = np.stack([image.xy for image in labelled]).astype(np.float64)
    conditions = np.concatenate([xy + rng.normal(0, 3, xy.shape), rng.uniform(0.3, 1, (*xy.shape[:3], 1))], axis=-1)
    conditions[:, :, 1] = 0
    low, high = xy.min(axis=2) - 10.3, xy.max(axis=2) + 10.3
    keypoints = xy.shape[2]
    places, scores = rng.uniform(10, SIZE - 10, (2, keypoints, 2)), rng.uniform(0.3, 1, (2, keypoints, 1))
    return Known(
        frames=[cast(Frames, cv2.imread(str(image.path))) for image in labelled],
        boxes=np.concatenate([low, high - low], axis=-1),
        conditions=conditions,
        images=torch.from_numpy(rng.normal(0, 1, (2, 3, SIZE, SIZE)).astype(np.float32)),
        rough=torch.from_numpy(np.concatenate([places, scores], axis=-1).astype(np.float32)),
    )


def first_snapshots(case: Case, shuffle: Shuffle, known: Known, folder: Path) -> Pair:
    """Random weights, in files."""
    config = read_pose_config(shuffle.pose_config_path)
    torch.manual_seed(0)
    model = build_model(config)
    pictures = PixelNormalisation(normalisation(config))(torch.from_numpy(np.stack(known.frames)))
    conditions = torch.from_numpy(known.conditions[:, 0]).float()
    _settle(model, *([pictures, conditions] if model.conditional else [pictures]))
    pair = Pair(folder / "snapshot-000.pt", folder / "snapshot-detector-000.pt" if case.detector else None)
    _write(model, pair.pose)
    if pair.detector:
        detector = build_detector(config["detector"]["model"])
        _settle(detector, pictures)
        _write(detector, pair.detector)
    return pair


def train_on(shuffle: Shuffle, start: Pair, folder: Path, *, epochs: int) -> Pair:
    """Let rigpose train from snapshots (a detector one epoch), and put the newest ones into ``folder``.

    There they are out of the way of DeepLabCut, which renames and deletes those of a shuffle.
    """
    train_network(
        shuffle.config.path,
        shuffle.index,
        snapshot_path=start.pose,
        detector_path=start.detector,
        epochs=epochs,
        detector_epochs=1 if start.detector else 0,
        batch_size=BATCH,
        detector_batch_size=BATCH,
        save_epochs=1,
        max_snapshots_to_keep=1,
        device="cpu",
        workers=0,
    )
    prefixes = ["snapshot", *(["snapshot-detector"] if start.detector else [])]
    newest = [max(shuffle.snapshots(prefix=prefix), key=lambda s: s.epoch).path for prefix in prefixes]
    return Pair(*[path.rename(folder / path.name) for path in newest])


def _settle(model: nn.Module, *inputs: torch.Tensor) -> None:
    """Give batch normalisation the statistics of these inputs: random weights without them make numbers explode."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.momentum = 1.0
        layer.train()
    with torch.no_grad():
        model(*inputs)
    model.eval()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _write(model: nn.Module, path: Path) -> None:
    write_whole({"model": model.state_dict(), "metadata": {"epoch": 0, "metrics": {}, "losses": {}}}, path)


def _add_unique_and_identity(config: Path) -> None:
    """Ask for identities, and for a corner that is at one place in every picture."""
    section = yaml.safe_load(config.read_text())
    changed = {**section, "identity": True, "uniquebodyparts": ["corner"]}
    config.write_text(yaml.safe_dump(changed, sort_keys=False))
    (file,) = config.parent.glob("labeled-data/*/CollectedData_*.h5")
    table = cast(pd.DataFrame, pd.read_hdf(file))
    for axis, place in (("x", 20.0), ("y", 30.0)):
        table[(section["scorer"], "single", "corner", axis)] = place
    table.to_hdf(file, key="df_with_missing", mode="w")
    table.to_csv(file.with_suffix(".csv"))
