"""The rig's analyzers of boxes and crops, over networks in torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rigpose.analyzers.analyzer import PoseAnalyzer
from rigpose.analyzers.conditional import ConditionalAnalyzer
from rigpose.analyzers.top_down import BoxAnalyzer, CropAnalyzer, DetectorSpec, TopDownAnalyzer
from rigpose.errors import ConfigError
from rigpose_training.detector_graph import DetectorGraph
from rigpose_training.models import PoseModel
from rigpose_training.models.detectors import Detector
from rigpose_training.pose_graph import PoseGraph
from rigpose_training.spec import input_spec, model_spec
from rigpose_training.torch_session import TorchSession


def box_analyzer(detector: Detector, config: Mapping[str, Any], *, min_score: float = 0.0) -> BoxAnalyzer:
    """The rig's box analyzer over a torch detector.

    Args:
        detector: The network; its device is used, and its later weights are seen.
        config: The whole ``pytorch_config.yaml`` with its section ``detector``.
        min_score: Boxes that score less are no animals.

    Raises:
        ConfigError: The file has no such section.
    """
    section = config.get("detector")
    if not section:
        raise ConfigError("pytorch_config.yaml has no detector section; create the shuffle with a top_down net_type.")
    spec = DetectorSpec(
        max_animals=len(config["metadata"]["individuals"]),
        input=input_spec(section["data"]["inference"], where="detector.data.inference"),
        min_score=min_score,
    )
    graph = DetectorGraph(detector, section).to(next(detector.parameters()).device)
    return BoxAnalyzer(spec, TorchSession(graph))


def crop_analyzer(
    model: PoseModel, config: Mapping[str, Any], *, skeleton: Sequence[tuple[str, str]] = (), batch: int = 8
) -> CropAnalyzer:
    """The rig's crop analyzer over a torch network of a top-down or conditional top-down model.

    Args:
        model: The network; its device is used, and its later weights are seen.
        config: The whole ``pytorch_config.yaml`` it was built from.
        skeleton: Pairs of keypoint names to draw.
        batch: Most crops at a time.
    """
    graph = PoseGraph(model, config).to(next(model.parameters()).device)
    return CropAnalyzer(model_spec(config, skeleton=skeleton), TorchSession(graph), batch=batch)


def top_down_analyzer(
    model: PoseModel, detector: Detector, config: Mapping[str, Any], *, batch: int = 8, min_score: float = 0.0
) -> TopDownAnalyzer:
    """The rig's top-down analyzer over two torch networks; arguments as above."""
    return TopDownAnalyzer(
        box_analyzer(detector, config, min_score=min_score), crop_analyzer(model, config, batch=batch)
    )


def conditional_analyzer(
    model: PoseModel, config: Mapping[str, Any], conditions: PoseAnalyzer | None = None, *, batch: int = 8
) -> ConditionalAnalyzer:
    """The rig's conditional analyzer over a torch network; ``conditions`` finds the rough poses, if none are given."""
    return ConditionalAnalyzer(crop_analyzer(model, config, batch=batch), conditions)
