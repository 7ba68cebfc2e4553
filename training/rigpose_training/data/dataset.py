"""Labelled images as a torch data set: one item is one augmented image, or one animal's crop, with its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from rigpose.arrays import Floats
from rigpose.errors import ConfigError
from rigpose_training.data.augmentation import TopDownCrop
from rigpose_training.data.boxes import corners
from rigpose_training.data.collate import resize_batch
from rigpose_training.data.conditions import ConditionSampler, GenSampling
from rigpose_training.data.images import ImageCache
from rigpose_training.data.items import animal_fields, image_fields, with_score
from rigpose_training.data.labelled import LabelledImage, truth_of, with_boxes
from rigpose_training.data.top_down import Aim
from rigpose_training.data.transforms import Transform
from rigpose_training.data.truth import Sample
from rigpose_training.task import Task

# Steps that give a whole image its size; a crop has its own.
_SIZES = ("resize", "longest_max_size", "crop_sampling")


class PoseDataset(Dataset[dict[str, Any]]):
    """Items of a network: images for bottom-up, single-animal and detection, else crops of one animal each.

    Every draw of item ``i`` in epoch ``e`` comes from (seed, e, i): the same whatever the number of workers, and
    the same when an interrupted training goes on.

    Args:
        images: What is labelled. Animals without a box of their own get one around their keypoints.
        bodyparts: K names.
        unique_bodyparts: U names.
        individuals: N names.
        transform: The steps of ``data.train`` or ``data.inference``.
        mode: ``train`` or ``test``, for messages.
        task: What the network does.
        seed: Of every draw.
        bbox_margin: Around keypoints that have no box, and around conditions [px].
        crop: How boxes become crops, where the transform's section does not say.
        gen_sampling: How conditions differ from the labels.

    Raises:
        ConfigError: A step that makes no sense for crops.
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
        bbox_margin: float = 0,
        crop: TopDownCrop | None = None,
        gen_sampling: GenSampling | None = None,
    ) -> None:
        self.images = with_boxes(images, bbox_margin)
        self.bodyparts = tuple(bodyparts)
        self.unique_bodyparts = tuple(unique_bodyparts)
        self.individuals = tuple(individuals)
        self.transform = transform
        self.mode = mode
        self.task = task
        self.seed = seed
        self.bbox_margin = bbox_margin
        section = transform.steps.top_down_crop or crop or TopDownCrop()
        self.crop = section.spec(conditional=task is Task.COND_TOP_DOWN)
        self.cache = ImageCache()
        self._conditions = ConditionSampler(gen_sampling or GenSampling(), len(self.bodyparts))
        self._cropped = task in (Task.TOP_DOWN, Task.COND_TOP_DOWN)
        self._animals = _animals(self.images) if self._cropped else []
        # In shared memory, so that workers which outlive an epoch see the next one.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        if self._cropped:
            _check_steps(transform, mode)

    def __len__(self) -> int:
        return len(self._animals) if self._cropped else len(self.images)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random numbers the next items use."""
        self._epoch[0] = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One augmented image, or the crop of one animal.

        Returns:
            ``image`` (3, h, w) float32 as the network takes it; ``annotations``, see
            ``rigpose_training.data.items.animal_fields``, with a row for each of the project's individuals, or for the
            crop's animal alone; ``path``; ``original_size`` (3,) h, w, channels of the file; ``offsets`` and
            ``scales`` (2,), with which ``xy * scales + offsets`` are px of the file for a crop (px of the augmented
            image after a flip or affine), else 0 and 1. Conditional items have ``conditions`` (K, 3) x, y [image px]
            and score, zeros where there is none.
        """
        return self._item(index, self.sample(index))

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The items of a batch, resized to one size where the configuration says so; torch's loader asks for them."""
        samples = [self.sample(index) for index in indices]
        if (resize := self.transform.steps.collate) is not None:
            rng = np.random.default_rng((self.seed, resize.seed, int(self._epoch[0]), indices[0]))
            samples = resize_batch(samples, resize, rng)
        slots = _slots(samples)
        return [self._item(*each) for each in zip(indices, samples, slots, strict=True)]

    def sample(self, index: int) -> Sample:
        """The augmented image or crop behind an item; only this draws random numbers for it."""
        rng = np.random.default_rng((self.seed, int(self._epoch[0]), index))
        labelled = self._labelled(index)
        image = self.cache.read(labelled.path)
        truth = truth_of(labelled, animals=len(self.individuals), unique=len(self.unique_bodyparts))
        if not self._cropped:
            return self.transform(image, truth, rng)
        animal = self._animals[index][1]
        aim = Aim(corners(truth.boxes[animal]), 0, self.crop, self.transform.steps.random_bbox_transform)
        if self.task is Task.TOP_DOWN:
            return self.transform.crop(image, truth.rows([animal]), aim, rng)
        condition = self._conditions.of_animal(truth, animal, labelled.shape, rng)
        if not np.isnan(condition).all():
            # As on the rig, where the condition is all that is known of the animal.
            aim = Aim(condition, self.bbox_margin, self.crop)
        return self.transform.crop(image, truth.rows([animal]).followed_by(condition), aim, rng)

    def _item(self, index: int, sample: Sample, slot: Floats | None = None) -> dict[str, Any]:
        truth, individuals = sample.truth, np.arange(len(self.individuals))
        if self._cropped:
            truth, individuals = truth.rows([0]), individuals[[self._animals[index][1]]]
        item = image_fields(self._labelled(index), self.transform.to_network(sample.image, slot), sample.to_frame)
        item["annotations"] = animal_fields(truth, individuals)
        if self.task is Task.COND_TOP_DOWN:
            item["conditions"] = with_score(sample.truth.keypoints[1])
        return item

    def _labelled(self, index: int) -> LabelledImage:
        return self.images[self._animals[index][0] if self._cropped else index]


def _slots(samples: Sequence[Sample]) -> Sequence[Floats | None]:
    """(B, 3, h, w) for the network inputs of images of one size, so that a batch need not copy them; else nothing."""
    sizes = {sample.image.shape[:2] for sample in samples}
    if len(sizes) > 1:
        return [None] * len(samples)
    return list(np.empty((len(samples), 3, *sizes.pop()), np.float32))


def _animals(images: Sequence[LabelledImage]) -> list[tuple[int, int]]:
    """(image, row) of every animal that has a box and a keypoint."""
    return [
        (number, row)
        for number, image in enumerate(images)
        for row, (xy, box) in enumerate(zip(image.xy, np.asarray(image.boxes), strict=True))
        if not np.isnan(box).any() and not np.isnan(xy).all()
    ]


def _check_steps(transform: Transform, mode: str) -> None:
    for name in _SIZES:
        if getattr(transform.steps, name) is not None:
            section = "train" if mode == "train" else "inference"
            raise ConfigError(
                f"data.{section}.{name}: the crop of a top-down network has its own size; remove {name}, and set "
                f"data.{section}.top_down_crop."
            )
