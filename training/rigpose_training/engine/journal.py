"""Where the losses and metrics of every epoch go: DeepLabCut's table and its picture, TensorBoard, Weights & Biases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from rigpose.errors import ConfigError, MissingExtraError
from rigpose.schema import parse, suggest
from rigpose_training.engine.files import RunFiles
from rigpose_training.engine.log import LOGGER, LearningStats
from rigpose_training.pose_config.files import read_mapping, write_mapping


class Record(Protocol):
    """One place that the figures go to."""

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Take in an epoch's figures by DeepLabCut's names; NaN is not known."""
        ...

    def close(self) -> None:
        """Write what is not written yet."""
        ...


class Journal:
    """All places that the figures of a training go to."""

    def __init__(self, records: Sequence[Record] = (), *, curve: _Curve | None = None) -> None:
        self._records = records
        self._curve = curve

    def add(self, epoch: int, values: Mapping[str, float], *, tested: bool) -> None:
        """Take in an epoch; after a test the picture is drawn again."""
        for record in self._records:
            record.add(epoch, values)
        if tested and self._curve is not None:
            self._curve.draw()

    def close(self) -> None:
        """Write what is not written yet."""
        for record in self._records:
            record.close()


@dataclass(frozen=True)
class LoggerSection:
    """``logger`` of a ``pytorch_config.yaml``; what else stands there is handed to ``wandb.init``.

    Attributes:
        type: ``CSVLogger``, whose table is always written, or ``WandbLogger``.
        project_name: Weights & Biases' project.
        run_name: The run in it; the detector's gets ``-detector`` at its end.
        image_log_interval: Epochs between pictures in DeepLabCut; here figures alone are logged.
        wandb_kwargs: More arguments of ``wandb.init``, e.g. ``tags``.
        log_filename: Of the table; it keeps its usual name.
        model: Not used.
        train_folder: Not used: everything goes to the folder of the configuration.
    """

    type: str
    project_name: str = "deeplabcut"
    run_name: str = "tmp"
    image_log_interval: int | None = None
    wandb_kwargs: dict[str, Any] | None = field(default_factory=dict)
    log_filename: str = "learning_stats.csv"
    model: dict[str, Any] | None = None
    train_folder: str | None = None


def read_logger(section: Mapping[str, Any] | None) -> LoggerSection | None:
    """The ``logger`` section; unknown keys are collected in ``wandb_kwargs``, as in DeepLabCut.

    Raises:
        ConfigError: An unknown type of logger, or a wrong type of value.
        MissingExtraError: Weights & Biases is asked for and not installed.
    """
    if not section:
        return None
    known = {entry.name for entry in fields(LoggerSection)}
    if section.get("type") not in ("CSVLogger", "WandbLogger"):
        raise ConfigError(
            f"logger.type: {section.get('type')!r} is neither CSVLogger nor WandbLogger"
            f"{suggest(section.get('type'), ('CSVLogger', 'WandbLogger'))}."
        )
    extra = {name: value for name, value in section.items() if name not in known}
    own = {name: value for name, value in section.items() if name in known}
    own["wandb_kwargs"] = (own.get("wandb_kwargs") or {}) | extra
    logger = parse(LoggerSection, own, where="logger")
    if logger.type == "WandbLogger":
        _import_wandb()
    return logger


def open_journal(
    files: RunFiles, config: Mapping[str, Any], logger: LoggerSection | None, *, until_epoch: int, board: bool
) -> Journal:
    """The journal of a training that goes on after ``until_epoch``; with ``board`` for TensorBoard too.

    Raises:
        MissingExtraError: TensorBoard is asked for and not installed.
    """
    records: list[Record] = [LearningStats(files.stats, until_epoch=until_epoch)]
    if board:
        records.append(TensorBoardRecord(files.tensorboard, until_epoch=until_epoch))
    if logger is not None and logger.type == "WandbLogger":
        records.append(WandbRecord(logger, files, config, goes_on=until_epoch > 0))
    return Journal(records, curve=_Curve(files))


class TensorBoardRecord:
    """TensorBoard's event files; ``tensorboard --logdir FOLDER`` shows them."""

    def __init__(self, folder: Path, *, until_epoch: int) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise MissingExtraError(
                "tensorboard: is not installed; install it with pip install tensorboard, or train without it."
            ) from error
        # Later epochs of a run that was interrupted are trained again, so their points are taken back.
        self._writer = SummaryWriter(str(folder), purge_step=until_epoch + 1)

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """A point in each curve."""
        for name, value in values.items():
            if not math.isnan(value):
                self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WandbRecord:
    """A run of Weights & Biases; a training that goes on goes on in the same run."""

    def __init__(self, logger: LoggerSection, files: RunFiles, config: Mapping[str, Any], *, goes_on: bool) -> None:
        wandb = _import_wandb()
        remembered = files.folder / f"wandb_info{files.suffix}.yaml"
        arguments = dict(logger.wandb_kwargs or {})
        if goes_on and remembered.is_file():
            arguments |= {"id": read_mapping(remembered)["run_id"], "resume": "allow"}
        name = logger.run_name + files.suffix.replace("_", "-")
        try:
            self._run = wandb.init(project=logger.project_name, name=name, **arguments)
        except TypeError as error:
            raise ConfigError(
                f"logger: wandb.init refuses {', '.join(sorted(arguments))} ({error}); correct logger.wandb_kwargs."
            ) from error
        self._run.config.update(dict(config), allow_val_change=True)
        info = {"entity": self._run.entity, "project": self._run.project, "run_id": self._run.id}
        write_mapping(remembered, info)
        if logger.image_log_interval is not None:
            LOGGER.info("logger.image_log_interval: figures are logged, pictures are not.")

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """One step of the run."""
        self._run.log({name: value for name, value in values.items() if not math.isnan(value)}, step=epoch)

    def close(self) -> None:
        """Send the rest."""
        self._run.finish()


@dataclass(frozen=True)
class _Curve:
    """The learning curve, drawn from the table."""

    files: RunFiles

    def draw(self) -> None:
        from rigpose_training.evaluation.plots import plot_training_curve

        plot_training_curve(self.files.curve, self.files.stats)


def _import_wandb() -> Any:
    try:
        import wandb  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError(
            "logger.type WandbLogger: wandb is not installed; install it with pip install wandb, or remove the logger "
            "section of pytorch_config.yaml."
        ) from error
    return wandb
