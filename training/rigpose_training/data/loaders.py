"""From files to labelled images: what every loader offers, and the loader of DeepLabCut shuffles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ConfigError, ProjectError
from rigpose.schema import parse
from rigpose_training.data.augmentation import BBOX_MARGIN, TopDownCrop
from rigpose_training.data.labelled import (
    LabelledImage,
    labelled_images,
    to_coco,
    with_boxes,
    with_visibility,
    without_outsiders,
)
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.project.config import ProjectConfig, read_project_config
from rigpose_training.project.labels import Labels, read_labels
from rigpose_training.project.shuffle import Snapshot, find_shuffle, list_snapshots, merged_labels_path
from rigpose_training.project.split import Split, read_split
from rigpose_training.task import Task

if TYPE_CHECKING:
    from rigpose_training.data.dataset import PoseDataset
    from rigpose_training.data.transforms import Transform


class Loader(ABC):
    """Labelled images in two parts, ``train`` and ``test``, and the configuration they train with.

    A loader says in ``_read`` where they come from.

    Attributes:
        model_cfg: The mapping in ``pytorch_config.yaml``.
        model_folder: The folder of that file, where the snapshots go too.
    """

    def __init__(self, model_config_path: Path) -> None:
        self.model_config_path = model_config_path
        self.model_folder = model_config_path.parent
        self.model_cfg: dict[str, Any] = read_pose_config(model_config_path)
        metadata = self.model_cfg.get("metadata")
        for name in ("bodyparts", "individuals"):
            if not isinstance(metadata, dict) or not metadata.get(name):
                raise ConfigError(f"{model_config_path} has no metadata.{name}; add the names that the network finds.")
        self._images: dict[str, list[LabelledImage]] = {}

    @property
    def bodyparts(self) -> tuple[str, ...]:
        """K names."""
        return tuple(self.model_cfg["metadata"]["bodyparts"])

    @property
    def unique_bodyparts(self) -> tuple[str, ...]:
        """U names."""
        return tuple(self.model_cfg["metadata"].get("unique_bodyparts") or ())

    @property
    def individuals(self) -> tuple[str, ...]:
        """N names."""
        return tuple(self.model_cfg["metadata"]["individuals"])

    @property
    def bbox_margin(self) -> int:
        """Around the keypoints of an animal whose box nobody drew [px]."""
        margin = self.model_cfg["data"].get("bbox_margin")
        return BBOX_MARGIN if margin is None else int(margin)

    @abstractmethod
    def _read(self, mode: str) -> list[LabelledImage]:
        """The images of one part, as the files have them."""

    def images(self, mode: str = "train") -> list[LabelledImage]:
        """The images of ``train`` or ``test``, in the order of the split.

        A label on or outside the image's border counts as not visible, as in DeepLabCut, and one warning tells how
        many there are.
        """
        if mode not in ("train", "test"):
            raise ProjectError(f"{mode!r} is no part of a training set; use 'train' or 'test'.")
        if mode not in self._images:
            self._images[mode] = without_outsiders(self._read(mode))
        return self._images[mode]

    def image_filenames(self, mode: str = "train") -> list[str]:
        """Paths of the images, in the order of ``images``."""
        return [str(image.path) for image in self.images(mode)]

    def ground_truth_keypoints(self, mode: str = "train", *, unique_bodypart: bool = False) -> dict[str, Floats]:
        """Image path -> (N, K, 3) x, y [image px], visibility 2 or 0; NaN, NaN, 0 where not visible.

        With ``unique_bodypart`` the arrays are (1, U, 3).
        """
        return {
            str(image.path): with_visibility(image.unique_xy[None] if unique_bodypart else image.xy)
            for image in self.images(mode)
        }

    def ground_truth_bboxes(self, mode: str = "train") -> dict[str, dict[str, Any]]:
        """Image path -> its ``width`` and ``height`` [px] and ``bboxes`` (n, 4) x, y, width, height [image px]."""
        truth = {}
        for image in with_boxes(self.images(mode), self.bbox_margin):
            (height, width), boxes = image.shape, np.asarray(image.boxes)
            found = boxes[~np.isnan(boxes).any(axis=1)]
            truth[str(image.path)] = {"width": width, "height": height, "bboxes": found}
        return truth

    def load_data(self, mode: str = "train") -> dict[str, list[dict[str, Any]]]:
        """The images as a COCO mapping; see ``to_coco``."""
        return to_coco(
            self.images(mode), self.individuals, self.bodyparts, self.unique_bodyparts, bbox_margin=self.bbox_margin
        )

    def snapshots(self, detector: bool = False) -> list[Snapshot]:  # noqa: FBT001, FBT002  # DeepLabCut's signature
        """The snapshots beside the configuration, the best one last."""
        task = Task.DETECT if detector else Task.BOTTOM_UP
        return list_snapshots(self.model_folder, prefix=task.snapshot_prefix)

    def create_dataset(
        self,
        transform: Transform | None = None,
        mode: str = "train",
        task: Task | str = Task.BOTTOM_UP,
    ) -> PoseDataset:
        """The images of ``mode`` as a torch data set; without a transform, with the one of the configuration.

        Top-down tasks have one item per animal. The detector's transform is in ``detector.data``.

        Raises:
            ConfigError: A transform that cannot serve the task, or a section that is wrong.
        """
        from rigpose_training.data.conditions import GenSampling
        from rigpose_training.data.dataset import PoseDataset
        from rigpose_training.data.transforms import build_transforms

        task = Task(task)
        if transform is None:
            section, where = self._section(task, "train" if mode == "train" else "inference")
            transform = build_transforms(section, where=where)
        data = self.model_cfg["data"]
        crop = parse(
            TopDownCrop, (data.get("train") or {}).get("top_down_crop") or {}, where="data.train.top_down_crop"
        )
        return PoseDataset(
            self.images(mode),
            bodyparts=self.bodyparts,
            unique_bodyparts=self.unique_bodyparts,
            individuals=self.individuals,
            transform=transform,
            mode=mode,
            task=task,
            bbox_margin=self.bbox_margin,
            crop=crop,
            gen_sampling=parse(GenSampling, data.get("gen_sampling") or {}, where="data.gen_sampling"),
        )

    def _section(self, task: Task, name: str) -> tuple[dict[str, Any], str]:
        """A transform's section and its place in the file."""
        config, place = (self.model_cfg.get("detector"), "detector.") if task is Task.DETECT else (self.model_cfg, "")
        section = ((config or {}).get("data") or {}).get(name)
        if section is None:
            raise ConfigError(f"{self.model_config_path} has no {place}data.{name}; create the shuffle again.")
        return section, f"{place}data.{name}"


