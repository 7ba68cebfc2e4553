"""The ``pytorch_config.yaml`` of a new shuffle, for every model there is.

``base.yaml`` beside this file holds what all models share, ``families`` what differs, ``corrections.py`` where this
differs from DeepLabCut.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rigpose.errors import ConfigError
from rigpose.schema import suggest, to_mapping
from rigpose_training.pose_config.conditions import read_conditions
from rigpose_training.pose_config.corrections import corrected
from rigpose_training.pose_config.detectors import make_detector_config
from rigpose_training.pose_config.families.backbones import ASSEMBLED, SINGLE_ANIMAL, TOP_DOWN
from rigpose_training.pose_config.families.conditional import CONDITIONAL
from rigpose_training.pose_config.families.dekr import DEKR
from rigpose_training.pose_config.families.dlcrnet import DLCRNET
from rigpose_training.pose_config.families.rtmpose import RTMPOSE
from rigpose_training.pose_config.families.tokenpose import TOKENPOSE
from rigpose_training.pose_config.files import read_mapping, update
from rigpose_training.pose_config.heads import identity_head, unique_head
from rigpose_training.pose_config.model import Metadata, Model
from rigpose_training.pose_config.weight_init import WeightInit, read_weight_init

BASE = Path(__file__).with_name("base.yaml")

_ANY_NUMBER = {**DEKR, **TOP_DOWN, **RTMPOSE, **TOKENPOSE, **CONDITIONAL}

SINGLE_ANIMAL_MODELS: dict[str, Model] = {**SINGLE_ANIMAL, **_ANY_NUMBER}
MULTI_ANIMAL_MODELS: dict[str, Model] = {**ASSEMBLED, **DLCRNET, **_ANY_NUMBER}

ALIASES = {"dlcrnet_ms5": "dlcrnet_stride16_ms5", "tokenpose_base": "animaltokenpose_base"}
"""Names of older versions and of the documents -> the name that is stored."""


def available_models() -> list[str]:
    """Names that ``create_training_dataset(net_type=...)`` takes."""
    return sorted({*SINGLE_ANIMAL_MODELS, *MULTI_ANIMAL_MODELS, *ALIASES})


def make_pose_config(
    net_type: str,
    metadata: Metadata,
    *,
    multi_animal: bool | None = None,
    detector_type: str | None = None,
    ctd_conditions: object = None,
    weight_init: WeightInit | dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The complete ``pytorch_config.yaml`` mapping of a new shuffle.

    It equals DeepLabCut's for the same model, except where ``corrections.py`` says why not.

    Args:
        net_type: One of ``available_models()``.
        metadata: Whose keypoints.
        multi_animal: Whether the project is a multi-animal one; by default, whether it has several animals.
        detector_type: One of ``available_detectors()``, for a top-down model; ``ssdlite`` by default.
        ctd_conditions: Whose poses a conditional top-down model corrects, as ``read_conditions`` takes them.
        weight_init: The weights to begin with, in place of the backbone's ImageNet ones.

    Raises:
        ConfigError: No such model or detector, or one that does not fit the project's animals.
    """
    if multi_animal is None:
        multi_animal = len(metadata.individuals) > 1 or bool(metadata.unique_bodyparts)
    model = _model(ALIASES.get(net_type, net_type), metadata, multi_animal=multi_animal)
    _check_fit(net_type, model, metadata, detector_type, ctd_conditions)
    changes = {
        "model": model.section(metadata),
        "net_type": model.net_type,
        "method": model.method,
        "metadata": to_mapping(metadata),
        **model.changes,
    }
    _add_heads(changes["model"], metadata)
    if model.method == "td":
        changes["detector"] = make_detector_config(detector_type)
    if ctd_conditions is not None:
        changes["inference.conditions"] = to_mapping(read_conditions(ctd_conditions, where="ctd_conditions"))
    if weight_init is not None:
        changes["train_settings.weight_init"] = to_mapping(read_weight_init(weight_init, where="weight_init"))
    config = update(read_mapping(BASE), changes)
    return update(config, corrected(model.net_type, keypoints=len(metadata.bodyparts)))


def is_conditional(net_type: str) -> bool:
    """Whether the model corrects the poses of another one, which ``ctd_conditions`` must name."""
    return net_type in CONDITIONAL


def _model(name: str, metadata: Metadata, *, multi_animal: bool) -> Model:
    models = MULTI_ANIMAL_MODELS if multi_animal else SINGLE_ANIMAL_MODELS
    if name in models:
        if multi_animal and (name in ASSEMBLED or name in DLCRNET) and len(metadata.bodyparts) < 2:
            raise ConfigError(
                f"{name} tells animals apart by the pairs of their bodyparts, but {metadata.project_path} has only "
                f"{', '.join(metadata.bodyparts) or 'none'}; use dekr_w32 or a top-down model."
            )
        return models[name]
    if name in DLCRNET:
        raise ConfigError(
            f"{name} puts the bodyparts of several animals together, but {metadata.project_path} is a single-animal "
            f"project; use resnet_50 or another backbone there."
        )
    known = ", ".join(available_models())
    raise ConfigError(f"net_type {name!r} is not available{suggest(name, available_models())} ({known}).")


def _check_fit(name: str, model: Model, metadata: Metadata, detector_type: str | None, conditions: object) -> None:
    if model.method != "bu" and (metadata.unique_bodyparts or metadata.with_identity):
        what = "unique bodyparts" if metadata.unique_bodyparts else "identity: true"
        raise ConfigError(
            f"{name} sees one animal at a time, so it cannot learn the {what} of {metadata.project_path}; use a "
            f"bottom-up model such as resnet_50 or dekr_w32, or take them out of config.yaml."
        )
    if detector_type is not None and model.method != "td":
        raise ConfigError(
            f"detector_type {detector_type!r}: {name} has no detector; leave it out, or use a top-down model."
        )
    if conditions is not None and model.method != "ctd":
        raise ConfigError(f"ctd_conditions: {name} takes no conditions; leave them out, or use a ctd_ model.")


def _add_heads(section: dict[str, Any], metadata: Metadata) -> None:
    """Put the unique bodyparts' and the identity's heads beside the keypoints' head of ``section``."""
    channels = section["backbone_output_channels"]
    if metadata.unique_bodyparts:
        section["heads"]["unique_bodypart"] = unique_head(channels, len(metadata.unique_bodyparts))
    if metadata.with_identity:
        section["heads"]["identity"] = identity_head(channels, len(metadata.individuals))
