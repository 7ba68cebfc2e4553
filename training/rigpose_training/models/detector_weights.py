"""Where a detector's first weights come from: torchvision's COCO weights, or random ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn
from torchvision.models import get_model

from rigpose.errors import ConfigError
from rigpose_training.models.detectors import Detector

COCO_CLASSES = 91
PERSON = 1  # the class of COCO's that DeepLabCut means to keep


def initialise_detector(detector: Detector, *, weights: Literal["coco", "random"] = "coco") -> str:
    """Load torchvision's COCO weights, or leave the detector random; say in a sentence which.

    With COCO weights the first layers of a Faster R-CNN's backbone keep them (``requires_grad`` is off), as
    torchvision does.

    Raises:
        ConfigError: ``weights`` is neither ``coco`` nor ``random``.
    """
    name = detector.variant
    if weights == "random":
        return f"{name}: starting from random weights, as asked."
    if weights != "coco":
        raise ConfigError(f"detector weights: {weights!r} is neither coco nor random.")
    try:
        donor = get_model(name, weights="COCO_V1", progress=False)
    except (OSError, RuntimeError) as error:
        # No address, no answer, or a file that is not what torchvision's checksum says.
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        return (
            f"{name}: COCO weights could not be fetched ({reason}), so the detector STARTS FROM RANDOM WEIGHTS; "
            "run once with a network to fill torch's cache, or give a detector snapshot to start from."
        )
    _transfer(donor, detector.model)
    return f"{name}: starting from COCO weights."


def _transfer(donor: nn.Module, model: nn.Module) -> None:
    given = for_one_animal(donor.state_dict())
    own = model.state_dict()
    # Faster R-CNN's last layer stays random: DeepLabCut starts it so, and it learns within the first steps.
    model.load_state_dict({key: given[key] if key in given else own[key] for key in own})
    trains = {key: parameter.requires_grad for key, parameter in donor.named_parameters()}
    for key, parameter in model.named_parameters():
        parameter.requires_grad = trains[key]


def for_one_animal(coco: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """COCO's state dict without what belongs to its 91 classes, except SSDLite's background and person.

    SSDLite's last layers have one row per anchor and class, classes of an anchor together. DeepLabCut keeps the first
    2 of every 91 rows as one block from the start, so its second anchor begins as the first one's bicycle and car;
    here each anchor keeps its own background and person. Training starts from these numbers and no result of a
    finished network depends on them.
    """
    kept = {}
    for key, values in coco.items():
        if re.fullmatch(r"head\.classification_head\.module_list\.\d+\.1\.(weight|bias)", key):
            by_anchor = values.unflatten(0, (-1, COCO_CLASSES))
            kept[key] = by_anchor[:, [0, PERSON]].flatten(0, 1)
        elif not key.startswith("roi_heads.box_predictor."):
            kept[key] = values
    return kept
