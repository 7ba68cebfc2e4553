"""A top-down pair as one graph: uint8 BGR frames in, boxes and the poses in them out."""

from __future__ import annotations

import torch
from torch import nn

from rigpose.errors import ConfigError
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.models.preprocess import plan
from rigpose_training.crop_sampling import CropSampler
from rigpose_training.detector_graph import DetectorGraph
from rigpose_training.pose_graph import PoseGraph

FARTHEST = 2.0**16
"""A box that reaches farther is none [px]; whole numbers of such a size stay whole in the sampler's arithmetic."""


class PairGraph(nn.Module):
    """Frames (B, H, W, 3) uint8 BGR -> boxes (B, N, 4), scores (B, N), keypoints (B, N, K, 3), all [frame px].

    N is the fixed number of animals that poses are looked for in: the best boxes, the best first, as x, y, x, y. A row
    with the score 0 is no animal, and its keypoints are NaN. What a rig may choose, how sure a box must be and which
    poses are doubles, is left to it; see ``rigpose.analyzers.combined``.

    Between detector and pose network nothing leaves the graph. The crops are those of ``rigpose.models.crops``, so that
    poses are those of the two graphs. The pose network sees N crops of every frame, whatever was found.

    Args:
        detector: Frames to boxes. It must be in evaluation mode when it runs, as all of the graph.
        pose: Crops to keypoints.
        boxes: Of the detector; its ``max_animals`` is N.
        spec: Of the pose network.

    Attributes:
        inputs: Names of what ``forward`` takes.
        outputs: Names of what it returns.

    Raises:
        ConfigError: A model that does not fit into one graph.
    """

    inputs = ("frames",)
    outputs = ("boxes", "scores", "keypoints")

    def __init__(self, detector: DetectorGraph, pose: PoseGraph, boxes: DetectorSpec, spec: ModelSpec) -> None:
        super().__init__()
        if spec.task != "top_down" or spec.crop is None:
            raise ConfigError(
                f"combined: a model of the task {spec.task} is no detector with a pose network; leave it out."
            )
        refuse_preparation(boxes, spec)
        self.animals = boxes.max_animals
        self.detector = detector
        self.sampler = CropSampler(spec.crop)
        self.pose = pose

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Boxes, scores and keypoints of a batch."""
        boxes, scores = (found[:, : self.animals] for found in self.detector(frames))
        # A sum is NaN if one of its terms is, and nothing is compared with NaN.
        real = (scores > 0) & (boxes.abs().sum(dim=-1) < FARTHEST)
        boxes, scores = torch.where(real.unsqueeze(-1), boxes, 0.0), torch.where(real, scores, 0.0)
        crops, window = self.sampler(frames, boxes)
        (found,) = self.pose(crops.flatten(0, 1))
        keypoints = found.unflatten(0, (-1, boxes.shape[1]))
        corner, side = window[..., None, :2], (window[..., 2:] - window[..., :2]).unsqueeze(2)
        size = torch.tensor([self.sampler.spec.width, self.sampler.spec.height], device=boxes.device)
        xy = keypoints[..., :2] * (side / size) + corner
        keypoints = torch.cat([xy, keypoints[..., 2:]], dim=-1)
        return boxes, scores, torch.where(real[..., None, None], keypoints, torch.nan)


def refuse_preparation(boxes: DetectorSpec, spec: ModelSpec) -> None:
    """Make sure that the host does nothing to frames and crops, which one graph could not do in its midst.

    No documented model has such a step; an edited ``pytorch_config.yaml`` may.

    Raises:
        ConfigError: Names the section with the step.
    """
    changes = "is changed in size on the way to its network, and one graph has no such step"
    plain = boxes.input.resize is None and boxes.input.longest_side is None and boxes.input.multiple_of == 1
    if not plain:
        raise ConfigError(f"combined: detector.data.inference: a frame {changes}; leave combined out.")
    assert spec.crop is not None
    crop = (spec.crop.height, spec.crop.width)
    steps = plan(spec.input, *crop)
    if not steps.frame_size == steps.content_size == steps.input_size:
        raise ConfigError(f"combined: data.inference: a crop {changes}; leave combined out.")
