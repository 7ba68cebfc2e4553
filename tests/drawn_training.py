"""A training small enough for a test: drawn discs, a small network and a loader over them."""

from __future__ import annotations

import copy
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rigpose_training.data.dataset import PoseDataset
from rigpose_training.data.loaders import LabelledImage, Loader
from rigpose_training.data.truth import Sample
from rigpose_training.pose_config.files import write_pose_config

SIZE = 64
BODYPARTS = ["nose", "tail"]


def tiny_config() -> dict[str, Any]:
    """A whole ``pytorch_config.yaml`` for a network of four hundred thousand parameters on 64 px images."""
    deconvolution = {"kernel_size": [3], "strides": [2]}
    head = {
        "type": "HeatmapHead",
        "predictor": {"type": "HeatmapPredictor", "apply_sigmoid": False, "clip_scores": True},
        "target_generator": {"type": "HeatmapGaussianGenerator", "num_heatmaps": 2, "pos_dist_thresh": 17},
        "criterion": {
            "heatmap": {"type": "WeightedMSECriterion", "weight": 1.0},
            "locref": {"type": "WeightedHuberCriterion", "weight": 0.05},
        },
        "heatmap_config": {"channels": [96, 2], **deconvolution},
        "locref_config": {"channels": [96, 4], **deconvolution},
    }
    backbone = {
        "type": "ResNet",
        "model_name": "test_resnet",
        "output_stride": 16,
        "freeze_bn_stats": False,
        "drop_path_rate": 0.2,  # so that weights depend on torch's random numbers, which a resume must restore
    }
    return {
        "net_type": "test_resnet",
        "method": "bu",
        "device": "auto",
        "resume_training_from": None,
        "metadata": {"bodyparts": BODYPARTS, "unique_bodyparts": [], "individuals": ["individual_1"]},
        "model": {"backbone": backbone, "backbone_output_channels": 96, "heads": {"bodypart": head}},
        "data": {
            "bbox_margin": 20,
            "inference": {"normalize_images": True},
            "train": {
                "affine": {"p": 0.5, "rotation": 10, "scaling": [0.9, 1.1]},
                "gaussian_noise": 5,
                "normalize_images": True,
            },
        },
        "runner": {
            "type": "PoseTrainingRunner",
            "key_metric": "test.mAP",
            "key_metric_asc": True,
            "eval_interval": 100,
            "optimizer": {"type": "AdamW", "params": {"lr": 1e-3}},
            "scheduler": {"type": "LRListScheduler", "params": {"milestones": [3], "lr_list": [[1e-4]]}},
            "snapshots": {"max_snapshots": 5, "save_epochs": 1, "save_optimizer_state": False},
        },
        "train_settings": {"batch_size": 2, "epochs": 2, "display_iters": 100, "seed": 1, "dataloader_workers": 0},
    }


class DrawnLoader(Loader):
    """Images with a white disc (nose) and a grey one (tail), written to a folder."""

    def __init__(self, folder: Path, *, config: dict[str, Any] | None = None, train: int = 5, test: int = 2) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "pytorch_config.yaml"
        write_pose_config(path, copy.deepcopy(config or tiny_config()))
        super().__init__(path)
        self._drawn = {"train": _draw(folder, "train", train), "test": _draw(folder, "test", test)}

    def _read(self, mode: str) -> list[LabelledImage]:
        return self._drawn[mode]


class StoppingDataset(PoseDataset):
    """Presses Ctrl-C in its own process while its n-th item is loaded."""

    items_left = 0

    def sample(self, index: int) -> Sample:
        self.items_left -= 1
        if self.items_left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return super().sample(index)


class StoppingLoader(DrawnLoader):
    """Its training images are a ``StoppingDataset``; no item stops where ``stop_at`` is 0."""

    stop_at = 0

    def create_dataset(self, transform: Any = None, mode: str = "train", task: Any = None) -> PoseDataset:  # noqa: ARG002
        dataset = StoppingDataset(self.images(mode), bodyparts=self.bodyparts, transform=transform, mode=mode)
        dataset.items_left = self.stop_at if mode == "train" else 0
        return dataset


def _draw(folder: Path, mode: str, count: int) -> list[LabelledImage]:
    rng = np.random.default_rng(len(mode))
    drawn = []
    for i in range(count):
        xy = rng.integers(12, SIZE - 12, size=(1, 2, 2))
        image = np.full((SIZE, SIZE, 3), 40, np.uint8)
        for (x, y), grey in zip(xy[0].tolist(), (255, 140), strict=True):
            cv2.circle(image, (x, y), 5, (grey, grey, grey), -1)
        path = folder / f"{mode}{i}.png"
        cv2.imwrite(str(path), image)
        unique = np.empty((0, 2), np.float32)
        drawn.append(LabelledImage(path, xy.astype(np.float32), unique, (SIZE, SIZE)))
    return drawn
