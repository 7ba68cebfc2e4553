"""What networks give before anything is decoded, asked in the same words of rigpose's and of DeepLabCut's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

# The parts of torchvision's detectors whose outputs become boxes, before any sorting and suppression.
DETECTOR_HEADS = ("head", "rpn.head")


def pose_maps(outputs: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, np.ndarray]:
    """A pose network's outputs by ``HEAD.MAP``."""
    return {f"{head}.{kind}": value.numpy() for head, kinds in outputs.items() for kind, value in kinds.items()}


def detector_maps(detector: nn.Module, images: torch.Tensor) -> dict[str, np.ndarray]:
    """Class scores and box offsets of every anchor, of a detector that keeps torchvision's network as ``model``.

    Args:
        detector: In evaluation mode.
        images: (B, 3, H, W) as the detector takes them.
    """
    model: Any = detector.model
    (name,) = [name for name in DETECTOR_HEADS if name in dict(model.named_modules())]
    found: dict[str, np.ndarray] = {}

    def keep(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
        found.update({key: value.numpy().copy() for key, value in _tensors(outputs, name)})

    hook = model.get_submodule(name).register_forward_hook(keep)
    try:
        with torch.inference_mode():
            model(list(images))
    finally:
        hook.remove()
    return found


def _tensors(outputs: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(outputs, torch.Tensor):
        yield name, outputs
        return
    items = outputs.items() if isinstance(outputs, Mapping) else enumerate(outputs)
    for key, value in items:
        yield from _tensors(value, f"{name}.{key}")
