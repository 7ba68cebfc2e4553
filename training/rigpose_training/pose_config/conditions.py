"""``inference.conditions``: where a conditional top-down model's rough poses come from, in DeepLabCut's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rigpose.errors import ConfigError
from rigpose.schema import parse, suggest


@dataclass(frozen=True)
class ShuffleConditions:
    """Predictions of a bottom-up shuffle of a project.

    Attributes:
        shuffle: Its number.
        config: The project's ``config.yaml``; the model's own project if left out.
        trainset_index: Counts in ``TrainingFraction``.
        modelprefix: The folder above its models.
        snapshot: Name of a snapshot; goes before ``snapshot_index``.
        snapshot_index: Index of a snapshot; the best one if both are left out.
    """

    source: Literal["shuffle"]
    shuffle: int
    config: str | None = None
    trainset_index: int = 0
    modelprefix: str = ""
    snapshot: str | None = None
    snapshot_index: int | None = None


@dataclass(frozen=True)
class ModelConditions:
    """Predictions of a bottom-up model: its ``pytorch_config.yaml``, its snapshot and its scorer's name."""

    source: Literal["model"]
    config_path: str
    snapshot_path: str
    scorer: str | None = None


@dataclass(frozen=True)
class FileConditions:
    """Predictions in an ``.h5`` or ``.json`` file, which evaluation can read but no new video has."""

    source: Literal["file"]
    filepath: str


Conditions = ShuffleConditions | ModelConditions | FileConditions
_KINDS: dict[str, tuple[type[Conditions], str]] = {
    # source -> what it is read as, and the key that tells it where no source is written
    "file": (FileConditions, "filepath"),
    "shuffle": (ShuffleConditions, "shuffle"),
    "model": (ModelConditions, "config_path"),
}


def read_conditions(conditions: object, *, where: str) -> Conditions:
    """The conditions in a ``pytorch_config.yaml`` or an argument ``ctd_conditions``.

    Args:
        conditions: A bottom-up shuffle's number; that and a snapshot's index or name; a predictions file; or a
            mapping of the fields of one of this module's classes.
        where: File and key, or argument, for messages.

    Raises:
        ConfigError: Something else, or a predictions file that is not there.
    """
    if isinstance(conditions, ShuffleConditions | ModelConditions | FileConditions):
        return conditions
    if isinstance(conditions, int) and not isinstance(conditions, bool):
        return ShuffleConditions("shuffle", conditions)
    if isinstance(conditions, (tuple, list)):
        return _shuffle_and_snapshot(tuple(conditions), where)
    if isinstance(conditions, (str, Path)):
        return _file(Path(conditions), where)
    if isinstance(conditions, Mapping):
        return _section(conditions, where)
    raise ConfigError(
        f"{where}: {conditions!r} names no poses; give the number of a bottom-up shuffle, or that and a snapshot, or "
        f"a .h5 or .json file of predictions."
    )


def _shuffle_and_snapshot(pair: tuple[Any, ...], where: str) -> ShuffleConditions:
    if len(pair) == 2 and isinstance(pair[0], int) and isinstance(pair[1], (int, str)):
        shuffle, snapshot = pair
        if isinstance(snapshot, str):
            return ShuffleConditions("shuffle", shuffle, snapshot=snapshot)
        return ShuffleConditions("shuffle", shuffle, snapshot_index=snapshot)
    raise ConfigError(f"{where}: {pair!r} is not a shuffle's number and a snapshot's index or name; give (1, -1).")


def _file(path: Path, where: str) -> FileConditions:
    if path.suffix not in (".h5", ".json"):
        raise ConfigError(f"{where}: {path} is no .h5 or .json file of predictions; give one, or a shuffle's number.")
    if not path.is_file():
        raise ConfigError(f"{where}: {path} does not exist; check the path.")
    return FileConditions("file", str(path.absolute()))


def _section(section: Mapping[Any, Any], where: str) -> Conditions:
    told = [source for source, (_, key) in _KINDS.items() if key in section]
    source = section.get("source") or (told[0] if told else None)
    if source not in _KINDS:
        known = ", ".join(_KINDS)
        raise ConfigError(f"{where}.source: {source!r} is none of {known}{suggest(source, _KINDS)}.")
    return parse(_KINDS[source][0], {**section, "source": source}, where=where)
