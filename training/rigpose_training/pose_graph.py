"""The whole graph: uint8 BGR frames in, candidates out. Evaluation runs it, export traces it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from rigpose_training.dense import build_dense, dense_family
from rigpose_training.models import PoseModel
from rigpose_training.spec import Normalisation, normalisation

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PixelNormalisation(nn.Module):
    """(B, H, W, 3) uint8 BGR -> (B, 3, H, W) float32 RGB, scaled as the network was trained."""

    rgb: torch.Tensor
    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, spec: Normalisation) -> None:
        super().__init__()
        mean = torch.tensor(IMAGENET_MEAN if spec.imagenet else (0.0, 0.0, 0.0))
        std = torch.tensor(IMAGENET_STD if spec.imagenet else (1.0, 1.0, 1.0))
        largest = 255.0 if spec.imagenet or spec.unit_range else 1.0
        # Not persistent: a checkpoint's keys stay DeepLabCut's.
        self.register_buffer("rgb", torch.tensor([2, 1, 0]), persistent=False)
        self.register_buffer("shift", (mean * largest).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", (1 / (std * largest)).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        # Cast first: inference engines take uint8 into a cast and nothing else.
        images = frames.float().permute(0, 3, 1, 2).index_select(1, self.rgb)
        return (images - self.shift) * self.scale


class PoseGraph(nn.Module):
    """Frames (B, H, W, 3) uint8 BGR -> the tuple of candidates that ``outputs`` names [input px]."""

    def __init__(self, model: PoseModel, config: Mapping[str, Any]) -> None:
        super().__init__()
        predictor = config["model"]["heads"]["bodypart"]["predictor"]
        self.normalise = PixelNormalisation(normalisation(config))
        self.model = model
        self.dense = build_dense(predictor, model.strides["bodypart"])
        self.outputs = dense_family(predictor).outputs

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps = self.model(self.normalise(frames))["bodypart"]
        candidates = cast(dict[str, torch.Tensor], self.dense(maps))
        return tuple(candidates[name] for name in self.outputs)
