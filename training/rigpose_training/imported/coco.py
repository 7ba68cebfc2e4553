"""COCO key points: a ``.json`` and the images that it names.

COCO counts like DeepLabCut: the middle of the first pixel is (0, 0). Some annotation tools export places counted from
the pixel's outer corner, which the file does not say; ``corner`` does.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ProjectError
from rigpose_training.imported.labels import (
    ImportedFrame,
    ImportedLabels,
    find_file,
    folder_name,
    not_there,
    place_animals,
    shifted,
)


def read_coco(path: Path, *, images: Path | None = None, corner: bool = False) -> ImportedLabels:
    """Read labelled key points; what is labelled but hidden (visibility 1) counts.

    Args:
        path: The ``.json``.
        images: The folder of its images; none for the file's own folder and ``images`` in or beside it.
        corner: Whether (0, 0) is the first pixel's outer corner.

    Raises:
        ProjectError: It is no such file, nothing is labelled, or an image is not there.
    """
    content = _read(path)
    keypoints, skeleton = _names(path, content)
    animals: dict[Any, list[tuple[None, Floats]]] = defaultdict(list)
    for annotation in content["annotations"]:
        xy = _keypoints(path, annotation, len(keypoints))
        if np.isfinite(xy).any():
            animals[annotation["image_id"]].append((None, shifted(xy, corner=corner)))
    records = [record for record in content["images"] if record["id"] in animals]
    if not records:
        raise ProjectError(f"{path} has no labelled key point of an image that it lists; export it again.")
    individuals, named, placed = place_animals([animals[record["id"]] for record in records], len(keypoints))
    files = {record["id"]: _find(str(record["file_name"]), path, images) for record in records}
    if missing := [str(record["file_name"]) for record in records if files[record["id"]] is None]:
        raise not_there(path, missing)
    notes = ["COCO has no names of individuals: they are numbered in each picture"] if len(individuals) > 1 else []
    if empty := len(content["images"]) - len(records):
        notes.append(f"{empty} images without labels are left behind")
    return ImportedLabels(
        source=path,
        keypoints=keypoints,
        individuals=individuals,
        named=named,
        frames=tuple(
            ImportedFrame(_folder(str(record["file_name"]), path), file.name, file, xy)
            for record, xy in zip(records, placed, strict=True)
            if (file := files[record["id"]]) is not None
        ),
        skeleton=skeleton,
        notes=tuple(notes),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProjectError(f"{path} does not exist; check the name.") from error
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path} is not readable JSON ({error}); export it again.") from error
    needed = {"images": ("id", "file_name"), "annotations": ("image_id",), "categories": ()}
    for section, keys in needed.items():
        entries = content.get(section) if isinstance(content, dict) else None
        whole = isinstance(entries, list) and all(isinstance(e, dict) and set(keys) <= set(e) for e in entries)
        if not whole:
            raise ProjectError(f"{path} has no whole list of {section}, so it is no COCO key point file.")
    return content


def _names(path: Path, content: dict[str, Any]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The keypoints and the skeleton, which counts from 1."""
    categories = [one for one in content["categories"] if one.get("keypoints")]
    if not categories:
        raise ProjectError(f"{path} has no category that names its key points; export it with them.")
    keypoints = tuple(map(str, categories[0]["keypoints"]))
    if any(tuple(map(str, one["keypoints"])) != keypoints for one in categories):
        raise ProjectError(f"{path} has categories with different key points, a project has one list; split the file.")
    pairs = [tuple(pair) for pair in categories[0].get("skeleton") or ()]
    first = 0 if any(0 in pair for pair in pairs) else 1  # some exporters count from 0
    if any(not first <= end < first + len(keypoints) for pair in pairs for end in pair):
        raise ProjectError(
            f"{path} has a skeleton of key points that it does not name; correct or delete the skeleton."
        )
    return keypoints, tuple((keypoints[a - first], keypoints[b - first]) for a, b in pairs)


def _keypoints(path: Path, annotation: dict[str, Any], count: int) -> Floats:
    """(K, 2) x, y; NaN where nothing was labelled."""
    flat = np.asarray(annotation.get("keypoints") or [0.0] * (3 * count), float)
    if flat.size != 3 * count:
        raise ProjectError(
            f"{path}: annotation {annotation.get('id')} has {flat.size} numbers where {count} key points need "
            f"{3 * count}; export it again."
        )
    points = flat.reshape(count, 3)
    return np.where(points[:, 2:] > 0, points[:, :2], np.nan)


def _find(name: str, path: Path, images: Path | None) -> Path | None:
    if images is not None:
        return find_file(name, path, images)
    # A data set has annotations/x.json beside images/.
    folders = (path.parent / "images", path.parent.parent / "images")
    return find_file(name, path, None) or next((f for folder in folders if (f := find_file(name, path, folder))), None)


def _folder(name: str, path: Path) -> str:
    parent = PureWindowsPath(name).parent
    return folder_name(parent.parts[-1:] if parent.is_absolute() or name.startswith("/") else parent.parts, path)
