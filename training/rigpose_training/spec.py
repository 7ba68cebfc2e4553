"""``pytorch_config.yaml`` -> ``ModelSpec``: the one reading of it that evaluation, bundle and rig share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rigpose.errors import ConfigError
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import ModelSpec, Task
from rigpose.models.preprocess import InputSpec, Resize
from rigpose.schema import parse, suggest
from rigpose_training.data.augmentation import BBOX_MARGIN, TopDownCrop
from rigpose_training.dense import dense_family, grouping_of
from rigpose_training.task import Task as Method

# Augmentations that make no sense at inference: asking for one there is a mistake in the file.
_TRAINING_ONLY = (
    "hflip", "affine", "random_bbox_transform", "crop_sampling", "hist_eq", "motion_blur", "covering",
    "elastic_transform", "grayscale", "gaussian_noise", "collate",
)  # fmt: skip

HEADS = ("bodypart", "unique_bodypart", "identity")


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
        ConfigError: An inference step, a head or a crop that does not fit; the message names the key.
    """
    metadata = config["metadata"]
    predictors = head_predictors(config)
    method = Method(config.get("method", "bu"))
    return ModelSpec(
        task=_task(dense_family(predictors["bodypart"]).task, method, predictors),
        architecture=str(config.get("net_type", "custom")),
        keypoints=tuple(metadata["bodyparts"]),
        individuals=tuple(metadata.get("individuals") or ("individual_1",)),
        unique_keypoints=tuple(metadata.get("unique_bodyparts") or ()) if "unique_bodypart" in predictors else (),
        skeleton=tuple(skeleton),
        input=input_spec(config["data"]["inference"], where="data.inference"),
        crop=_crop(config, method),
        box_margin=0 if method is Method.BOTTOM_UP else _margin(config),
        grouping=grouping_of(predictors["bodypart"]),
        dense={name: dict(predictor) for name, predictor in predictors.items()},
    )


def head_predictors(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The ``predictor`` section of every head.

    Raises:
        ConfigError: A head that is not known, one that is missing, or one without such a section.
    """
    heads = config["model"]["heads"]
    for name in heads:
        if name not in HEADS:
            raise ConfigError(f"model.heads.{name}: is none of {', '.join(HEADS)}{suggest(name, HEADS)}.")
    if "bodypart" not in heads:
        raise ConfigError("model.heads: has no bodypart head, so there is nothing to decode; add one.")
    for name, head in heads.items():
        if not isinstance(head.get("predictor"), Mapping):
            raise ConfigError(f"model.heads.{name}.predictor: missing; without it the head's maps cannot be decoded.")
    unique = heads.get("unique_bodypart", {"predictor": {"type": "HeatmapPredictor"}})["predictor"].get("type")
    if unique != "HeatmapPredictor":
        raise ConfigError(
            f"model.heads.unique_bodypart.predictor.type: {unique!r} does not find each keypoint once; write "
            "HeatmapPredictor."
        )
    return {name: dict(head["predictor"]) for name, head in heads.items()}


def input_spec(section: Mapping[str, Any], *, where: str) -> InputSpec:
    """The steps of an ``inference`` section that change a frame's size.

    Raises:
        ConfigError: A step that makes no sense at inference; the message names its key under ``where``.
    """
    for key in _TRAINING_ONLY:
        if section.get(key):
            place = where.removesuffix("inference") + "train"
            raise ConfigError(
                f"{where}.{key}: an augmentation would change every prediction; remove it there ({place} is its place)."
            )
    resize = section.get("resize")
    multiple = 1
    if section.get("auto_padding"):
        ignored = ("min_height", "min_width", "position", "border_mode", "border_value")
        padding = parse(Padding, section["auto_padding"], where=f"{where}.auto_padding", ignored=ignored)
        if padding.pad_width_divisor != padding.pad_height_divisor:
            raise ConfigError(f"{where}.auto_padding: give width and height the same divisor.")
        multiple = padding.pad_width_divisor or 1
    return InputSpec(
        resize=parse(Resize, resize, where=f"{where}.resize") if resize else None,
        longest_side=section.get("longest_max_size"),
        multiple_of=multiple,
    )


def normalisation(config: Mapping[str, Any]) -> Normalisation:
    """What ``data.inference`` asks for the pixel values."""
    section = config["data"]["inference"]
    return Normalisation(
        imagenet=bool(section.get("normalize_images", False)),
        unit_range=bool(section.get("scale_to_unit_range", False)),
    )


def _task(family: Task, method: Method, heads: Mapping[str, Any]) -> Task:
    if method is Method.BOTTOM_UP:
        return family
    if family != "single_animal":
        raise ConfigError(
            f"model.heads.bodypart.predictor: finds several animals, but with method {method.value.lower()} a network "
            "sees one at a time; use HeatmapPredictor or SimCCPredictor, or method bu."
        )
    if len(heads) > 1:
        raise ConfigError(
            f"model.heads.{sorted(set(heads) - {'bodypart'})[0]}: a network that sees one animal at a time cannot have "
            "this head; remove it, or use method bu."
        )
    return "top_down" if method is Method.TOP_DOWN else "conditional_top_down"


def _crop(config: Mapping[str, Any], method: Method) -> CropSpec | None:
    section = config["data"]["inference"].get("top_down_crop")
    where = "data.inference.top_down_crop"
    if method is Method.BOTTOM_UP:
        if section:
            raise ConfigError(f"{where}: with method bu the network sees whole frames; remove it, or use method td.")
        return None
    crop = parse(TopDownCrop, section or {}, where=where)
    for key, (width, height) in _sizes_built_for(config["model"]).items():
        if (crop.width, crop.height) != (width, height):
            raise ConfigError(
                f"{where}: {crop.width} x {crop.height} px do not fit the network, which {key} makes for {width} x "
                f"{height}; write width: {width} and height: {height}."
            )
    return crop.spec(conditional=method is Method.COND_TOP_DOWN)


def _margin(config: Mapping[str, Any]) -> int:
    margin = config["data"].get("bbox_margin")
    return BBOX_MARGIN if margin is None else int(margin)


def _sizes_built_for(model: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """(width, height) [px] of the input that parts of the network were made for, by the key that says so."""
    sizes = {}
    if (size := model["heads"]["bodypart"].get("input_size")) is not None:
        sizes["model.heads.bodypart.input_size"] = (size[0], size[1])
    if (size := model["backbone"].get("img_size")) is not None:
        sizes["model.backbone.img_size"] = (size[1], size[0])
    if (size := (model.get("neck") or {}).get("feature_size")) is not None:
        # Features of HRNet, the only backbone that a neck stands on, are four times smaller than the input.
        sizes["model.neck.feature_size"] = (4 * size[1], 4 * size[0])
    return sizes
