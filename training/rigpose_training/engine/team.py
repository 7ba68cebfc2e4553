"""The processes that train one network together: how they meet, agree, and share their numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from rigpose.errors import TrainingError
from rigpose_training.engine.log import LOGGER

T = TypeVar("T")

LONGEST_WAIT = timedelta(hours=6)
"""For the others: while the leader tests the network on many images, they wait for what it finds."""


@dataclass(frozen=True)
class Team:
    """This process among those that train together; a process alone is a team of one.

    Every method but ``leads`` is called by all processes of a team at the same point.

    Attributes:
        rank: Its number; process 0 leads: it alone tests, writes and speaks.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that tests, writes and speaks."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:  # noqa: FBT001 (like the builtin)
        """Whether it is so for one of them."""
        if self.size == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags)
        return bool(flags)

    def from_leader(self, find: Callable[[], T]) -> T:
        """What the leader finds, for all."""
        if self.size == 1:
            return find()
        found: list[Any] = [find() if self.leads else None]
        dist.broadcast_object_list(found, src=0)
        return found[0]

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean over the processes, name by name."""
        if self.size == 1:
            return dict(values)
        total = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(total)
        return dict(zip(values, (total / self.size).tolist(), strict=True))

    def gather(self, value: T) -> list[T]:
        """Everybody's value, by rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Go on when all have come here."""
        self.gather(None)


def local_rank() -> int | None:
    """This process's number on its machine if it was started as one of several, as torchrun does."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    return int(os.environ.get("LOCAL_RANK", "0"))


def speaks() -> bool:
    """Whether this process is the one whose answer is heard: it was started alone, or as the first of several."""
    return local_rank() is None or os.environ["RANK"] == "0"


@contextmanager
def joined(device: torch.device) -> Iterator[Team]:
    """The team while the block runs: the one that torchrun's variables tell of, or this process alone.

    Only the leader's lines of the log are heard.

    Raises:
        TrainingError: The device cannot be shared out, or the processes do not find each other.
    """
    if dist.is_initialized():
        yield Team(dist.get_rank(), dist.get_world_size())
        return
    if local_rank() is None:
        yield Team()
        return
    _meet(device)
    team = Team(dist.get_rank(), dist.get_world_size())
    LOGGER.disabled = not team.leads
    try:
        yield team
    finally:
        LOGGER.disabled = False
        dist.destroy_process_group()


def _meet(device: torch.device) -> None:
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(f"device {device}: cannot be shared by processes; train without torchrun, or give cpu.")
    if device.type == "cuda" and not dist.is_nccl_available():
        raise TrainingError(
            f"torch {torch.__version__} has no NCCL, through which GPUs talk; train on one GPU (runner.gpus: [0])."
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Objects and flags travel on the CPU, so that a question never waits for the GPU's work.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=LONGEST_WAIT)
    except (dist.DistError, RuntimeError, ValueError) as error:
        raise TrainingError(
            f"The {os.environ['WORLD_SIZE']} processes did not find each other ({str(error).splitlines()[0]}); start "
            "them with torchrun, with the same --rdzv-endpoint on every machine."
        ) from error
