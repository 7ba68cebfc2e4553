"""COCO keypoint files: ``annotations/train.json``, ``annotations/test.json`` and the images beside them."""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose.errors import ProjectError
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.loaders import Loader

LOG = logging.getLogger(__name__)


class COCOLoader(Loader):
    """The labelled images of a COCO data set.

    Boxes are those of the file; an annotation without one gets a box around its keypoints.

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

    @staticmethod
    def get_project_parameters(
        train_json: Mapping[str, Any], test_json: Mapping[str, Any] | None = None
    ) -> tuple[int, list[str]]:
        """What a model configuration needs to know: the most animals in an image, and the bodyparts.

        Args:
            train_json: The content of a COCO file.
            test_json: That of the test images, which may hold more animals.

        Raises:
            ProjectError: A file whose categories name no keypoints, or that has no annotation.
        """
        names = next((list(c["keypoints"]) for c in train_json["categories"] if c.get("keypoints")), [])
        counts = [
            count
            for content in (train_json, test_json or {})
            for count in Counter(animal["image_id"] for animal in content.get("annotations", ())).values()
        ]
        if not names or not counts:
            raise ProjectError("The COCO file has no annotation, or none of its categories names keypoints.")
        return max(counts), names

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
            if file.is_file():
                images.append(self._image(path, file, record, animals[record["id"]]))
            else:
                missing.append(file)
        if missing:
            LOG.warning("%d images of %s are not there, the first is %s: skipped.", len(missing), path, missing[0])
        if not images:
            raise ProjectError(
                f"{path} names no image that exists under {self.project_root / 'images'}; check the folder."
            )
        return images

    def _image(self, path: Path, file: Path, record: Mapping[str, Any], animals: list[_Animal]) -> LabelledImage:
        if len(animals) > len(self.individuals):
            raise ProjectError(
                f"{path} has {len(animals)} animals in {file.name}, but metadata.individuals of "
                f"{self.model_config_path} has {len(self.individuals)}; add names there."
            )
        rows = [*animals, *[_absent(len(self.bodyparts))] * (len(self.individuals) - len(animals))]
        return LabelledImage(
            path=file,
            xy=np.stack([row.xy for row in rows]),
            unique_xy=np.empty((0, 2), np.float32),
            size=(int(record["height"]), int(record["width"])) if {"height", "width"} <= set(record) else None,
            boxes=np.stack([row.box for row in rows]),
            unjudged=np.stack([row.unjudged for row in rows]),
            crowd=np.array([row.crowd for row in rows]),
        )


@dataclass(frozen=True)
class _Animal:
    """One annotation.

    Attributes:
        xy: (K, 2) x, y [image px] in the order of the model's bodyparts, NaN where the visibility is 0 or less.
        unjudged: (K,) bool, where the visibility is -1: the keypoint was not looked for.
        box: (4,) x, y, width, height [image px], NaN where the file has none.
        crowd: Whether the box surrounds several animals.
    """

    xy: Floats
    unjudged: Array
    box: Floats
    crowd: bool


def _absent(keypoints: int) -> _Animal:
    nowhere = np.full((keypoints, 2), np.nan, np.float32)
    return _Animal(nowhere, np.zeros(keypoints, bool), np.full(4, np.nan), crowd=False)


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


def _animals_by_image(path: Path, coco: Mapping[str, Any], bodyparts: Sequence[str]) -> dict[Any, list[_Animal]]:
    """Image id -> its animals; whatever their category, since DeepLabCut's networks know only one, too."""
    animals: dict[Any, list[_Animal]] = defaultdict(list)
    order = _order(path, coco, bodyparts)
    for annotation in coco["annotations"]:
        animals[annotation["image_id"]].append(_animal(path, annotation, order))
    return animals


def _animal(path: Path, annotation: Mapping[str, Any], order: Sequence[int]) -> _Animal:
    keypoints, name = len(order), f"{path}: annotation {annotation.get('id')}"
    flat = np.asarray(annotation.get("keypoints", ()), np.float32)
    if flat.size != 3 * keypoints:
        raise ProjectError(
            f"{name} has {flat.size} keypoint numbers where the model's {keypoints} bodyparts need {3 * keypoints}; "
            "correct metadata.bodyparts or the file."
        )
    points = flat.reshape(keypoints, 3)[order]
    box = np.asarray(annotation.get("bbox") or [np.nan] * 4, np.float64)
    if box.size != 4:
        raise ProjectError(f"{name} has a bbox of {box.size} numbers; give x, y, width and height.")
    return _Animal(
        xy=np.where(points[:, 2:] > 0, points[:, :2], np.float32("nan")),
        unjudged=points[:, 2] < 0,
        box=box,
        crowd=bool(annotation.get("iscrowd", 0)),
    )


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
