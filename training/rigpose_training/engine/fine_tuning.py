"""Fine-tuning: ``train_settings.weight_init``, how a map of keypoints becomes it, and how a network begins with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigpose.errors import ConfigError
from rigpose.schema import suggest, to_mapping
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.engine.transfer import Counterparts, Numbers, transfer
from rigpose_training.models.detectors import Detector
from rigpose_training.models.pose_model import PoseModel
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.pose_config.keypoint_map import KeypointMap, match_keypoints, read_keypoint_map
from rigpose_training.pose_config.superanimals import SUPERANIMALS
from rigpose_training.pose_config.weight_init import WeightInit
from rigpose_training.project.shuffle import POSE_CONFIG


@dataclass(frozen=True)
class SourceNames:
    """What the outputs of a snapshot are called, as far as anything says so.

    Attributes:
        bodyparts: In the order of the channels; none where nothing names them.
        unique_bodyparts: The same of unique bodyparts.
        individuals: The same of individuals.
        graph: Pairs of bodyparts with a part affinity field.
    """

    bodyparts: tuple[str, ...] | None = None
    unique_bodyparts: tuple[str, ...] = ()
    individuals: tuple[str, ...] = ()
    graph: tuple[tuple[int, int], ...] = ()


def source_names(snapshot: Path, dataset: str | None = None) -> SourceNames:
    """The names of a SuperAnimal, or those in the ``pytorch_config.yaml`` beside a snapshot.

    Args:
        snapshot: Its file; DeepLabCut's SuperAnimal files begin with the name of their data set.
        dataset: What it was trained on, where the user says so.
    """
    for name, keypoints in SUPERANIMALS.items():
        if dataset == name or (dataset is None and snapshot.name.startswith(f"{name}_")):
            return SourceNames(bodyparts=keypoints)
    if not snapshot.with_name(POSE_CONFIG).is_file():
        return SourceNames()
    config = read_pose_config(snapshot.with_name(POSE_CONFIG))
    metadata = config.get("metadata") or {}
    head = ((config.get("model") or {}).get("heads") or {}).get("bodypart") or {}
    graph = (head.get("predictor") or {}).get("graph") or ()
    return SourceNames(
        tuple(metadata["bodyparts"]) if metadata.get("bodyparts") else None,
        tuple(metadata.get("unique_bodyparts") or ()),
        tuple(metadata.get("individuals") or ()),
        tuple((a, b) for a, b in graph),
    )


def named_weights(
    snapshot: Path,
    keypoint_map: KeypointMap | str | Path,
    bodyparts: Sequence[str],
    earlier: WeightInit,
    *,
    heads: bool,
) -> WeightInit:
    """A map of keypoints as ``weight_init``, which DeepLabCut reads too.

    Args:
        snapshot: Of the source.
        keypoint_map: By name or number, or the file that holds it; what it does not list begins with its namesake.
        bodyparts: Of the project.
        earlier: The section so far, which may know the detector's snapshot and the source's data set.
        heads: Whether the heads begin with the source too.

    Raises:
        ConfigError: The map does not fit either network, or nothing is in common.
    """
    from_file = isinstance(keypoint_map, (str, Path))
    where = str(keypoint_map) if from_file else "keypoint_map"
    pairs = read_keypoint_map(Path(keypoint_map)) if from_file else keypoint_map
    dataset = earlier.dataset if earlier.snapshot_path in (None, str(snapshot)) else None
    names = source_names(snapshot, dataset).bodyparts
    numbers = match_keypoints(bodyparts, names, pairs, where=where)
    if heads and not numbers:
        has = f"which has {', '.join(names)}" if names else "whose keypoints nothing names"
        raise ConfigError(
            f"{where}: no bodypart begins with a keypoint of {snapshot}, {has}; map at least one, or begin with the "
            "backbone alone (load_head_weights=False, --backbone-only)."
        )
    return WeightInit(
        snapshot_path=str(snapshot),
        detector_snapshot_path=earlier.detector_snapshot_path,
        dataset=dataset,
        with_decoder=heads,
        conversion_array=tuple(numbers.values()),
        bodyparts=tuple(numbers),
    )


def with_first_weights(config: Mapping[str, Any], weights: WeightInit) -> dict[str, Any]:
    """A copy of a ``pytorch_config.yaml`` with that ``train_settings.weight_init``."""
    return {**config, "train_settings": {**config["train_settings"], "weight_init": to_mapping(weights)}}


def begin_with(model: PoseModel, weights: WeightInit, snapshot: Path, metadata: Mapping[str, Any]) -> str:
    """Give a network the weights that ``weight_init`` names, and say in a sentence which.

    Args:
        model: The network, with random weights.
        weights: The section.
        snapshot: Its ``snapshot_path``.
        metadata: Of the configuration: what the network's outputs are called.

    Raises:
        ConfigError: The section does not fit the bodyparts.
        SnapshotError: The snapshot cannot be read, or is of another network.
    """
    names = source_names(snapshot, weights.dataset)
    bodyparts = tuple(metadata["bodyparts"])
    numbers = _numbers(weights, bodyparts, names)
    counterparts = Counterparts(
        bodyparts=tuple(numbers.get(name) for name in bodyparts),
        unique_bodyparts=_namesakes(metadata.get("unique_bodyparts") or (), names.unique_bodyparts),
        individuals=_namesakes(metadata.get("individuals") or (), names.individuals),
        graph=names.graph,
        named=None if names.bodyparts is None else len(names.bodyparts),
    )
    content = read_snapshot(snapshot)
    heads = weights.with_decoder
    absent = transfer(model, content["model"], counterparts, heads=heads, source=str(snapshot))
    if not heads:
        return f"Starting from the backbone of {snapshot}; the heads begin anew."
    known = {
        name: f"{names.bodyparts[number]}" if names.bodyparts else f"channel {number}"
        for name, number in numbers.items()
    }
    begun = [name if known[name] == name else f"{name} (from {known[name]})" for name in known]
    anew = [name for name in bodyparts if name not in numbers] + absent
    rest = f"; anew: {', '.join(anew)}" if anew else ""
    return f"Starting from the backbone and the heads of {snapshot}, which know {', '.join(begun)}{rest}."


def begin_detector_with(detector: Detector, snapshot: Path) -> str:
    """Give a detector the weights of a snapshot or of an exported pair, and say so in a sentence.

    Raises:
        SnapshotError: It cannot be read, or is of another detector.
    """
    content = read_snapshot(snapshot)
    load_weights(detector, content.get("detector", content["model"]), source=snapshot)
    return f"Starting from the detector of {snapshot}."


def _numbers(weights: WeightInit, bodyparts: tuple[str, ...], names: SourceNames) -> dict[str, int]:
    """Bodypart -> number of the keypoint that it begins with."""
    where = "train_settings.weight_init"
    if weights.conversion_array is None:
        return match_keypoints(bodyparts, names.bodyparts, {}, where=where)
    listed = weights.bodyparts if weights.bodyparts is not None else bodyparts
    for name in listed:
        if name not in bodyparts:
            raise ConfigError(
                f"{where}.bodyparts: {name} is no bodypart of the network{suggest(name, bodyparts)} "
                f"({', '.join(bodyparts)})."
            )
    if len(listed) != len(weights.conversion_array):
        raise ConfigError(
            f"{where}.conversion_array: {len(weights.conversion_array)} numbers for {len(listed)} bodyparts; give one "
            "for each, or list under bodyparts those that it is for."
        )
    return dict(zip(listed, weights.conversion_array, strict=True))


def _namesakes(names: Sequence[str], source: Sequence[str]) -> Numbers:
    numbers = {name: number for number, name in enumerate(source)}
    return tuple(numbers.get(name) for name in names)
