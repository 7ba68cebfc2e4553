from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from drawn_training import DrawnLoader, tiny_config

from rigpose.errors import RigposeError, TrainingError
from rigpose_training.data.batches import EpochOrder
from rigpose_training.engine.beginning import Start
from rigpose_training.engine.launch import gpus_to_share, launch
from rigpose_training.engine.runner_config import RunnerSection, choose_device
from rigpose_training.engine.snapshots import read_snapshot
from rigpose_training.engine.train import Machine, train
from rigpose_training.pose_config.files import read_pose_config, update, write_pose_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import list_snapshots
from rigpose_training.scene.project import write_project

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
PATHS = os.pathsep.join(str(ROOT / name) for name in ("runtime", "training", "export", "tests"))
ENVIRONMENT = os.environ | {"PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}

Weights = dict[str, torch.Tensor]


def config(epochs: int = 1, *, batch_size: int = 2, **changes: Any) -> dict[str, Any]:
    """Without dropout and batch statistics, and with one criterion, whose mean over two images is that of one each."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    settings = {"train_settings.epochs": epochs, "train_settings.batch_size": batch_size}
    whole = update(tiny_config(), settings | dotted)
    whole["model"]["backbone"] |= {"drop_path_rate": 0.0, "freeze_bn_stats": True}
    head = whole["model"]["heads"]["bodypart"]
    head["criterion"] = {"heatmap": head["criterion"]["heatmap"]}
    whole["runner"]["optimizer"] = {"type": "SGD", "params": {"lr": 0.1}}
    return whole


def torchrun(folder: Path, *, processes: int = 2, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Train together in a folder; the settings are those of ``trained_together.py``."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += [str(TESTS / "trained_together.py"), str(folder), json.dumps(settings)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300)


def ended_with(folder: Path, rank: int) -> Weights:
    return torch.load(folder.with_name(f"{folder.name}-{rank}") / "ended-with.pt", weights_only=True)


def saved(folder: Path) -> Weights:
    return read_snapshot(list_snapshots(folder)[-1].path)["model"]


def furthest(first: Weights, second: Weights) -> float:
    return max(float((first[key] - second[key]).abs().max()) for key in first if first[key].is_floating_point())


def first_weights() -> Weights:
    from rigpose_training.models import build_model

    torch.manual_seed(1)  # train_settings.seed
    return build_model(config()).state_dict()


@pytest.mark.parametrize(("length", "processes"), [(12, 3), (13, 3), (2, 5)])
def test_every_image_has_a_process_and_none_has_two(length: int, processes: int) -> None:
    orders = [EpochOrder(length, seed=4, rank=rank, processes=processes) for rank in range(processes)]
    for order in orders:
        order.epoch = 7
    shares = [list(order) for order in orders]
    assert {len(share) for share in shares} == {len(orders[0])}
    together = [index for step in zip(*shares, strict=True) for index in step]
    alone = EpochOrder(length, seed=4)
    alone.epoch = 7
    # Step by step the images of one process with larger batches, and then the first ones again.
    assert together[:length] == list(alone)
    assert together[length:] == np.resize(list(alone), len(together) - length).tolist()


def test_two_processes_are_one_with_twice_the_batch(tmp_path: Path) -> None:
    done = torchrun(tmp_path / "two", config=config(2, runner__eval_interval=1), images=8)
    assert done.returncode == 0, done.stderr
    first, second = (ended_with(tmp_path / "two", rank) for rank in (0, 1))
    assert furthest(first, second) == 0
    alone = DrawnLoader(tmp_path / "one", config=config(2, batch_size=4, runner__eval_interval=1), train=8)
    train(alone, Start(weights="random"), Machine(device="cpu"))
    moved = furthest(saved(tmp_path / "one"), first_weights())
    # The same sums in another order, a few steps on end.
    assert furthest(saved(tmp_path / "two"), saved(tmp_path / "one")) < 1e-4 * moved
    tables = [pd.read_csv(tmp_path / name / "learning_stats.csv") for name in ("one", "two")]
    pd.testing.assert_frame_equal(tables[0], tables[1], rtol=1e-3)
    # What one process leaves, and nothing of a second one.
    left = {path.name for path in (tmp_path / "one").iterdir() if path.suffix != ".png" or "curve" in path.name}
    assert {path.name for path in (tmp_path / "two").iterdir()} == left
    log = (tmp_path / "two" / "train.txt").read_text()
    assert log.count("Epoch 1/2") == 1 and "2 processes train together" in log
    assert done.stderr.count("Epoch 1/2") == 1


@pytest.mark.slow
def test_ctrl_c_in_one_process_stops_all_and_they_go_on_exactly(tmp_path: Path) -> None:
    dropout = config(2)
    dropout["model"]["backbone"] |= {"drop_path_rate": 0.2, "freeze_bn_stats": False}
    options = {"accumulate": 2, "ema_decay": 0.9}
    whole = torchrun(tmp_path / "whole", config=dropout, images=15, options=options)
    assert whole.returncode == 0, whole.stderr
    # Process 1 is stopped in the second batch of the second epoch; the leader hears of it.
    stopped = torchrun(tmp_path / "parts", config=dropout, images=15, options=options, stops={"1": 11})
    assert stopped.returncode != 0 and "Stopped in epoch 2 of 2" in stopped.stderr
    assert torch.load(tmp_path / "parts" / "resume.pt", weights_only=True)["progress"]["batches"] == 2
    assert torchrun(tmp_path / "parts", config=dropout, images=15).returncode == 0
    assert furthest(saved(tmp_path / "whole"), saved(tmp_path / "parts")) == 0
    tables = [(tmp_path / name / "learning_stats.csv").read_text() for name in ("whole", "parts")]
    assert tables[0] == tables[1]
    # One process can go on with what two began, though not with the same numbers.
    alone = DrawnLoader(tmp_path / "parts", config=config(3), train=15)
    train(alone, Start(weights="random"), Machine(device="cpu"))
    assert "1 processes go on with what 2 began" in (tmp_path / "parts" / "train.txt").read_text()


def project(folder: Path) -> Path:
    """A drawn project with a small top-down network, for training that starts its own processes."""
    write_project(folder, labelled_frames=6, size=(64, 64), animals=2)
    create_training_dataset(folder, net_type="top_down_resnet_50", detector_type="ssdlite")
    (path,) = folder.rglob("pytorch_config.yaml")
    small = read_pose_config(path)
    small["model"]["backbone"]["model_name"] = "test_resnet"
    small["model"]["backbone_output_channels"] = 96
    for section in ("heatmap_config", "locref_config"):
        small["model"]["heads"]["bodypart"][section]["channels"][0] = 96
    write_pose_config(path, small)
    return folder / "config.yaml"


@pytest.mark.slow
def test_training_starts_its_own_processes_and_hands_back_what_they_say(tmp_path: Path) -> None:
    call: dict[str, Any] = {"config": project(tmp_path / "lab"), "device": "cpu", "weights": "random"}
    call |= {"epochs": 1, "batch_size": 2, "detector_epochs": 1, "detector_batch_size": 1, "eval_interval": 1}
    path = launch(call, processes=2)
    assert path.name == "snapshot-best-001.pt"
    assert len(list_snapshots(path.parent, prefix="snapshot-detector")) == 1
    # The detector and then the poses, in the same processes.
    assert (path.parent / "train.txt").read_text().count("2 processes train together") == 2
    with pytest.raises(TrainingError, match=r"train_settings\.batch_size: 0 is too small"):
        launch(call | {"batch_size": 0}, processes=2)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of another process")
def test_ctrl_c_reaches_the_processes_that_training_started(tmp_path: Path) -> None:
    call: dict[str, Any] = {
        "config": str(project(tmp_path / "lab")),
        "device": "cpu",
        "weights": "random",
        "epochs": 500,
    }
    call |= {"detector_epochs": 0}
    program = f"from rigpose_training.engine.launch import launch; launch({call!r}, processes=2)"
    with subprocess.Popen(
        [sys.executable, "-c", program], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    ) as parent:
        folder = next((tmp_path / "lab").rglob("pytorch_config.yaml")).parent
        while parent.poll() is None and "Epoch 1/" not in text(folder / "train.txt"):
            time.sleep(0.1)
        parent.send_signal(signal.SIGINT)
        said = parent.communicate(timeout=120)[1]
    assert parent.returncode != 0 and "KeyboardInterrupt" in said
    assert "everything is saved, and the same command goes on" in text(folder / "train.txt")
    assert torch.load(folder / "resume.pt", weights_only=True)["progress"]["epoch"] < 500


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_who_shares_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    several = {"runner": {"gpus": [2, 3]}, "device": "auto"}
    assert gpus_to_share(several, "cuda") == [2, 3]
    assert gpus_to_share(several, "cpu") == gpus_to_share(several, "cuda:1") == []
    assert gpus_to_share({"runner": {"gpus": [2]}}, "cuda") == gpus_to_share({"runner": {}}, "cuda") == []
    with pytest.raises(TrainingError, match="start this script with torchrun --nproc-per-node 2"):
        train(
            DrawnLoader(tmp_path, config=config() | several | {"runner": config()["runner"] | several["runner"]}),
            Start(weights="random"),
            Machine(device="cuda"),
        )
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert gpus_to_share(several, "cuda") == []
    with pytest.raises(RigposeError, match=r"runner.gpus: \[2, 3\] are fewer than the processes"):
        choose_device("cuda", several, RunnerSection({}, gpus=[2, 3]))
