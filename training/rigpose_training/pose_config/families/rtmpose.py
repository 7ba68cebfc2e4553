"""RTMPose: each keypoint's x and y as two distributions over bins of half a pixel (Jiang et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rigpose_training.pose_config.families.backbones import cspnext
from rigpose_training.pose_config.model import Metadata, Model, crops, network

STRIDE = 32
BINS_PER_PIXEL = 2.0

LARGE_BATCHES = {"train_settings.batch_size": 32, "train_settings.dataloader_workers": 4, "train_settings.epochs": 400}

_JITTERED_BOXES = {"shift_factor": 0.16, "shift_prob": 0.3, "scale_factor": [0.75, 1.25], "scale_prob": 1.0, "p": 1.0}

# Five epochs of rising rate, level to the half, a cosine to a twentieth, and that for any epoch beyond.
_WARM_UP = {"type": "LinearLR", "params": {"start_factor": 0.001, "end_factor": 1.0, "total_iters": 5}}
_COSINE = {"type": "CosineAnnealingLR", "params": {"T_max": 200, "eta_min": 5e-5}}
_LEVEL = {"type": "LRListScheduler", "params": {"milestones": [0], "lr_list": [[5e-5]]}}
_SCHEDULE = {
    "runner.optimizer.params.lr": 1e-3,
    "runner.scheduler": {
        "type": "SequentialLR",
        "params": {"schedulers": [_WARM_UP, _COSINE, _LEVEL], "milestones": [200, 400]},
    },
}


def simcc_head(
    keypoints: int,
    *,
    channels: int,
    size: tuple[int, int],
    sigma: Sequence[float],
    predictor_options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A coordinate classification head.

    Args:
        keypoints: K.
        channels: Of the features.
        size: Width and height of its input, to which its weights are bound [px].
        sigma: Of the target's Gaussians in x and y [bins].
        predictor_options: What this model's predictor states beyond the shared settings.
    """
    loss = {"type": "KLDiscreteLoss", "use_target_weight": True, "beta": 10.0, "label_softmax": True}
    return {
        "type": "RTMCCHead",
        "weight_init": "RTMPose",
        "target_generator": {
            "type": "SimCCGenerator",
            "input_size": list(size),
            "smoothing_type": "gaussian",
            "sigma": list(sigma),
            "simcc_split_ratio": BINS_PER_PIXEL,
            "label_smooth_weight": 0.0,
            "normalize": False,
        },
        "criterion": {"x": loss, "y": dict(loss)},
        "predictor": {
            "type": "SimCCPredictor",
            "simcc_split_ratio": BINS_PER_PIXEL,
            "sigma": list(sigma),
            "decode_beta": 150.0,
            **(predictor_options or {}),
        },
        "input_size": list(size),
        "in_channels": channels,
        "out_channels": keypoints,
        "in_featuremap_size": [side // STRIDE for side in size],
        "simcc_split_ratio": BINS_PER_PIXEL,
        "final_layer_kernel_size": 7,
        "gau_cfg": {
            "hidden_dims": 256,
            "s": 128,
            "expansion_factor": 2,
            "dropout_rate": 0,
            "drop_path": 0.0,
            "act_fn": "SiLU",
            "use_rel_bias": False,
            "pos_enc": False,
        },
    }


def _rtmpose(size: str, side: int, sigma: float) -> Model:
    backbone = cspnext(size)

    def section(metadata: Metadata) -> dict[str, Any]:
        head = simcc_head(
            len(metadata.bodyparts),
            channels=backbone.channels,
            size=(side, side),
            sigma=(sigma, sigma),
            predictor_options={"apply_softmax": True, "normalize_outputs": False},
        )
        return network(backbone.section, backbone.channels, head)

    changes = {**crops(), "data.train.random_bbox_transform": _JITTERED_BOXES, **_SCHEDULE, **LARGE_BATCHES}
    return Model(f"rtmpose_{size}", "td", section, changes)


RTMPOSE = {
    "rtmpose_s": _rtmpose("s", 256, 5.66),
    "rtmpose_m": _rtmpose("m", 256, 5.66),
    "rtmpose_x": _rtmpose("x", 384, 6.93),
}
