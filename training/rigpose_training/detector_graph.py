"""The whole graph of a detector: uint8 BGR frames in, boxes out. Evaluation runs it, export traces it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import interpolate, pad
from torchvision.models.detection import FasterRCNN

from rigpose.errors import ConfigError
from rigpose_training.dense_boxes.faster_rcnn import FeaturePyramid, faster_rcnn_boxes
from rigpose_training.dense_boxes.geometry import resized_sides
from rigpose_training.dense_boxes.ssdlite import ssdlite_boxes
from rigpose_training.models.detectors import Detector
from rigpose_training.pose_graph import PixelNormalisation
from rigpose_training.spec import normalisation

LEAST_SIDE = 64
"""Of what a detector sees [px]; the coarsest maps are of 64 px, and smaller pictures show no animal to it."""


class DetectorGraph(nn.Module):
    """Frames (B, H, W, 3) uint8 BGR -> boxes (B, D, 4) x, y, x, y [input px] and scores (B, D), the best first.

    The boxes are those of torchvision's own evaluation, but in fixed shapes: a row with the score 0 is no box. D is
    the network's ``detections_per_img``, 100 of a Faster R-CNN and 300 of an SSDLite, so that an evaluation over all
    scores counts what torchvision would give it; they are kilobytes beside the frame.

    Args:
        detector: Its later weights are seen. The graph must be in evaluation mode when it runs.
        section: The ``detector`` section of a ``pytorch_config.yaml``.

    Attributes:
        inputs: Names of what ``forward`` takes.
        outputs: Names of what it returns.
    """

    inputs = ("frames",)
    outputs = ("boxes", "scores")

    def __init__(self, detector: Detector, section: Mapping[str, Any]) -> None:
        super().__init__()
        self.normalise = PixelNormalisation(normalisation(section))
        self.detector = detector
        model: Any = detector.model
        self.pyramid: FeaturePyramid | None = None
        if isinstance(model, FasterRCNN):
            strides = (32, 32) if "mobilenet" in detector.variant else (4, 8, 16, 32)
            self.pyramid = FeaturePyramid(model.backbone, strides)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes and scores of a batch."""
        model: Any = self.detector.model
        transform = model.transform
        height, width = frames.shape[1:3]
        images = transform.normalize(self.normalise(frames))
        # Inside the graph, because OpenCV on the host would round each pixel, and torchvision's resize does not.
        high, wide = resized_sides(transform, height, width)
        images = interpolate(images, size=(high, wide), mode="bilinear", align_corners=False)
        if self.pyramid is not None:
            multiple = transform.size_divisible
            images = pad(images, (0, -wide % multiple, 0, -high % multiple))
            boxes, scores = faster_rcnn_boxes(model, self.pyramid, images, _sides(wide, high, images))
        else:
            boxes, scores = ssdlite_boxes(model, images)
        to_input = _sides(width, height, images) / _sides(wide, high, images)
        return boxes * to_input.repeat(2), scores


def look_at_size(detector: Detector, side: int) -> None:
    """Let a detector see frames in another size than it was trained with: cheaper or finer, and not as good.

    Every graph that is made of it afterwards resizes frames so.

    Args:
        detector: Its weights do not depend on the size, as its anchors are placed anew.
        side: Both sides of an SSDLite's square, which is 320 otherwise; the shorter side of a Faster R-CNN, and the
            longer one's limit in proportion, which are 800 and 1333 otherwise, or 320 and 640 [px].

    Raises:
        ConfigError: The size is too small for the network's maps.
    """
    if side < LEAST_SIDE:
        raise ConfigError(f"--detector-size {side}: is too small to see an animal; give {LEAST_SIDE} px or more.")
    transform = cast(Any, detector.model).transform
    if transform.fixed_size is not None:
        transform.fixed_size = (side, side)
        return
    transform.max_size = round(transform.max_size * side / transform.min_size[-1])
    transform.min_size = (side,)


def look_at_proposals(detector: Detector, count: int, *, animals: int) -> None:
    """Let a Faster R-CNN's box head look at fewer regions: cheaper, and an animal that none of them shows is lost.

    Every graph that is made of it afterwards does so.

    Args:
        detector: Its weights stay as they are.
        count: The best of its proposals, of which it looks at 1000 otherwise, or at 150.
        animals: That it shall find.

    Raises:
        ConfigError: It has no proposals, no more than that, or more animals.
    """
    if count < animals:
        raise ConfigError(f"--detector-proposals {count}: the model has {animals} animals; give some tens for each.")
    if not isinstance(detector.model, FasterRCNN):
        raise ConfigError(f"--detector-proposals: {detector.variant} has no proposals; leave it out.")
    rpn: Any = detector.model.rpn
    # torchvision has no other way to change them in a network that is there.
    kept = rpn._post_nms_top_n  # noqa: SLF001
    if count > kept["testing"]:
        raise ConfigError(f"--detector-proposals {count}: {detector.variant} looks at {kept['testing']}; give fewer.")
    kept["testing"] = count


def _sides(width: int, height: int, like: torch.Tensor) -> torch.Tensor:
    """(2,) width and height as values of a graph, where they may be symbols."""
    return torch.stack([torch.full((), side, dtype=like.dtype, device=like.device) for side in (width, height)])
