"""``config.yaml`` of a DeepLabCut project, the only place where its keys are known.

Labs' files are old, hand-edited and full of placeholders: what we do not use is passed over, what is empty gets
DeepLabCut's default, and only what a project cannot be without is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from rigpose.errors import ConfigError, ProjectError
from rigpose.schema import convert
from rigpose_training.pose_config.files import read_mapping

UNIQUE = "single"
"""The individual that owns the unique bodyparts in label files."""


@dataclass(frozen=True)
class ProjectConfig:
    """What rigpose uses of a project's ``config.yaml``.

    Attributes:
        path: The file itself.
        root: The project's folder: where the file is, whatever its ``project_path`` says.
        task: ``Task``.
        videos: Stems of ``video_sets``, which name the folders in ``labeled-data``.
        bodyparts: K names that every individual has.
        unique_bodyparts: U names that exist once per frame.
        training_fractions: ``TrainingFraction``; a ``trainset_index`` counts in it.
        iteration: Version of the labels; it picks the folders.
        cropping: x1, x2, y1, y2 [frame px] for analysis, where the file turns it on.
        track_method: ``default_track_method``: how animals are followed; none where the file does not say.
        conversion_tables: ``SuperAnimalConversionTables``: SuperAnimal -> bodypart -> its keypoint there.
    """

    path: Path
    root: Path
    task: str
    scorer: str
    date: str
    multi_animal: bool
    identity: bool | None
    videos: tuple[str, ...]
    bodyparts: tuple[str, ...]
    unique_bodyparts: tuple[str, ...]
    individuals: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...]
    training_fractions: tuple[float, ...]
    iteration: int
    engine: str
    default_net_type: str
    snapshot_index: int | str
    detector_snapshot_index: int | str
    batch_size: int
    pcutoff: float
    dotsize: int
    alphavalue: float
    colormap: str
    cropping: tuple[int, int, int, int] | None
    track_method: str | None
    conversion_tables: dict[str, dict[str, str | None]]


def read_project_config(path: str | Path) -> ProjectConfig:
    """The configuration of the project at ``path``, its folder or its ``config.yaml``.

    Raises:
        ProjectError: No such file, or a key without which no label can be found.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / "config.yaml"
    mapping = {k: v for k, v in read_mapping(file, error=ProjectError).items() if v not in (None, "")}
    try:
        return _project_config(file.resolve(), mapping)
    except ConfigError as error:
        raise ProjectError(str(error)) from error


def _project_config(file: Path, mapping: Mapping[str, Any]) -> ProjectConfig:
    def value(key: str, hint: Any, default: Any) -> Any:
        return convert(hint, mapping.get(key, default), where=f"{file}: {key}")

    multi_animal = value("multianimalproject", bool, False)  # noqa: FBT003  # the default
    fractions = mapping.get("TrainingFraction", [0.95])
    fractions = fractions if isinstance(fractions, list) else [fractions]
    return ProjectConfig(
        path=file,
        root=file.parent,
        task=_text(file, mapping, "Task"),
        scorer=_text(file, mapping, "scorer"),
        date=_text(file, mapping, "date"),
        multi_animal=multi_animal,
        identity=value("identity", bool | None, None),
        videos=_video_stems(mapping.get("video_sets")),
        bodyparts=_names(file, mapping, "multianimalbodyparts" if multi_animal else "bodyparts"),
        unique_bodyparts=_names(file, mapping, "uniquebodyparts", default=()) if multi_animal else (),
        individuals=_individuals(file, mapping) if multi_animal else ("individual_1",),
        skeleton=_skeleton(mapping.get("skeleton")),
        training_fractions=convert(tuple[float, ...], fractions, where=f"{file}: TrainingFraction"),
        iteration=value("iteration", int, 0),
        engine=value("engine", str, "pytorch"),
        default_net_type=value("default_net_type", str, "resnet_50"),
        snapshot_index=value("snapshotindex", int | str, -1),
        detector_snapshot_index=value("detector_snapshotindex", int | str, -1),
        batch_size=value("batch_size", int, 8),
        pcutoff=value("pcutoff", float, 0.6),
        dotsize=round(value("dotsize", float, 12)),
        alphavalue=value("alphavalue", float, 0.7),
        colormap=value("colormap", str, "rainbow"),
        cropping=_cropping(file, mapping),
        track_method=value("default_track_method", str | None, None),
        conversion_tables=_conversion_tables(mapping.get("SuperAnimalConversionTables")),
    )


def _text(file: Path, mapping: Mapping[str, Any], key: str) -> str:
    if key not in mapping:
        raise ProjectError(f"{file} has no {key}, which names the project's folders; add it.")
    return str(mapping[key])


def _names(
    file: Path, mapping: Mapping[str, Any], key: str, *, default: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    names = mapping.get(key, default)
    if names is None or names == []:
        if default is not None:
            return default
        raise ProjectError(f"{file} has no {key}, so its labels have no names; add the list.")
    if not isinstance(names, (list, tuple)):
        raise ProjectError(f"{file}: {key} is {names!r} where a list of names belongs; write one name per line.")
    texts = tuple(map(str, names))
    twice = sorted({name for name in texts if texts.count(name) > 1})
    if twice:
        raise ProjectError(f"{file}: {key} lists {', '.join(twice)} twice; keep one.")
    return texts


def _individuals(file: Path, mapping: Mapping[str, Any]) -> tuple[str, ...]:
    individuals = _names(file, mapping, "individuals", default=("individual1", "individual2", "individual3"))
    if UNIQUE in individuals:
        raise ProjectError(
            f"{file}: an individual is called {UNIQUE}, the name that label files keep for unique bodyparts; rename it."
        )
    return individuals


def _video_stems(video_sets: object) -> tuple[str, ...]:
    # A Windows path splits at both kinds of slash, so that a project labelled there trains anywhere.
    stems = [PureWindowsPath(str(video)).stem for video in video_sets] if isinstance(video_sets, Mapping) else []
    return tuple(dict.fromkeys(stems))


def _skeleton(bones: object) -> tuple[tuple[str, str], ...]:
    pairs = [bone for bone in bones if isinstance(bone, list) and len(bone) == 2] if isinstance(bones, list) else []
    return tuple((str(a), str(b)) for a, b in pairs)


def _conversion_tables(tables: object) -> dict[str, dict[str, str | None]]:
    found = tables if isinstance(tables, Mapping) else {}
    return {
        str(dataset): {str(part): None if keypoint in (None, "") else str(keypoint) for part, keypoint in table.items()}
        for dataset, table in found.items()
        if isinstance(table, Mapping)
    }


def _cropping(file: Path, mapping: Mapping[str, Any]) -> tuple[int, int, int, int] | None:
    if mapping.get("cropping") is not True:
        return None
    corners = [mapping.get(key) for key in ("x1", "x2", "y1", "y2")]
    return convert(tuple[int, int, int, int], corners, where=f"{file}: cropping x1, x2, y1, y2")
