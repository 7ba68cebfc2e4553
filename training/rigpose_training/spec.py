"""``pytorch_config.yaml`` -> ``ModelSpec``: the one reading of it that evaluation, bundle and rig share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rigpose.errors import ConfigError
from rigpose.model_spec import ModelSpec
from rigpose.preprocess import InputSpec, Resize
from rigpose.schema import parse
from rigpose_training.dense import dense_family

# Augmentations that make no sense at inference: asking for one there is a mistake in the file.
_TRAINING_ONLY = (
    "hflip", "affine", "random_bbox_transform", "crop_sampling", "hist_eq", "motion_blur", "covering",
    "elastic_transform", "grayscale", "gaussian_noise", "collate",
)  # fmt: skip


@dataclass(frozen=True)
class Padding:
    """``data.inference.auto_padding``; DeepLabCut's other keys choose its random side and are not used."""

    pad_width_divisor: int | None = None
    pad_height_divisor: int | None = None


@dataclass(frozen=True)
class Normalisation:
    """What happens to pixel values inside the graph.

    Attributes:
        imagenet: (value / 255 - mean) / std with ImageNet's mean and std.
        unit_range: value / 255 alone.
    """

    imagenet: bool
    unit_range: bool


def model_spec(config: Mapping[str, Any], *, skeleton: Sequence[tuple[str, str]] = ()) -> ModelSpec:
    """Read names, input steps and decode parameters from a whole ``pytorch_config.yaml``.

    Raises:
        ConfigError: An inference step or a head that is not supported; the message names the key.
    """
    metadata = config["metadata"]
    heads = config["model"]["heads"]
    if set(heads) != {"bodypart"}:
        extra = ", ".join(sorted(set(heads) - {"bodypart"}))
        raise ConfigError(f"model.heads: {extra} cannot be decoded yet; export a model with a bodypart head only.")
    predictor = heads["bodypart"]["predictor"]
    return ModelSpec(
        task=dense_family(predictor).task,
        architecture=str(config.get("net_type", "custom")),
        keypoints=tuple(metadata["bodyparts"]),
        individuals=tuple(metadata.get("individuals") or ("individual_1",)),
        unique_keypoints=tuple(metadata.get("unique_bodyparts") or ()),
        skeleton=tuple(skeleton),
        input=_input_spec(config["data"]["inference"]),
        dense={"bodypart": dict(predictor)},
    )


def normalisation(config: Mapping[str, Any]) -> Normalisation:
    """What ``data.inference`` asks for the pixel values."""
    section = config["data"]["inference"]
    return Normalisation(
        imagenet=bool(section.get("normalize_images", False)),
        unit_range=bool(section.get("scale_to_unit_range", False)),
    )


def _input_spec(section: Mapping[str, Any]) -> InputSpec:
    for key in _TRAINING_ONLY:
        if section.get(key):
            raise ConfigError(
                f"data.inference.{key}: an augmentation would change every prediction; remove it there (data.train "
                "is its place)."
            )
    if section.get("top_down_crop"):
        raise ConfigError("data.inference.top_down_crop: top-down models cannot be decoded yet.")
    resize = section.get("resize")
    multiple = 1
    if section.get("auto_padding"):
        ignored = ("min_height", "min_width", "position", "border_mode", "border_value")
        padding = parse(Padding, section["auto_padding"], where="data.inference.auto_padding", ignored=ignored)
        if padding.pad_width_divisor != padding.pad_height_divisor:
            raise ConfigError("data.inference.auto_padding: give width and height the same divisor.")
        multiple = padding.pad_width_divisor or 1
    return InputSpec(
        resize=parse(Resize, resize, where="data.inference.resize") if resize else None,
        longest_side=section.get("longest_max_size"),
        multiple_of=multiple,
    )
