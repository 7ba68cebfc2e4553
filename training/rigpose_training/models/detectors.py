"""Detectors: torchvision's networks under DeepLabCut's parameter names (``model.*``), for one class of animal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import nn
from torchvision.models import detection, get_model, list_models
from torchvision.ops import FrozenBatchNorm2d

from rigpose.errors import ConfigError
from rigpose.schema import parse, suggest
from rigpose_training.models.sections import choose

Target = dict[str, torch.Tensor]
"""One image's ``boxes`` (N, 4) x, y, x, y [image px] and ``labels`` (N,), 1 each: what torchvision trains on."""

CLASSES = 2  # background and animal
DEFAULT_THRESHOLD = 0.01  # of scores, as DeepLabCut writes it


@dataclass(frozen=True)
class SSDLiteConfig:
    """``detector.model`` of a ``type: SSDLite``.

    Attributes:
        variant: torchvision's only one; most files leave it empty.
        box_score_thresh: Boxes with a lower score are not returned. DeepLabCut writes its default, 0.01, into every
            file, but no number written here arrives in its SSDLite, whose threshold is always torchvision's 0.001.
            So the default and no number mean 0.001, for the same boxes as DeepLabCut's, and any other is obeyed.
    """

    type: str
    freeze_bn_stats: bool = False
    freeze_bn_weights: bool = False
    pretrained: bool | None = False
    pretrained_from_imagenet: bool | None = False
    variant: Literal["ssdlite320_mobilenet_v3_large"] | None = None
    box_score_thresh: float | None = None


@dataclass(frozen=True)
class FasterRCNNConfig:
    """``detector.model`` of a ``type: FasterRCNN``.

    Attributes:
        variant: torchvision's name, any that begins with ``fasterrcnn``.
        box_score_thresh: Boxes with a lower score are not returned; DeepLabCut's default where nothing is written.
    """

    type: str
    variant: str = "fasterrcnn_mobilenet_v3_large_fpn"
    freeze_bn_stats: bool = False
    freeze_bn_weights: bool = False
    pretrained: bool | None = False
    box_score_thresh: float | None = None


class Detector(nn.Module):
    """Finds animals in images (B, 3, H, W), normalised as for a pose network.

    torchvision resizes and normalises once more inside ``model``. DeepLabCut's detectors are trained with images
    normalised twice, so it is so here.

    Attributes:
        model: torchvision's network.
        variant: Its name there.
        freeze_bn_stats: Whether batch normalisation keeps running statistics while the network trains.
        freeze_bn_weights: Whether it keeps scale and shift.
    """

    def __init__(self, model: nn.Module, config: SSDLiteConfig | FasterRCNNConfig, *, variant: str) -> None:
        super().__init__()
        self.model = model
        self.variant = variant
        self.freeze_bn_stats = config.freeze_bn_stats
        self.freeze_bn_weights = config.freeze_bn_weights

    def forward(self, images: torch.Tensor, targets: list[Target] | None = None) -> Any:
        """Train on targets, or detect.

        Returns:
            In training mode, scalar losses by name. In evaluation mode, ``boxes``, ``scores`` and ``labels`` of each
            image, best first.
        """
        return self.model(list(images), targets)

    def losses(self, images: torch.Tensor, annotations: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Scalar losses by name; the network must be in training mode. Images may be without animals.

        Args:
            images: (B, 3, H, W), normalised.
            annotations: ``boxes`` (B, N, 4) x, y, width, height [image px] and ``labels`` (B, N).
        """
        return self(images, detection_targets(annotations))

    @torch.inference_mode()
    def detect(self, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Boxes (D, 4) x, y, x, y [image px] and scores (D,) of each image, best first; in evaluation mode."""
        return [(found["boxes"], found["scores"]) for found in self(images)]


def detection_targets(annotations: Mapping[str, torch.Tensor]) -> list[Target]:
    """What torchvision trains on, one per image: absent animals and boxes without area are left out.

    Args:
        annotations: ``boxes`` (B, N, 4) x, y, width, height [image px] and ``labels`` (B, N), 0 where absent.
    """
    targets: list[Target] = []
    for boxes, labels in zip(annotations["boxes"].float(), annotations["labels"].long(), strict=True):
        there = (labels > 0) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
        corner, size = boxes[there, :2], boxes[there, 2:]
        targets.append({"boxes": torch.cat([corner, corner + size], dim=1), "labels": labels[there]})
    return targets


def build_detector(section: Mapping[str, Any], *, where: str = "config: detector.model") -> Detector:
    """The detector that a ``detector.model`` section describes, with random weights and without a network.

    Raises:
        ConfigError: A key, type or variant that does not exist; the message names it.
    """
    config_class, build = choose(DETECTORS, section, where=where)
    return build(parse(config_class, section, where=where), where)


def _ssdlite(config: SSDLiteConfig, where: str) -> Detector:  # noqa: ARG001
    variant = "ssdlite320_mobilenet_v3_large"
    written = config.box_score_thresh
    threshold = 0.001 if written is None or written == DEFAULT_THRESHOLD else written
    return Detector(_create(variant, score_thresh=threshold), config, variant=variant)


def _faster_rcnn(config: FasterRCNNConfig, where: str) -> Detector:
    variants = [name for name in list_models(module=detection) if name.startswith("fasterrcnn")]
    if config.variant not in variants:
        raise ConfigError(
            f"{where}.variant: {config.variant!r} is none of {', '.join(variants)}{suggest(config.variant, variants)}."
        )
    threshold = DEFAULT_THRESHOLD if config.box_score_thresh is None else config.box_score_thresh
    model = _create(config.variant, box_score_thresh=threshold)
    if not config.variant.endswith("_v2"):
        freeze_normalisation(cast(nn.Module, model.backbone))
    return Detector(model, config, variant=config.variant)


def _create(variant: str, **thresholds: float) -> nn.Module:
    return get_model(variant, weights=None, weights_backbone=None, num_classes=CLASSES, **thresholds)


def freeze_normalisation(backbone: nn.Module) -> None:
    """Put constants in place of batch normalisation, as torchvision does in a backbone with ImageNet weights.

    DeepLabCut's snapshots are of such a backbone, and have no ``num_batches_tracked``; torchvision would build it
    only together with the download of those weights.
    """
    for name, layer in list(backbone.named_modules()):
        if isinstance(layer, nn.BatchNorm2d):
            backbone.set_submodule(name, FrozenBatchNorm2d(layer.num_features, eps=layer.eps))


# A string in the file becomes code here and nowhere else.
DETECTORS: dict[str, tuple[type[Any], Any]] = {
    "SSDLite": (SSDLiteConfig, _ssdlite),
    "FasterRCNN": (FasterRCNNConfig, _faster_rcnn),
}
