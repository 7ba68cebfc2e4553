"""``train_settings.weight_init``: the snapshots whose weights a training begins with, in DeepLabCut's form."""

from __future__ import annotations

from dataclasses import dataclass

from rigpose.errors import ConfigError
from rigpose.schema import parse


@dataclass(frozen=True)
class WeightInit:
    """Where the first weights come from, and which of them are kept.

    Attributes:
        snapshot_path: Of the pose network.
        detector_snapshot_path: Of the detector.
        dataset: What the snapshots were trained on.
        with_decoder: Whether the heads' weights are kept too, not only the backbone's.
        memory_replay: Whether the network goes on finding all keypoints that it knows.
        conversion_array: Per bodypart of the project, its number among the keypoints of the snapshot.
        bodyparts: Their names, for reading.
    """

    snapshot_path: str | None = None
    detector_snapshot_path: str | None = None
    dataset: str | None = None
    with_decoder: bool = False
    memory_replay: bool = False
    conversion_array: tuple[int, ...] | None = None
    bodyparts: tuple[str, ...] | None = None


def read_weight_init(section: object, *, where: str) -> WeightInit:
    """The section as a dataclass.

    Args:
        section: A mapping of its fields, or the dataclass itself.
        where: File and key, for messages.

    Raises:
        ConfigError: An unknown key, a wrong type, or settings that exclude each other.
    """
    weights = section if isinstance(section, WeightInit) else parse(WeightInit, _none_is_none(section), where=where)
    if weights.memory_replay and not weights.with_decoder:
        raise ConfigError(f"{where}.memory_replay: needs with_decoder: true, since it trains the snapshot's own heads.")
    if weights.with_decoder and weights.conversion_array is None and weights.dataset is None:
        raise ConfigError(
            f"{where}.conversion_array: missing with with_decoder: true; list, per bodypart, its number among the "
            f"snapshot's keypoints, or name as dataset the SuperAnimal for which the project has a conversion table."
        )
    if weights.bodyparts is not None and len(weights.bodyparts) != len(weights.conversion_array or ()):
        raise ConfigError(
            f"{where}.bodyparts: {len(weights.bodyparts)} names for {len(weights.conversion_array or ())} numbers in "
            f"conversion_array; give as many of each."
        )
    return weights


def _none_is_none(section: object) -> object:
    # Files of older DeepLabCut versions hold the word None where no snapshot was meant.
    if not isinstance(section, dict):
        return section
    paths = ("snapshot_path", "detector_snapshot_path")
    return {key: None if key in paths and value == "None" else value for key, value in section.items()}
