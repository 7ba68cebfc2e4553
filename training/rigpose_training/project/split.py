"""``Documentation_data-*.pickle``: which rows of the merged labels train and which test."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.errors import ProjectError
from rigpose.files.pickles import UNREADABLE, load_arrays


@dataclass(frozen=True)
class Split:
    """Row numbers in the merged labels.

    Attributes:
        train: Rows to train on.
        test: Rows to test on.
        train_fraction: As in ``TrainingFraction``; with padding it may differ from the counts.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    train_fraction: float

    def rows(self, mode: str) -> tuple[int, ...]:
        """The rows of ``train`` or ``test``."""
        if mode not in ("train", "test"):
            raise ProjectError(f"{mode!r} is no part of a split; use 'train' or 'test'.")
        return self.train if mode == "train" else self.test


def random_split(images: int, *, train_fraction: float, seed: int | Sequence[int]) -> Split:
    """A split of ``images`` rows that the same seed makes again.

    Raises:
        ProjectError: A fraction that leaves nothing to train on, or that DeepLabCut cannot put into a file name.
    """
    if not 0 < train_fraction <= 1 or train_fraction != round(train_fraction, 2):
        raise ProjectError(
            f"a training fraction of {train_fraction} does not work; use a number of two digits between 0 "
            f"and 1, like 0.95."
        )
    count = int(images * train_fraction)
    if not count:
        raise ProjectError(f"{train_fraction} of {images} labelled images is none; label more images or raise it.")
    order = np.random.default_rng(seed).permutation(images).tolist()
    return Split(tuple(order[:count]), tuple(order[count:]), train_fraction)


def read_split(path: Path) -> Split:
    """The split in a ``Documentation_data`` file, without the -1 that pad an exact fraction.

    Raises:
        ProjectError: A file that is missing, damaged or holds anything but lists and arrays.
    """
    try:
        content = load_arrays(path.read_bytes(), path, error=ProjectError)
    except FileNotFoundError as cause:
        raise ProjectError(f"{path} does not exist; create the shuffle with create_training_dataset.") from cause
    except (OSError, *UNREADABLE) as cause:
        raise ProjectError(f"{path} is damaged and no readable pickle; create the shuffle again.") from cause
    if not isinstance(content, (list, tuple)) or len(content) != 4:
        raise ProjectError(f"{path} does not hold data, train rows, test rows and fraction; create the shuffle again.")
    try:
        return Split(_rows(content[1]), _rows(content[2]), float(content[3]))
    except (ValueError, TypeError) as cause:
        raise ProjectError(f"{path} holds a row or fraction that is no number; create the shuffle again.") from cause


def write_split(path: Path, split: Split, records: list[dict[str, Any]]) -> None:
    """Write the file as DeepLabCut reads it, from lists alone, so that every version of numpy reads it too.

    Args:
        path: Where.
        split: Its rows.
        records: Images with labels, as in the data set file; kept because DeepLabCut's layout has them.
    """
    write_pickle(path, [records, list(split.train), list(split.test), split.train_fraction])


def write_pickle(path: Path, content: object) -> None:
    """Write plain values as a pickle; the file appears whole or not at all."""
    temporary = path.with_name(f".writing-{path.name}")
    with temporary.open("wb") as file:
        pickle.dump(content, file, protocol=4)
    temporary.replace(path)


def _rows(indices: Any) -> tuple[int, ...]:
    return tuple(int(i) for i in indices if int(i) != -1)
