from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
from drawn_training import DrawnLoader, tiny_config

from rigpose.errors import ConfigError, MissingExtraError
from rigpose_training.engine.beginning import Start
from rigpose_training.engine.files import RunFiles
from rigpose_training.engine.journal import TensorBoardRecord, read_logger
from rigpose_training.engine.train import Machine, train
from rigpose_training.pose_config.files import read_mapping, update

RANDOM = Start(weights="random")
CPU = Machine(device="cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


def points(folder: Path, name: str) -> dict[int, float]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def test_the_curve_is_drawn_at_every_test(tmp_path: Path) -> None:
    changes = {"train_settings.epochs": 2, "runner.eval_interval": 1}
    train(DrawnLoader(tmp_path, config=update(tiny_config(), changes), train=2, test=1), RANDOM, CPU)
    picture = cv2.imread(str(tmp_path / "learning_curve.png"))
    assert picture is not None and picture.std() > 0
    train(DrawnLoader(tmp_path / "untested", train=2), RANDOM, CPU)  # eval_interval 100
    assert not (tmp_path / "untested" / "learning_curve.png").exists()


def test_tensorboard_shows_what_the_table_says(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for epochs in (1, 2):
        config = update(tiny_config(), {"train_settings.epochs": epochs})
        train(DrawnLoader(tmp_path, config=config, train=2, test=0), RANDOM, CPU, {"tensorboard": True})
    shown = points(tmp_path / "tensorboard" / "pose", "losses/train.total_loss")
    rows = (tmp_path / "learning_stats.csv").read_text().splitlines()
    column = rows[0].split(",").index("losses/train.total_loss")
    assert shown == pytest.approx({1: float(rows[1].split(",")[column]), 2: float(rows[2].split(",")[column])})


def test_points_of_epochs_that_are_trained_again_are_taken_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    first = TensorBoardRecord(tmp_path, until_epoch=0)
    for epoch in (1, 2, 3):
        first.add(epoch, {"loss": float(epoch), "unknown": float("nan")})
    first.close()
    second = TensorBoardRecord(tmp_path, until_epoch=1)
    second.add(2, {"loss": 20.0})
    second.close()
    assert points(tmp_path, "loss") == {1: 1.0, 2: 20.0}


def test_without_tensorboard_a_sentence_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(MissingExtraError, match="pip install tensorboard"):
        TensorBoardRecord(tmp_path, until_epoch=0)


def test_deeplabcuts_logger_section_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_logger(None) is None
    table = read_logger({"type": "CSVLogger", "train_folder": "", "log_filename": "learning_stats.csv"})
    assert table is not None and table.type == "CSVLogger"
    monkeypatch.setitem(sys.modules, "wandb", sys)  # any module: nothing is called yet
    section = {"type": "WandbLogger", "project_name": "mice", "run_name": "a", "tags": ["x"], "wandb_kwargs": {"a": 1}}
    logger = read_logger(section)
    assert logger is not None and (logger.project_name, logger.wandb_kwargs) == ("mice", {"a": 1, "tags": ["x"]})


@pytest.mark.parametrize(
    ("section", "error", "words"),
    [
        ({"type": "WandBLogger"}, ConfigError, "did you mean WandbLogger"),
        ({"type": "WandbLogger", "run_name": 3}, ConfigError, "logger.run_name: expected str"),
        ({"type": "WandbLogger"}, MissingExtraError, "wandb is not installed; install it with pip install wandb"),
    ],
)
def test_a_logger_that_cannot_be_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: dict[str, Any], error: type[Exception], words: str
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(error, match=words):
        train(DrawnLoader(tmp_path, config=tiny_config() | {"logger": section}), RANDOM, CPU)
    assert not RunFiles(tmp_path).snapshots()


def test_a_run_of_wandb_goes_on_as_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    section = {"type": "WandbLogger", "project_name": "mice", "run_name": "drawn", "dir": str(tmp_path)}
    found = []
    for epochs in (1, 2):
        config = update(tiny_config(), {"train_settings.epochs": epochs}) | {"logger": section}
        train(DrawnLoader(tmp_path / "run", config=config, train=2, test=0), RANDOM, CPU)
        found.append(read_mapping(tmp_path / "run" / "wandb_info.yaml"))
    assert found[0] == found[1] and found[0]["project"] == "mice"
    assert len(list((tmp_path / "wandb").glob(f"offline-run-*-{found[0]['run_id']}"))) >= 1