class DLCLoader(Loader):
    """The labelled images of one shuffle of a DeepLabCut project.

    Args:
        config: The project's ``config.yaml`` or folder.
        trainset_index: Which of the project's ``TrainingFraction``.
        shuffle: Index of the shuffle.
        modelprefix: Folder above ``dlc-models-pytorch``, seldom used.

    Attributes:
        project_config: What the project's ``config.yaml`` says.
        shuffle: The shuffle's paths and names.
    """

    def __init__(self, config: str | Path, trainset_index: int = 0, shuffle: int = 1, modelprefix: str = "") -> None:
        self.project_config: ProjectConfig = read_project_config(config)
        self.shuffle = find_shuffle(
            self.project_config, index=shuffle, trainset_index=trainset_index, model_prefix=modelprefix
        )
        super().__init__(self.shuffle.pose_config_path)
        self._labels: Labels | None = None
        self._split: Split | None = None

    @property
    def labels(self) -> Labels:
        """The merged labels of the shuffle's iteration."""
        if self._labels is None:
            # The network's keypoints, not the project's, to which some may have been added since.
            named = replace(self.project_config, bodyparts=self.bodyparts, unique_bodyparts=self.unique_bodyparts)
            if named.multi_animal:
                named = replace(named, individuals=self.individuals)
            self._labels = read_labels(merged_labels_path(self.project_config), named)
        return self._labels

    @property
    def split(self) -> Split:
        """Which rows of ``labels`` train and which test."""
        if self._split is None:
            self._split = read_split(self.shuffle.split_path)
        return self._split

    @property
    def evaluation_folder(self) -> Path:
        """Where evaluation writes."""
        return self.shuffle.evaluation_folder

    def scorer(self, snapshot: Snapshot | str | Path, detector: Snapshot | str | Path | None = None) -> str:
        """DeepLabCut's name of the network with this snapshot."""
        return self.shuffle.scorer(
            str(self.model_cfg["net_type"]), _path(snapshot), detector=_path(detector) if detector else None
        )

    def _read(self, mode: str) -> list[LabelledImage]:
        labels, rows = self.labels, self.split.rows(mode)
        if rows and max(rows) >= len(labels):
            raise ProjectError(
                f"{self.shuffle.split_path} names row {max(rows)} of {len(labels)} labelled images: the labels changed "
                f"after the shuffle was made; create a new one."
            )
        return labelled_images(self.project_config.root, labels, rows)


def _path(snapshot: Snapshot | str | Path) -> Path:
    return snapshot.path if isinstance(snapshot, Snapshot) else Path(snapshot)
