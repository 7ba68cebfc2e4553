"""The ``detector`` section of a top-down ``pytorch_config.yaml``, for every detector that DeepLabCut has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rigpose.errors import ConfigError
from rigpose.schema import suggest
from rigpose_training.pose_config.files import read_mapping, update

BASE = Path(__file__).with_name("detector.yaml")
DEFAULT = "ssdlite"

DETECTORS: dict[str, dict[str, Any]] = {
    # One fixed size of 320 x 320 px, so that a batch of frames fits together.
    "ssdlite": {"model.type": "SSDLite", "model.variant": None, "train_settings.batch_size": 16},
    "fasterrcnn_mobilenet_v3_large_fpn": {
        "model.type": "FasterRCNN",
        "model.variant": "fasterrcnn_mobilenet_v3_large_fpn",
    },
    "fasterrcnn_resnet50_fpn_v2": {"model.type": "FasterRCNN", "model.variant": "fasterrcnn_resnet50_fpn_v2"},
}


def available_detectors() -> list[str]:
    """Names that ``create_training_dataset(detector_type=...)`` takes."""
    return sorted(DETECTORS)


def make_detector_config(detector_type: str | None = None) -> dict[str, Any]:
    """The section of one detector; ``ssdlite`` unless another is named.

    Raises:
        ConfigError: No such detector.
    """
    name = detector_type or DEFAULT
    if name not in DETECTORS:
        known = ", ".join(available_detectors())
        raise ConfigError(f"detector_type {name!r} is not available{suggest(name, DETECTORS)} ({known}).")
    section = read_mapping(BASE)
    section["model"] = {
        "type": None,
        "freeze_bn_stats": True,
        "freeze_bn_weights": False,
        "variant": None,
        # Low on purpose: what is left out here, no threshold of later steps can bring back.
        "box_score_thresh": 0.01,
    }
    return update(section, DETECTORS[name])
