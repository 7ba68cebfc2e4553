"""What a coordinate-classification head should have said: along each axis, the bin of every keypoint.

Li et al., SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation, ECCV 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from rigpose.errors import ConfigError
from rigpose_training.targets.target import Target


@dataclass(frozen=True)
class SimCCTarget:
    """``target_generator`` of a SimCC head, with DeepLabCut's names and defaults.

    Attributes:
        type: The generator's name.
        input_size: Width and height of the network's input [px].
        smoothing_type: A bell over the bins, or one bin with the rest shared by all others.
        sigma: Standard deviation of the bell, one for both axes or x and y [bins].
        simcc_split_ratio: Bins per input px.
        label_smooth_weight: What ``standard`` smoothing spreads over the other bins, 0..1.
        normalize: Whether the bell has area 1 instead of height 1.
        label_keypoint_key: Which labels.
    """

    type: Literal["SimCCGenerator"]
    input_size: tuple[int, int]
    smoothing_type: Literal["gaussian", "standard"] = "gaussian"
    sigma: float | tuple[float, float] = 6.0
    simcc_split_ratio: float = 2.0
    label_smooth_weight: float = 0.0
    normalize: bool = True
    label_keypoint_key: Literal["keypoints", "keypoints_unique"] = "keypoints"

    def __post_init__(self) -> None:
        if not 0 <= self.label_smooth_weight <= 1:
            raise ConfigError(
                f"target_generator.label_smooth_weight: {self.label_smooth_weight} is not between 0 and 1."
            )
        if self.label_smooth_weight > 0 and self.smoothing_type == "gaussian":
            raise ConfigError("target_generator.label_smooth_weight: needs smoothing_type standard, not gaussian.")

    @property
    def bins(self) -> tuple[int, int]:
        """Bins along x and y."""
        width, height = (round(side * self.simcc_split_ratio) for side in self.input_size)
        return width, height

    @property
    def sigmas(self) -> tuple[float, float]:
        """Standard deviations along x and y [bins]."""
        return self.sigma if isinstance(self.sigma, tuple) else (self.sigma, self.sigma)


def simcc_targets(
    config: SimCCTarget,
    maps: Mapping[str, torch.Tensor],
    annotations: Mapping[str, torch.Tensor],
    stride: float,  # noqa: ARG001 - bins are counted in input px, whatever the features' stride
) -> dict[str, Target]:
    """Targets of a SimCC head, on the device of its output.

    Args:
        config: The ``target_generator`` section.
        maps: The head's output; only the size of ``x`` (B, K, bins) and ``y`` and their device are used.
        annotations: ``keypoints`` (B, 1, K, 3) x, y [input px], visibility.
        stride: Of no meaning here.

    Returns:
        ``x`` (B, K, bins of the width) and ``y`` (B, K, bins of the height); a keypoint without a label, or so far
        outside the crop that nothing of its bell is left, weighs 0 on both axes.

    Raises:
        ConfigError: More than one animal per image, or another number of bins than the head has.
    """
    points = annotations[config.label_keypoint_key].to(maps["x"].device).float()
    points = points if points.ndim == 3 else _only_animal(points)
    labelled = points[..., 2] > 0  # (B, K)
    bins = torch.round(torch.where(labelled[..., None], points[..., :2], 0.0) * config.simcc_split_ratio)
    axes = []
    for axis, name in enumerate(("x", "y")):
        if maps[name].shape[-1] != config.bins[axis]:
            raise ConfigError(
                f"target_generator.input_size: makes {config.bins[axis]} bins along {name}, but the head has "
                f"{maps[name].shape[-1]}; give the head and its target_generator the same input_size."
            )
        axes.append(_along(config, bins[..., axis], axis))
    weights = labelled & axes[0][1] & axes[1][1]
    return {
        name: Target(torch.where(weights[..., None], values, 0.0), weights[..., None].float())
        for name, (values, _) in zip(("x", "y"), axes, strict=True)
    }


def _only_animal(points: torch.Tensor) -> torch.Tensor:
    if points.shape[1] != 1:
        raise ConfigError(
            f"SimCCGenerator: draws one animal per image and was given {points.shape[1]}; "
            "coordinate classification is for top-down models, so set method to td."
        )
    return points[:, 0]


def _along(config: SimCCTarget, middle: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels (B, K, bins) around the ``middle`` bins (B, K) of one axis, and whether any of it is inside (B, K)."""
    count, sigma = config.bins[axis], config.sigmas[axis]
    away = torch.arange(count, device=middle.device) - middle[..., None]
    if config.smoothing_type == "standard":
        values = torch.where(away == 0, 1.0 - config.label_smooth_weight, config.label_smooth_weight / (count - 1))
        return values, (middle >= 0) & (middle < count)
    values = torch.exp(-away.square() / (2 * sigma**2))
    if config.normalize:
        values = values / (sigma * math.sqrt(2 * math.pi))
    return values, (middle - 3 * sigma < count) & (middle + 3 * sigma + 1 >= 0)
