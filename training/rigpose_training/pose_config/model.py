"""What a model is to the configuration: a network section and the settings that it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Metadata:
    """``metadata`` of a ``pytorch_config.yaml``: whose keypoints the network finds."""

    project_path: str
    pose_config_path: str
    bodyparts: tuple[str, ...]
    unique_bodyparts: tuple[str, ...] = ()
    individuals: tuple[str, ...] = ("individual_1",)
    with_identity: bool | None = None


@dataclass(frozen=True)
class Model:
    """One name that ``create_training_dataset(net_type=...)`` takes, in one kind of project.

    Attributes:
        net_type: The name that ``pytorch_config.yaml`` stores.
        method: Bottom-up, top-down (a detector finds the animals) or conditional top-down (poses find them).
        section: Makes ``model`` of the configuration for a project's keypoints and animals.
        changes: Dotted key -> value, where the model leaves the settings in ``base.yaml``.
    """

    net_type: str
    method: Literal["bu", "td", "ctd"]
    section: Callable[[Metadata], dict[str, Any]]
    changes: Mapping[str, Any] = field(default_factory=dict)


def network(
    backbone: Mapping[str, Any],
    channels: int,
    head: Mapping[str, Any],
    *,
    neck: Mapping[str, Any] | None = None,
    pose_model: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``model`` of a configuration: backbone, how many channels it (and the neck) gives, and the keypoints' head."""
    return {
        "backbone": dict(backbone),
        "heads": {"bodypart": dict(head)},
        "backbone_output_channels": channels,
        "neck": neck,
        "pose_model": pose_model,
    }


def padding(*modes: str, divisor: int = 32) -> dict[str, Any]:
    """Padding to a multiple of ``divisor`` px: four resolutions are added up, so sides must halve five times."""
    sides = {"pad_width_divisor": divisor, "pad_height_divisor": divisor}
    return {f"data.{mode}.auto_padding": sides for mode in modes}


def learning_rates(first: float, *steps: tuple[int, float]) -> dict[str, Any]:
    """The rate to begin with, and the (epoch, rate) at which it changes."""
    return {
        "runner.optimizer.params.lr": first,
        "runner.scheduler.params.lr_list": [[rate] for _, rate in steps],
        "runner.scheduler.params.milestones": [epoch for epoch, _ in steps],
    }


# DeepLabCut's shared settings; base.yaml holds those of its ResNets.
SLOW_RATES = learning_rates(1e-4, (160, 1e-5), (190, 1e-6))


def crops(width: int = 256, height: int = 256, **options: Any) -> dict[str, Any]:
    """One crop per animal, ``width`` x ``height`` [px], instead of a random part of the frame."""
    crop = {"width": width, "height": height, **options}
    return {
        "data.train.crop_sampling": None,
        "data.train.affine.scaling": [1.0, 1.0],
        "data.train.top_down_crop": crop,
        "data.inference.top_down_crop": crop,
    }
