"""BUCTD: a crop's network is told a rough pose and corrects it (Zhou, Stoffl et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rigpose_training.pose_config.families.backbones import cspnext, hrnet_section
from rigpose_training.pose_config.families.rtmpose import LARGE_BATCHES, simcc_head
from rigpose_training.pose_config.heads import crop_head
from rigpose_training.pose_config.model import SLOW_RATES, Metadata, Model, crops, learning_rates, network

# How often a training pose is moved, given to another animal, mirrored or left out, to look like a prediction.
_ERRORS = {"jitter_prob": 0.16, "swap_prob": 0.08, "inv_prob": 0.03, "miss_prob": 0.1}
_ANY_ANIMAL = {"keypoint_sigmas": 0.1, "keypoints_symmetry": None, **_ERRORS}
# The fourteen keypoints of CrowdPose (Li et al. 2019).
_SIGMAS = [0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.025, 0.025]
_HUMAN = {
    "keypoint_sigmas": _SIGMAS,
    "keypoints_symmetry": [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]],
    **_ERRORS,
}
_SQUARE, _UPRIGHT = (256, 256), (288, 384)


def _pose_image(metadata: Metadata) -> dict[str, Any]:
    return {
        "type": "StackedKeypointEncoder",
        "num_joints": len(metadata.bodyparts),
        "kernel_size": [15, 15],
    }


def _sampling(*, human: bool) -> dict[str, Any]:
    return {**crops(crop_with_context=human), "data.gen_sampling": _HUMAN if human else _ANY_ANIMAL}


def _coam(width: int, *, human: bool = False) -> Model:
    image_width, image_height = _UPRIGHT if human else _SQUARE

    def section(metadata: Metadata) -> dict[str, Any]:
        backbone = {
            "type": "HRNetCoAM",
            "base_model_name": f"hrnet_w{width}",
            "pretrained": True,
            "freeze_bn_stats": False,
            "freeze_bn_weights": False,
            "coam_modules": [2],
            "channel_att_only": False,
            "att_heads": 1,
            "kpt_encoder": _pose_image(metadata),
            "img_size": [image_height, image_width],
        }
        return network(backbone, width, crop_head(width, len(metadata.bodyparts)))

    name = f"ctd_coam_w{width}" + ("_human" if human else "")
    return Model(name, "ctd", section, {**_sampling(human=human), **SLOW_RATES})


def _prenet(inner: Mapping[str, Any], metadata: Metadata, size: tuple[int, int]) -> dict[str, Any]:
    width, height = size
    return {
        "type": "CondPreNet",
        "backbone": dict(inner),
        "kpt_encoder": _pose_image(metadata),
        "img_size": [height, width],
    }


def _prenet_hrnet(width: int) -> Model:
    def section(metadata: Metadata) -> dict[str, Any]:
        backbone = _prenet(hrnet_section(width, frozen_stats=False), metadata, _SQUARE)
        return network(backbone, width, crop_head(width, len(metadata.bodyparts)))

    return Model(f"ctd_prenet_hrnet_w{width}", "ctd", section, {**_sampling(human=False), **SLOW_RATES})


def _prenet_rtmpose(
    name: str, backbone_size: str, size: tuple[int, int], sigma: tuple[float, float], *, human: bool = False
) -> Model:
    inner = cspnext(backbone_size)

    def section(metadata: Metadata) -> dict[str, Any]:
        head = simcc_head(len(metadata.bodyparts), channels=inner.channels, size=size, sigma=sigma)
        return network(_prenet(inner.section, metadata, size), inner.channels, head)

    rates = learning_rates(1e-5, (5, 1e-3), (300, 1e-4), (360, 1e-5))
    return Model(name, "ctd", section, {**_sampling(human=human), **rates, **LARGE_BATCHES})


CONDITIONAL = {
    model.net_type: model
    for model in (
        _coam(32),
        _coam(48),
        _coam(48, human=True),
        _prenet_hrnet(32),
        _prenet_hrnet(48),
        _prenet_rtmpose("ctd_prenet_rtmpose_s", "s", _SQUARE, (5.66, 5.66)),
        _prenet_rtmpose("ctd_prenet_rtmpose_m", "m", _SQUARE, (5.66, 5.66)),
        _prenet_rtmpose("ctd_prenet_rtmpose_x", "x", (384, 384), (6.93, 6.93)),
        _prenet_rtmpose("ctd_prenet_rtmpose_x_human", "x", _UPRIGHT, (6.0, 6.93), human=True),
    )
}
