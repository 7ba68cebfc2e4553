"""A top-down pair of small networks under reproducible weights twice: as two graphs in torch, and as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from exported_families import family_config
from exported_pairs import calibrate, drawn
from reference_weights import fill

from rigpose.analyzers.top_down import BoxAnalyzer, CropAnalyzer, TopDownAnalyzer
from rigpose.arrays import Frames
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.poses import Poses
from rigpose_training.detector_graph import DetectorGraph
from rigpose_training.models import build_model
from rigpose_training.models.detectors import build_detector
from rigpose_training.pair_graph import PairGraph
from rigpose_training.pose_graph import PoseGraph
from rigpose_training.spec import model_spec
from rigpose_training.torch_session import TorchSession

ANIMALS = 4


@dataclass(frozen=True)
class CombinedPair:
    """One pair in both forms.

    Attributes:
        spec: Of the pose network.
        boxes: Of the detector.
        two_graphs: Detector, crops by OpenCV, pose network.
        graph: All of it in one.
    """

    spec: ModelSpec
    boxes: DetectorSpec
    two_graphs: TopDownAnalyzer
    graph: PairGraph


def combined_pair(net_type: str, **crop: Any) -> CombinedPair:
    """A small pose network of a documented model behind an SSDLite; ``crop`` changes how crops are cut."""
    torch.set_num_threads(2)
    config = family_config(net_type)
    config["data"]["inference"]["top_down_crop"] |= crop
    model = build_model(config).eval()
    fill(model, "export")
    if net_type == "top_down_resnet_50":
        calibrate(model, config)
    spec, pose, detector = model_spec(config), PoseGraph(model, config).eval(), many_boxes()
    boxes = DetectorSpec(max_animals=ANIMALS)
    two_graphs = TopDownAnalyzer(
        BoxAnalyzer(boxes, TorchSession(detector)), CropAnalyzer(spec, TorchSession(pose), batch=32)
    )
    return CombinedPair(spec, boxes, two_graphs, PairGraph(detector, pose, boxes, spec).eval())


def many_boxes() -> DetectorGraph:
    """An SSDLite whose random weights give many boxes of different scores."""
    detector = build_detector({"type": "SSDLite"})
    fill(detector, "boxes")
    model: Any = detector.model
    with torch.no_grad():
        for block in model.head.classification_head.module_list:
            block[-1].weight.mul_(20.0)
    return DetectorGraph(detector, {"data": {"inference": {"normalize_images": True}}}).eval()


def drawn_batch(count: int, height: int, width: int) -> Frames:
    """(B, H, W, 3) pictures of the drawn world."""
    return np.stack([drawn(number, height, width) for number in range(count)])


def largest_gaps(expected: list[Poses], found: list[Poses]) -> tuple[float, float]:
    """Of the same animals in the same frames, the largest distances of keypoints and of boxes [px]."""
    keypoints, boxes = 0.0, 0.0
    for right, other in zip(expected, found, strict=True):
        assert len(right) == len(other)
        assert (np.isnan(right.xy) == np.isnan(other.xy)).all()
        assert right.boxes is not None and other.boxes is not None
        assert right.animal_score is not None and other.animal_score is not None
        np.testing.assert_allclose(other.score, right.score, atol=1e-4)
        np.testing.assert_allclose(other.animal_score, right.animal_score, atol=1e-4)
        apart = np.nan_to_num(np.linalg.norm(right.xy.astype(float) - other.xy, axis=-1))
        keypoints = max(keypoints, float(apart.max(initial=0)))
        boxes = max(boxes, float(np.abs(right.boxes - other.boxes).max(initial=0)))
    return keypoints, boxes
