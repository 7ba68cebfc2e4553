"""Data sets as batches: the order of an epoch, workers, and what makes images fit together."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler, default_collate

from rigpose.arrays import Floats
from rigpose.errors import TrainingError
from rigpose_training.data.dataset import PoseDataset
from rigpose_training.data.images import CACHE_BYTES


@dataclass(frozen=True)
class Batching:
    """How a data set is read.

    Attributes:
        batch_size: Images per batch.
        workers: Processes that load images; 0 loads in the training process.
        pin_memory: Whether batches lie in page-locked memory, from where a GPU copies while it computes.
        seed: Of the order.
        rank: Number of this process among those that train together.
        processes: How many those are; each reads its share in batches of ``batch_size``.
    """

    batch_size: int
    workers: int = 0
    pin_memory: bool = False
    seed: int = 0
    rank: int = 0
    processes: int = 1


class EpochOrder(Sampler[int]):
    """A permutation that depends on (seed, epoch) alone, so that a resumed training sees the same batches.

    Of several processes each takes every so-many-th image, so that a step of all sees the images that one process
    would see in a larger batch. If they cannot share evenly, the first images of the order come again at its end.
    """

    def __init__(self, length: int, *, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.length = length
        self.seed = seed
        self.rank = rank
        self.processes = processes
        self.epoch = 0
        self.skip = 0

    def __len__(self) -> int:
        return math.ceil(self.length / self.processes)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        own = np.resize(order, len(self) * self.processes)[self.rank :: self.processes].tolist()
        yield from own[self.skip :]


class TrainingBatches:
    """Shuffled batches of a data set; iterate over ``epoch(number)``."""

    def __init__(self, dataset: PoseDataset, batching: Batching) -> None:
        self.dataset = dataset
        self.batch_size = batching.batch_size
        self.order = EpochOrder(len(dataset), seed=batching.seed, rank=batching.rank, processes=batching.processes)
        dataset.cache.most_bytes = CACHE_BYTES // max(1, batching.workers)
        self.loader = DataLoader(
            dataset,
            batch_size=batching.batch_size,
            sampler=self.order,
            num_workers=batching.workers,
            pin_memory=batching.pin_memory,
            persistent_workers=batching.workers > 0,
            collate_fn=collate,
            worker_init_fn=_quiet_worker,
            # Its own, because a loader draws a number per epoch, and torch's must not depend on how often one begins.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int, *, skip: int = 0) -> Iterator[dict[str, Any]]:
        """The batches that belong to one epoch, in its order and with its augmentation, after the first ``skip``."""
        self.dataset.set_epoch(number)
        self.order.epoch = number
        self.order.skip = skip * self.batch_size
        return iter(self.loader)


def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack items into a batch; every array gains a first axis.

    Raises:
        TrainingError: Images of different sizes.
    """
    shapes = {item["image"].shape[1:] for item in items}
    if len(shapes) > 1:
        sizes = ", ".join(sorted(f"{w} x {h}" for h, w in shapes))
        raise TrainingError(
            f"Images of {sizes} px do not fit into one batch; set data.train.crop_sampling (or resize) in "
            "pytorch_config.yaml, or train with batch_size 1."
        )
    batch = default_collate([{name: value for name, value in item.items() if name != "image"} for item in items])
    return {"image": _stacked([item["image"] for item in items]), **batch}


def _stacked(images: Sequence[Floats]) -> torch.Tensor:
    """(B, 3, h, w); without a copy if the images are the slots of one array, as ``PoseDataset`` fills them."""
    whole = images[0].base
    if whole is not None and whole.shape == (len(images), *images[0].shape):
        starts = [image.__array_interface__["data"][0] for image in images]
        if starts == [slot.__array_interface__["data"][0] for slot in whole]:
            return torch.from_numpy(whole)
    return torch.from_numpy(np.stack(images))


def on_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch with its tensors, nested ones too, on ``device``; page-locked ones travel while it computes."""
    return {name: _moved(value, device) for name, value in batch.items()}


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Mapping):
        return on_device(value, device)
    return value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value


def _quiet_worker(worker: int) -> None:  # noqa: ARG001
    """One thread per worker, and Ctrl-C left to the training process.

    More threads would fight for the cores of other workers; a worker that Ctrl-C ends would take its batch along.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
