"""Every place where a new configuration differs from DeepLabCut's, which would not train or run as it says.

DeepLabCut writes its settings for top-down crops over those of the model, so that a model with another crop size or
margin gets the wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Correction:
    """Settings of some models.

    Attributes:
        net_types: The models.
        changes: Dotted key -> the value that works.
        reason: Why DeepLabCut's does not.
        keypoints: With this number of bodyparts, DeepLabCut's does.
    """

    net_types: tuple[str, ...]
    changes: Mapping[str, Any]
    reason: str
    keypoints: int | None = None


def _crop(width: int, height: int) -> dict[str, Any]:
    sides = {"width": width, "height": height}
    return {
        f"data.{mode}.top_down_crop.{side}": value for mode in ("train", "inference") for side, value in sides.items()
    }


_HUMAN = ("ctd_coam_w48_human", "ctd_prenet_rtmpose_x_human")

CORRECTIONS = (
    Correction(
        ("rtmpose_x", "ctd_prenet_rtmpose_x"),
        _crop(384, 384),
        "the head's weights are made for 384 x 384 px and fail with DeepLabCut's 256 x 256",
    ),
    Correction(
        _HUMAN,
        {**_crop(288, 384), "data.bbox_margin": 5},
        "the network's weights are made for 288 x 384 px and fail with DeepLabCut's 256 x 256; published with 5 px",
    ),
    Correction(
        (
            "ctd_coam_w32",
            "ctd_coam_w48",
            "ctd_prenet_hrnet_w32",
            "ctd_prenet_hrnet_w48",
            "ctd_prenet_rtmpose_s",
            "ctd_prenet_rtmpose_m",
            "ctd_prenet_rtmpose_x",
        ),
        {"data.bbox_margin": 25},
        "the margin that the model's own settings ask for; DeepLabCut's 20 px are those of other models",
    ),
    Correction(
        _HUMAN,
        {"data.gen_sampling.keypoint_sigmas": 0.1, "data.gen_sampling.keypoints_symmetry": None},
        "the errors of CrowdPose's fourteen keypoints mean nothing for other bodyparts, and fail for fewer",
        keypoints=14,
    ),
)


def corrected(net_type: str, *, keypoints: int) -> dict[str, Any]:
    """The dotted keys and values that a configuration of ``net_type`` with K ``keypoints`` gets."""
    changes: dict[str, Any] = {}
    for correction in CORRECTIONS:
        if net_type in correction.net_types and keypoints != correction.keypoints:
            changes.update(correction.changes)
    return changes
