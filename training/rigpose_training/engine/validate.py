"""How good a network is on the test images while it trains: its losses, and metrics in pixels of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import torch
from torch import nn

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Floats
from rigpose.measures.box_metrics import Boxes, BoxMetrics, evaluate_boxes
from rigpose.measures.metrics import Metrics, evaluate_poses
from rigpose.poses import Poses
from rigpose.progress import silent
from rigpose_training.data.batches import collate, on_device
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.decode import decode_maps
from rigpose_training.evaluation.evaluate import evaluate_model
from rigpose_training.models import PoseModel
from rigpose_training.models.detectors import Detector, detection_targets
from rigpose_training.objectives import Objective

PCUTOFF = 0.6  # DeepLabCut's while it trains, whatever the project says

Found: TypeAlias = tuple[dict[str, float], dict[str, float]]
"""Mean loss terms, and metrics by DeepLabCut's names; both empty without test images."""
Validate: TypeAlias = Callable[[nn.Module], Found]


class TestImages(Protocol):
    """What validation asks of a data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


@dataclass(frozen=True)
class ImageValidation:
    """Of a network that sees whole images: its poses through the rig's analyzer.

    Attributes:
        dataset: The test images, prepared as for inference.
        images: The same images as they lie on disk.
        objective: How a batch becomes a loss.
        analyzer: Over the network that is tested.
        batch_size: Frames per call of the analyzer.
    """

    dataset: TestImages
    images: Sequence[LabelledImage]
    objective: Objective
    analyzer: Analyzer
    batch_size: int

    def __call__(self, model: nn.Module) -> Found:
        """See ``Found``."""
        if not len(self.dataset):
            return {}, {}
        losses = _Mean()
        for batch in _batches(self.dataset, model):
            losses.add(self.objective.terms(self.objective.forward(model, batch), batch))
        _, found = evaluate_model(self.analyzer, self.images, pcutoff=PCUTOFF, batch=self.batch_size, show=silent)
        return losses.found(), _pose_metrics(found)


@dataclass(frozen=True)
class CropValidation:
    """Of a network that sees one animal at a time: its poses in the crops around the labelled animals.

    Every animal counts as an image of its own, as in DeepLabCut while it trains: what a detector would miss, or
    another animal's keypoints in the same crop, only shows in an evaluation of the finished network.

    Attributes:
        dataset: The crops of the test images, prepared as for inference.
        objective: How a batch becomes a loss.
        predictor: The ``predictor`` section of the head that is tested.
    """

    dataset: TestImages
    objective: Objective
    predictor: Mapping[str, Any]

    def __call__(self, model: nn.Module) -> Found:
        """See ``Found``."""
        if not len(self.dataset):
            return {}, {}
        losses, poses, truth = _Mean(), [], []
        stride = cast(PoseModel, model).strides["bodypart"]
        for batch in _batches(self.dataset, model):
            outputs = self.objective.forward(model, batch)
            losses.add(self.objective.terms(outputs, batch))
            maps = {name: values.float().cpu().numpy() for name, values in outputs["bodypart"].items()}
            scale, shift = (batch[name].cpu().numpy() for name in ("scales", "offsets"))
            for crop, found in enumerate(decode_maps(self.predictor, maps, stride)):
                poses.append(Poses(found.xy * scale[crop] + shift[crop], found.score))
            labels = batch["annotations"]["keypoints"].cpu().numpy()
            labels = np.where(labels[..., 2:] > 0, labels[..., :2], np.nan)
            truth += list(labels * scale[:, None, None] + shift[:, None, None])
        return losses.found(), _pose_metrics(evaluate_poses(poses, truth, pcutoff=PCUTOFF))


@dataclass(frozen=True)
class BoxValidation:
    """Of a detector: its boxes. It has no losses to show, because torchvision's exist in training mode only.

    Attributes:
        dataset: The test images, prepared as for inference.
    """

    dataset: TestImages

    def __call__(self, model: nn.Module) -> Found:
        """See ``Found``."""
        if not len(self.dataset):
            return {}, {}
        boxes, truth = [], []
        for batch in _batches(self.dataset, model):
            scale, shift = (batch[name].cpu().numpy().reshape(-1, 2) for name in ("scales", "offsets"))
            found = cast(Detector, model).detect(batch["image"])
            for place, (xyxy, score) in enumerate(found):
                moved = _moved(xyxy.float().cpu().numpy(), scale[place], shift[place])
                boxes.append(Boxes(moved, score.float().cpu().numpy()))
            labels = detection_targets(batch["annotations"])
            truth += [_moved(t["boxes"].cpu().numpy(), scale[i], shift[i]) for i, t in enumerate(labels)]
        return {}, _box_metrics(evaluate_boxes(boxes, truth))


class _Mean:
    """Of loss terms over images."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, terms: Mapping[str, torch.Tensor]) -> None:
        self._count += 1
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)

    def found(self) -> dict[str, float]:
        return {name: total / self._count for name, total in self._sums.items()}


def _batches(dataset: TestImages, model: nn.Module) -> Iterator[dict[str, Any]]:
    """Images one by one, for they may differ in size, on the network's device and without gradients."""
    device = next(model.parameters()).device
    model.eval()
    for index in range(len(dataset)):
        with torch.no_grad():
            yield on_device(collate([dataset[index]]), device)


def _moved(xyxy: Floats, scale: Floats, shift: Floats) -> Floats:
    """Boxes (N, 4) of the network's input -> of the image [px]."""
    return xyxy * np.tile(scale, 2) + np.tile(shift, 2)


def _pose_metrics(found: Metrics) -> dict[str, float]:
    return {
        "metrics/test.rmse": float(found.rmse),
        "metrics/test.rmse_pcutoff": float(found.rmse_pcutoff),
        "metrics/test.mAP": float(found.mAP),
        "metrics/test.mAR": float(found.mAR),
    }


def _box_metrics(found: BoxMetrics) -> dict[str, float]:
    return {
        "metrics/test.mAP@50:95": found.mAP,
        "metrics/test.mAP@50": found.mAP_50,
        "metrics/test.mAP@75": found.mAP_75,
        "metrics/test.mAR@50:95": found.mAR,
        "metrics/test.mAR@50": found.mAR_50,
        "metrics/test.mAR@75": found.mAR_75,
    }
