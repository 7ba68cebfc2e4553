"""Which keypoint of another network each bodypart begins with: maps of names, in files or in ``config.yaml``."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from rigpose.errors import ConfigError
from rigpose.schema import suggest
from rigpose_training.pose_config.files import read_mapping
from rigpose_training.pose_config.superanimals import SUPERANIMALS
from rigpose_training.pose_config.weight_init import WeightInit

KeypointMap: TypeAlias = Mapping[str, str | int | None]
"""Bodypart of the project -> keypoint of the source, or its number there; none: it begins anew."""


def read_keypoint_map(path: Path) -> KeypointMap:
    """The map in a file: YAML ``bodypart: keypoint``, or CSV with a header and both in the first two columns.

    Raises:
        ConfigError: No such file, or not such a map.
    """
    if path.suffix.lower() != ".csv":
        given = read_mapping(path)
        wrong = [name for name, keypoint in given.items() if not isinstance(keypoint, (str, int, type(None)))]
        if wrong:
            raise ConfigError(f"{path}: {wrong[0]} is no name; write one line per bodypart, such as nose: snout.")
        return given
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read ({error}); check the path, and save it as UTF-8.") from error
    pairs = [(row[0].strip(), row[1].strip() if len(row) > 1 else "") for row in rows[1:] if row and row[0].strip()]
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"{path} lists {twice[0]} twice; keep one line.")
    return {name: keypoint or None for name, keypoint in pairs}


def match_keypoints(
    bodyparts: Sequence[str], names: Sequence[str] | None, keypoint_map: KeypointMap, *, where: str
) -> dict[str, int]:
    """Bodypart -> number of the keypoint that it begins with; what begins anew is left out.

    A bodypart that the map does not list begins with the keypoint of its own name.

    Args:
        bodyparts: Of the project.
        names: Of the source's keypoints, in the order of its channels, or none where nobody wrote them down.
        keypoint_map: By name or number.
        where: What to call the map in messages.

    Raises:
        ConfigError: A name that does not exist on its side, or a keypoint that two bodyparts claim.
    """
    for bodypart in keypoint_map:
        if bodypart not in bodyparts:
            near = suggest(bodypart, bodyparts)
            raise ConfigError(f"{where}: {bodypart} is no bodypart of the project{near} ({', '.join(bodyparts)}).")
    given = {
        bodypart: _number(keypoint, names, where) for bodypart, keypoint in keypoint_map.items() if keypoint is not None
    }
    owners: dict[int, str] = {}
    for bodypart, number in given.items():
        if number in owners:
            twice = names[number] if names is not None else f"channel {number}"
            raise ConfigError(
                f"{where}: {owners[number]} and {bodypart} both begin with {twice}, so the network "
                "could not tell them apart; give it to one of them, and leave the other empty."
            )
        owners[number] = bodypart
    same = {name: number for number, name in enumerate(names or ()) if number not in owners}
    numbers = {name: same[name] for name in bodyparts if name in same and name not in keypoint_map} | given
    return {name: numbers[name] for name in bodyparts if name in numbers}


def _number(keypoint: str | int, names: Sequence[str] | None, where: str) -> int:
    if names is not None and str(keypoint) in names:
        return list(names).index(str(keypoint))
    if str(keypoint).isdecimal() and (names is None or int(keypoint) < len(names)):
        return int(keypoint)
    if names is None:
        raise ConfigError(
            f"{where}: nothing says which channel {keypoint} is; put the pytorch_config.yaml of the snapshot beside "
            f"it, give numbers of channels, or set train_settings.weight_init.dataset to one of "
            f"{', '.join(SUPERANIMALS)}."
        )
    near = suggest(keypoint, names)
    raise ConfigError(f"{where}: the snapshot has no keypoint {keypoint}{near} ({', '.join(names)}).")


def by_conversion_table(
    weights: WeightInit, bodyparts: Sequence[str], tables: Mapping[str, KeypointMap], *, where: str
) -> WeightInit:
    """``weights`` with a ``conversion_array``, where it has none but a ``dataset`` for which the project has a table.

    Args:
        weights: The section.
        bodyparts: Of the project.
        tables: ``SuperAnimalConversionTables`` of its ``config.yaml``.
        where: That file, for messages.

    Raises:
        ConfigError: No such table or dataset, or a name in the table that does not exist.
    """
    if weights.conversion_array is not None or not weights.with_decoder:
        return weights
    dataset = str(weights.dataset)
    if dataset not in SUPERANIMALS:
        known = ", ".join(SUPERANIMALS)
        raise ConfigError(f"weight_init.dataset: {dataset!r} is none of {known}{suggest(dataset, SUPERANIMALS)}.")
    if dataset not in tables:
        raise ConfigError(
            f"{where}: SuperAnimalConversionTables has no {dataset}; list there, per bodypart, the keypoint of "
            f"{dataset} that it is, or give weight_init a conversion_array."
        )
    # As in DeepLabCut, what the table does not list begins anew, even if it has the name of a keypoint.
    complete = dict.fromkeys(bodyparts) | dict(tables[dataset])
    numbers = match_keypoints(
        bodyparts, SUPERANIMALS[dataset], complete, where=f"{where}: SuperAnimalConversionTables.{dataset}"
    )
    return replace(weights, conversion_array=tuple(numbers.values()), bodyparts=tuple(numbers))
