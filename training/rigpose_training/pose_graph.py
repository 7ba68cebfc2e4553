"""The whole graph: uint8 BGR frames in, candidates out. Evaluation runs it, export traces it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from rigpose.schema import parse
from rigpose_training.dense import build_dense, dense_family
from rigpose_training.dense.identity import IdentityPredictor, IdentityReader, candidate_places
from rigpose_training.models import PoseModel
from rigpose_training.spec import Normalisation, head_predictors, normalisation

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
    """Frames (B, H, W, 3) uint8 BGR -> the tuple of candidates that ``outputs`` names [input px].

    Attributes:
        inputs: Names of what ``forward`` takes: ``frames`` and, for a conditional network, ``conditions`` (B, K, 3)
            x, y [input px], score.
        outputs: Names of what it returns: the candidates of the bodypart head, then ``unique`` (B, U, 3) and
            ``identity`` (B, K, P, I) where the network has these heads.
    """

    def __init__(self, model: PoseModel, config: Mapping[str, Any]) -> None:
        super().__init__()
        predictors = head_predictors(config)
        self.normalise = PixelNormalisation(normalisation(config))
        self.model = model
        self.dense = build_dense(predictors["bodypart"], model.strides["bodypart"])
        self.inputs = ("frames", "conditions") if model.conditional else ("frames",)
        self.outputs = dense_family(predictors["bodypart"]).outputs
        self.unique: nn.Module | None = None
        self.identity: nn.Module | None = None
        if "unique_bodypart" in predictors:
            self.unique = build_dense(predictors["unique_bodypart"], model.strides["unique_bodypart"])
            self.outputs += ("unique",)
        if "identity" in predictors:
            section = parse(IdentityPredictor, predictors["identity"], where="model.heads.identity.predictor")
            self.identity = IdentityReader(section, model.strides["identity"])
            self.outputs += ("identity",)

    def forward(self, frames: torch.Tensor, conditions: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        images = self.normalise(frames)
        # Coordinates stay in float32, whatever precision the network runs in.
        maps = self.model(images, None if conditions is None else conditions.float())
        candidates = dict(cast(dict[str, torch.Tensor], self.dense(maps["bodypart"])))
        if self.unique is not None:
            candidates["unique"] = self.unique(maps["unique_bodypart"])["keypoints"]
        if self.identity is not None:
            candidates |= self.identity(maps["identity"], candidate_places(candidates))
        return tuple(candidates[name] for name in self.outputs)
