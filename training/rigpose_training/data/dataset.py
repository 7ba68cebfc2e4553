"""Labelled images as a torch data set: one item is one augmented image with its labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from rigpose.arrays import Floats, Frames
from rigpose.errors import ConfigError, MediaError
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.transforms import Transform
from rigpose_training.task import Task

CACHE_BYTES = 1 << 30
VISIBLE = 2.0


class PoseDataset(Dataset[dict[str, Any]]):
    """Items of a bottom-up or single-animal model.

    Every draw of item ``i`` in epoch ``e`` comes from (seed, e, i): the same whatever the number of workers, and
    the same when an interrupted training goes on.
    """

    def __init__(  # noqa: PLR0913
        self,
        images: Sequence[LabelledImage],
        *,
        bodyparts: Sequence[str],
        unique_bodyparts: Sequence[str] = (),
        individuals: Sequence[str] = ("individual_1",),
        transform: Transform,
        mode: str = "train",
        task: Task = Task.BOTTOM_UP,
        seed: int = 0,
    ) -> None:
        if task is not Task.BOTTOM_UP:
            raise ConfigError(f"{task.name}: only bottom-up and single-animal data sets can be made; choose method bu.")
        self.images = list(images)
        self.bodyparts = tuple(bodyparts)
        self.unique_bodyparts = tuple(unique_bodyparts)
        self.individuals = tuple(individuals)
        self.transform = transform
        self.mode = mode
        self.task = task
        self.seed = seed
        self.cache_bytes = CACHE_BYTES
        self._cache: dict[int, Frames] = {}
        self._cached_bytes = 0
        # In shared memory, so that workers which outlive an epoch see the next one.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.images)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random numbers the next items use."""
        self._epoch[0] = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One augmented image.

        Returns:
            ``image`` (3, h, w) float32 as the network takes it; ``annotations``: ``keypoints`` (N, K, 3) and
            ``keypoints_unique`` (U, 3) x, y [image px] and visibility (2 labelled, else 0 at 0, 0), and
            ``individual_ids`` (N,), -1 where nothing of the animal is left; ``path``; ``original_size`` (3,) h, w,
            channels of the file; ``offsets`` and ``scales`` (2,), which stay 0 and 1 without a top-down crop.
        """
        labelled = self.images[index]
        image = self.image(index)
        rng = np.random.default_rng((self.seed, int(self._epoch[0]), index))
        found = self.transform(image, self._animals(labelled), rng, unique=self._unique(labelled))
        keypoints = _with_visibility(found.keypoints)
        present = (keypoints[..., 2] > 0).any(axis=1)
        return {
            "image": self.transform.to_network(found.image),
            "path": str(labelled.path),
            "original_size": np.array(image.shape),
            "offsets": np.zeros(2, np.int64),
            "scales": np.ones(2),
            "annotations": {
                "keypoints": keypoints,
                "keypoints_unique": _with_visibility(found.unique),
                "individual_ids": np.where(present, np.arange(len(self.individuals)), -1),
            },
        }

    def image(self, index: int) -> Frames:
        """(H, W, 3) uint8 RGB: the decoded file, kept in memory while there is room."""
        if index in self._cache:
            return self._cache[index]
        image = read_rgb(Path(self.images[index].path))
        if self._cached_bytes + image.nbytes <= self.cache_bytes:
            self._cache[index] = image
            self._cached_bytes += image.nbytes
        return image

    def _animals(self, labelled: LabelledImage) -> Floats:
        """(N, K, 2) with one row for each individual of the project."""
        xy = np.full((len(self.individuals), len(self.bodyparts), 2), np.nan, np.float32)
        xy[: len(labelled.xy)] = labelled.xy
        return xy

    def _unique(self, labelled: LabelledImage) -> Floats:
        if len(labelled.unique_xy):
            return labelled.unique_xy
        return np.full((len(self.unique_bodyparts), 2), np.nan, np.float32)


def read_rgb(path: Path) -> Frames:
    """(H, W, 3) uint8 RGB of an image file.

    Raises:
        MediaError: The file is missing, or is no image.
    """
    try:
        # Not cv2.imread: on Windows it cannot open paths with letters outside ASCII.
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise MediaError(
            f"{path}: the labelled image cannot be read ({error.strerror}); put it back, or delete its labels and "
            "create the training data set again."
        ) from error
    image = cv2.imdecode(raw, cv2.IMREAD_COLOR) if len(raw) else None
    if image is None:
        raise MediaError(
            f"{path}: is no image that OpenCV can decode; extract the frame again, or delete its labels and create "
            "the training data set again."
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def _with_visibility(xy: Floats) -> Floats:
    """(..., 2) -> (..., 3): missing points become 0, 0 with visibility 0, as the targets expect."""
    missing = np.isnan(xy).any(axis=-1, keepdims=True)
    flagged = np.concatenate([xy, np.full_like(xy[..., :1], VISIBLE)], axis=-1)
    return np.where(missing, 0.0, flagged).astype(np.float32)
