"""What a shuffle can be trained for: poses, or the boxes that a top-down pose network starts from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from torch import nn

from rigpose.errors import ConfigError
from rigpose_training.data.loaders import Loader
from rigpose_training.data.transforms import build_transforms
from rigpose_training.engine.files import RunFiles
from rigpose_training.engine.fine_tuning import begin_detector_with, begin_with
from rigpose_training.engine.runner_config import first_weights
from rigpose_training.engine.validate import BoxValidation, CropValidation, ImageValidation, Validate
from rigpose_training.losses import read_objectives
from rigpose_training.models import PoseModel, build_model
from rigpose_training.models.detector_weights import initialise_detector
from rigpose_training.models.detectors import Detector, build_detector
from rigpose_training.models.weights import initialise
from rigpose_training.objectives import DetectorObjective, Objective, PoseObjective
from rigpose_training.task import Task
from rigpose_training.torch_session import torch_analyzer


@dataclass(frozen=True)
class Stage(ABC):
    """One network of a shuffle and how it is trained.

    Attributes:
        loader: The images.
        task: What the network does with them.
        config: Its ``model``, ``data``, ``runner`` and ``train_settings`` sections.
        where: What stands before their names in messages.
    """

    loader: Loader
    task: Task
    config: Mapping[str, Any]
    where: str

    @abstractmethod
    def files(self, folder: Path, prefix: str | None) -> RunFiles:
        """What its files are called; ``prefix`` is the configuration's for snapshots, if it has one."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The network, with random weights."""

    @abstractmethod
    def initialise(self, model: nn.Module, weights: Literal["imagenet", "random"]) -> str:
        """Give the network its first weights, and say in a sentence which."""

    @abstractmethod
    def objective(self, model: nn.Module) -> Objective:
        """How a batch becomes a loss."""

    @abstractmethod
    def validation(self, model: nn.Module, objective: Objective, batch_size: int) -> Validate:
        """How good ``model`` is on the test images."""


class PoseStage(Stage):
    """The pose network; ``method`` says how it sees the animals."""

    def files(self, folder: Path, prefix: str | None) -> RunFiles:
        """See ``Stage``."""
        return RunFiles(folder, prefix or self.task.snapshot_prefix)

    def build(self) -> nn.Module:
        """See ``Stage``."""
        return build_model(self.config)

    def initialise(self, model: nn.Module, weights: Literal["imagenet", "random"]) -> str:
        """A pose network begins with the snapshot of ``weight_init``, if there is one."""
        first = first_weights(self.config)
        if first.snapshot_path:
            snapshot = Path(first.snapshot_path)
            return begin_with(cast(PoseModel, model), first, snapshot, self.loader.model_cfg["metadata"])
        return initialise(cast(PoseModel, model), weights=weights)

    def objective(self, model: nn.Module) -> Objective:
        """See ``Stage``."""
        return PoseObjective(read_objectives(self.config["model"]["heads"], cast(PoseModel, model).strides))

    def validation(self, model: nn.Module, objective: Objective, batch_size: int) -> Validate:
        """See ``Stage``."""
        prepare = build_transforms(self.config["data"]["inference"], where="data.inference")
        dataset = self.loader.create_dataset(prepare, "test", self.task)
        if self.task is not Task.BOTTOM_UP:
            return CropValidation(dataset, objective, self.config["model"]["heads"]["bodypart"]["predictor"])
        analyzer = torch_analyzer(cast(PoseModel, model), self.config)
        return ImageValidation(dataset, self.loader.images("test"), objective, analyzer, batch_size)


class DetectorStage(Stage):
    """The detector of a top-down pair, which the ``detector`` section describes."""

    def files(self, folder: Path, prefix: str | None) -> RunFiles:
        """See ``Stage``."""
        return RunFiles(folder, prefix or self.task.snapshot_prefix, suffix="_detector")

    def build(self) -> nn.Module:
        """See ``Stage``."""
        return build_detector(self.config["model"])

    def initialise(self, model: nn.Module, weights: Literal["imagenet", "random"]) -> str:
        """As a pose network, with COCO's weights for ImageNet's; ``weight_init`` is the pair's, beside the detector."""
        snapshot = first_weights(self.loader.model_cfg).detector_snapshot_path
        if snapshot:
            return begin_detector_with(cast(Detector, model), Path(snapshot))
        return initialise_detector(cast(Detector, model), weights="random" if weights == "random" else "coco")

    def objective(self, model: nn.Module) -> Objective:  # noqa: ARG002
        """See ``Stage``."""
        return DetectorObjective()

    def validation(self, model: nn.Module, objective: Objective, batch_size: int) -> Validate:  # noqa: ARG002
        """See ``Stage``."""
        prepare = build_transforms(self.config["data"]["inference"], where="detector.data.inference")
        return BoxValidation(self.loader.create_dataset(prepare, "test", self.task))


def pose_stage(loader: Loader) -> PoseStage:
    """The pose network of a shuffle."""
    return PoseStage(loader, Task(loader.model_cfg.get("method") or "bu"), loader.model_cfg, where="")


def detector_stage(loader: Loader) -> DetectorStage:
    """The detector of a shuffle.

    Raises:
        ConfigError: The shuffle has none.
    """
    section = loader.model_cfg.get("detector")
    if not section:
        raise ConfigError(
            f"{loader.model_config_path}: has no detector section; create the shuffle with a top_down net_type."
        )
    # What the pair has in common: the device and, in DeepLabCut too, the logger and the seed.
    config = {**section, **{key: loader.model_cfg.get(key) for key in ("device", "logger")}}
    seed = {key: value for key, value in loader.model_cfg["train_settings"].items() if key == "seed"}
    gpus = {key: value for key, value in loader.model_cfg["runner"].items() if key == "gpus" and value}
    config |= {"train_settings": section["train_settings"] | seed, "runner": section["runner"] | gpus}
    return DetectorStage(loader, Task.DETECT, config, where="detector.")
