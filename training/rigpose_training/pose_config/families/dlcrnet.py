"""DLCRNet: a ResNet with two finer scales beside its last one, and part affinity fields (Lauer et al. 2022)."""

from __future__ import annotations

from typing import Any

from rigpose_training.pose_config.affinity import affinity_head
from rigpose_training.pose_config.model import SLOW_RATES, Metadata, Model, network

CHANNELS = 2048 + 2 * 128


def _dlcrnet(stride: int, *between: int) -> Model:
    backbone = {"type": "DLCRNet", "model_name": "resnet50", "pretrained": True, "output_stride": stride}

    def section(metadata: Metadata) -> dict[str, Any]:
        head = affinity_head(metadata, CHANNELS, *between)
        return network(backbone, CHANNELS, head, pose_model={"stride": 8})

    # Assembling what an untrained network finds takes long, so it is tested less often.
    changes = {**SLOW_RATES, "runner.eval_interval": 25}
    return Model(f"dlcrnet_stride{stride}_ms5", "bu", section, changes)


DLCRNET = {
    "dlcrnet_stride16_ms5": _dlcrnet(16),
    # Coarser features get a second deconvolution.
    "dlcrnet_stride32_ms5": _dlcrnet(32, CHANNELS // 2),
}
