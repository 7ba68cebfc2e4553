"""Detectors whose random weights give many boxes of different scores, on small images."""

from __future__ import annotations

from typing import Any

import torch
from reference_weights import fill

from rigpose_training.detector_graph import DetectorGraph
from rigpose_training.models.detectors import build_detector

MOBILENET, RESNET = "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2"
SECTION = {"data": {"inference": {"normalize_images": True}}}
SPREAD = {"ssdlite": (20.0, 0.0), MOBILENET: (100.0, -10.0), RESNET: (1.5, 2.0)}
"""By which the last logits are multiplied, and what is added to the animal's."""


def detector_graph(variant: str) -> DetectorGraph:
    """The graph of ``ssdlite`` or of a Faster R-CNN."""
    section = {"type": "SSDLite"} if variant == "ssdlite" else {"type": "FasterRCNN", "variant": variant}
    detector = build_detector(section)
    fill(detector, "boxes")
    model: Any = detector.model
    factor, shift = SPREAD[variant]
    if variant == "ssdlite":
        last = [block[-1] for block in model.head.classification_head.module_list]
    else:
        last = [model.roi_heads.box_predictor.cls_score]
        # With torchvision's 800 px and 1000 proposals, one image takes a second. With so few pixels, the last map has
        # fewer anchors than the proposals that are taken from it, too.
        model.transform.min_size, model.transform.max_size = (256,), 400
        model.rpn._post_nms_top_n["testing"] = 150
    with torch.no_grad():
        for layer in last:
            layer.weight.mul_(factor)
            layer.bias[1::2] += shift
    return DetectorGraph(detector, SECTION).eval()
