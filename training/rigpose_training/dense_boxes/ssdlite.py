"""SSDLite: every anchor is a candidate (Liu et al. 2016; Sandler et al. 2018)."""

from __future__ import annotations

import torch
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD

from rigpose_training.dense_boxes.geometry import move_boxes, take
from rigpose_training.dense_boxes.suppression import best_boxes


def ssdlite_boxes(model: SSD, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes (B, D, 4) [image px] and scores (B, D) of images (B, 3, 320, 320), the best first.

    Only the animal's class is looked at; a score of 0 is no box. D is torchvision's ``detections_per_img``, or the
    number of its candidates if that is smaller.
    """
    maps = list(model.backbone(images).values())
    found = model.head(maps)
    height, width = images.shape[2:]
    (anchors,) = model.anchor_generator(ImageList(images[:1], [(height, width)]), maps)
    scores = found["cls_logits"].softmax(dim=-1)[..., 1]
    scores, index = torch.topk(scores, min(model.topk_candidates, len(anchors)), dim=1)
    boxes = move_boxes(anchors[index], take(found["bbox_regression"], index), model.box_coder)
    boxes = torch.minimum(boxes.clamp(min=0), anchors.new_tensor([width, height, width, height]))
    scores = torch.where(scores > model.score_thresh, scores, 0.0)
    return best_boxes(boxes, scores, model.nms_thresh, count=min(model.detections_per_img, scores.shape[1]))
