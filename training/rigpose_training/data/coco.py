"""COCO keypoint files: ``annotations/train.json``, ``annotations/test.json`` and the images beside them."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ProjectError
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.loaders import Loader

LOG = logging.getLogger(__name__)


class COCOLoader(Loader):
    """The labelled images of a COCO data set.

    Args:
        project_root: Folder with ``annotations`` and ``images``.
        model_config_path: The ``pytorch_config.yaml`` to train with.
        train_json_filename: In ``annotations``.
        test_json_filename: In ``annotations``; without it there are no test images.
    """

    def __init__(
        self,
        project_root: str | Path,
        model_config_path: str | Path,
        train_json_filename: str = "train.json",
        test_json_filename: str | None = "test.json",
    ) -> None:
        super().__init__(Path(model_config_path))
        self.project_root = Path(project_root)
        self._files = {"train": train_json_filename, "test": test_json_filename}

    def _read(self, mode: str) -> list[LabelledImage]:
        if self._files[mode] is None:
            return []
        path = self.project_root / "annotations" / str(self._files[mode])
        coco = _read_json(path)
        animals = _animals_by_image(path, coco, self.bodyparts)
        images, missing = [], []
        for record in coco["images"]:
            # An absolute file_name wins over the folder in front of it.
            file = self.project_root / "images" / str(record["file_name"])
            if not file.is_file():
                missing.append(file)
                continue
            xy = self._fill(path, file, animals[record["id"]])
            size = (int(record["height"]), int(record["width"])) if {"height", "width"} <= set(record) else None
            images.append(LabelledImage(file, xy, np.empty((0, 2), np.float32), size))
        if missing:
            LOG.warning("%d images of %s are not there, the first is %s: skipped.", len(missing), path, missing[0])
        if not images:
            raise ProjectError(
                f"{path} names no image that exists under {self.project_root / 'images'}; check the folder."
            )
        return images

    def _fill(self, path: Path, file: Path, animals: list[Floats]) -> Floats:
        if len(animals) > len(self.individuals):
            raise ProjectError(
                f"{path} has {len(animals)} animals in {file.name}, but metadata.individuals of "
                f"{self.model_config_path} has {len(self.individuals)}; add names there."
            )
        xy = np.full((len(self.individuals), len(self.bodyparts), 2), np.nan, np.float32)
        for row, animal in enumerate(animals):
            xy[row] = animal
        return xy


def _read_json(path: Path) -> dict[str, Any]:
    try:
        coco = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        raise ProjectError(f"{path} does not exist; check project_root and the name of the file.") from cause
    except (OSError, ValueError) as cause:
        raise ProjectError(f"{path} is not readable JSON ({cause}); export it again.") from cause
    absent = [key for key in ("images", "annotations", "categories") if not isinstance(coco, dict) or key not in coco]
    if absent:
        raise ProjectError(f"{path} has no {absent[0]}, so it is no COCO keypoint file; export it again.")
    for section, keys in (("images", ("id", "file_name")), ("annotations", ("image_id",))):
        for i, entry in enumerate(coco[section]):
            if not isinstance(entry, dict) or not set(keys) <= set(entry):
                raise ProjectError(f"{path}: entry {i} of {section} needs {' and '.join(keys)}; export the file again.")
    return coco


def _animals_by_image(path: Path, coco: Mapping[str, Any], bodyparts: Sequence[str]) -> dict[Any, list[Floats]]:
    """Image id -> per animal (K, 2) x, y [image px] in the order of ``bodyparts``, NaN where the visibility is 0."""
    animals: dict[Any, list[Floats]] = defaultdict(list)
    keypoints, order = len(bodyparts), _order(path, coco, bodyparts)
    for annotation in coco["annotations"]:
        flat = np.asarray(annotation.get("keypoints", ()), np.float32)
        if flat.size != 3 * keypoints:
            raise ProjectError(
                f"{path}: annotation {annotation.get('id')} has {flat.size} keypoint numbers where the model's "
                f"{keypoints} bodyparts need {3 * keypoints}; correct metadata.bodyparts or the file."
            )
        points = flat.reshape(keypoints, 3)[order]
        animals[annotation["image_id"]].append(np.where(points[:, 2:] > 0, points[:, :2], np.float32("nan")))
    return animals


def _order(path: Path, coco: Mapping[str, Any], bodyparts: Sequence[str]) -> list[int]:
    """Where in the file each body part is; a file that names no keypoints has them in order."""
    named = [list(category["keypoints"]) for category in coco["categories"] if category.get("keypoints")]
    names = named[0] if named else list(bodyparts)
    if sorted(names) != sorted(bodyparts):
        raise ProjectError(
            f"{path} has the keypoints {', '.join(names)}, but the model finds {', '.join(bodyparts)}; "
            f"correct metadata.bodyparts or the file."
        )
    return [names.index(part) for part in bodyparts]
