"""A labelled project before it has shuffles: its labels, split by chance and as COCO mappings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rigpose_training.data.labelled import labelled_images, to_coco
from rigpose_training.project.config import read_project_config
from rigpose_training.project.labels import merge_tables, to_labels
from rigpose_training.project.split import Split, random_split

if TYPE_CHECKING:
    import pandas as pd


class Project:
    """The labelled images of a DeepLabCut project.

    ``Project(proj_root=folder).train_test_split()`` writes nothing; ``create_training_dataset`` makes a shuffle.

    Args:
        proj_root: The project's folder or ``config.yaml``.

    Attributes:
        config: What ``config.yaml`` says.
        dataframe: All videos' labels, in DeepLabCut's columns, sorted by video and image.
        labels: The same as arrays.
        split: Rows of ``dataframe``: the project's first training fraction until ``train_test_split`` is called.
    """

    def __init__(self, proj_root: str | Path) -> None:
        self.config = read_project_config(proj_root)
        self.dataframe: pd.DataFrame = merge_tables(self.config)
        self.labels = to_labels(self.dataframe, self.config)
        self.split: Split = self.train_test_split()

    def train_test_split(self, train_fraction: float | None = None, seed: int = 42) -> Split:
        """Divide the labelled images by chance; the same seed divides them the same way again."""
        fraction = self.config.training_fractions[0] if train_fraction is None else train_fraction
        self.split = random_split(len(self.labels), train_fraction=fraction, seed=seed)
        return self.split

    @property
    def train(self) -> dict[str, list[dict[str, Any]]]:
        """The training images as a COCO mapping."""
        return self.coco("train")

    @property
    def test(self) -> dict[str, list[dict[str, Any]]]:
        """The test images as a COCO mapping."""
        return self.coco("test")

    def coco(self, mode: str) -> dict[str, list[dict[str, Any]]]:
        """The images of ``train`` or ``test`` as a COCO mapping; see ``rigpose_training.data.labelled.to_coco``."""
        images = labelled_images(self.config.root, self.labels, self.split.rows(mode))
        return to_coco(images, self.config.individuals, self.config.bodyparts, self.config.unique_bodyparts)
