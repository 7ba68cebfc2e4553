"""A detector's session in torch, and the analyzers of networks that see one animal at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from rigpose.analyzer import PoseAnalyzer
from rigpose.arrays import Array
from rigpose.conditional import ConditionalAnalyzer
from rigpose.errors import ConfigError
from rigpose.top_down import BoxAnalyzer, CropAnalyzer, DetectorSpec, TopDownAnalyzer
from rigpose_training.models import PoseModel
from rigpose_training.models.detectors import Detector
from rigpose_training.pose_graph import PixelNormalisation, PoseGraph
from rigpose_training.spec import Normalisation, input_spec, model_spec, normalisation
from rigpose_training.torch_session import TorchSession


class TorchDetectorSession:
    """Runs a detector where its weights are: ``frames`` (B, H, W, 3) uint8 BGR -> ``boxes``, ``scores``.

    Args:
        detector: Its later weights are seen.
        steps: What happens to pixel values before it.
    """

    def __init__(self, detector: Detector, steps: Normalisation) -> None:
        self.detector = detector
        self.normalise = PixelNormalisation(steps).to(self.device)

    @property
    def device(self) -> str:
        """The device of the weights."""
        return str(next(self.detector.parameters()).device)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a batch in evaluation mode; the network stays in that mode afterwards.

        Returns:
            ``boxes`` (B, D, 4) x, y, x, y [input px] and ``scores`` (B, D), the best first, NaN where an image has
            fewer than D boxes.
        """
        self.detector.eval()
        with torch.inference_mode():
            images = self.normalise(torch.from_numpy(np.ascontiguousarray(inputs["frames"])).to(self.device))
            found = self.detector.detect(images)
        boxes = pad_sequence([boxes for boxes, _ in found], batch_first=True, padding_value=torch.nan)
        scores = pad_sequence([scores for _, scores in found], batch_first=True, padding_value=torch.nan)
        return {"boxes": boxes.cpu().numpy(), "scores": scores.cpu().numpy()}


def box_analyzer(detector: Detector, config: Mapping[str, Any], *, min_score: float = 0.0) -> BoxAnalyzer:
    """The rig's box analyzer over a torch detector.

    Args:
        detector: The network; its device is used.
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
    return BoxAnalyzer(spec, TorchDetectorSession(detector, normalisation(section)))


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
