from __future__ import annotations

import csv
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_training import DrawnLoader, StoppingLoader, tiny_config

from rigpose.errors import TrainingError
from rigpose_training.engine.beginning import Start
from rigpose_training.engine.snapshots import read_snapshot
from rigpose_training.engine.step import choose_precision, freeze_bn_weights, training_mode
from rigpose_training.engine.train import Machine, train
from rigpose_training.models import build_model
from rigpose_training.project.shuffle import list_snapshots

RANDOM = Start(weights="random")
CPU = Machine(device="cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


def config(epochs: int = 2, **changes: Any) -> dict[str, Any]:
    """The tiny configuration with changes by dotted key (``__`` for a dot)."""
    whole = tiny_config()
    whole["train_settings"]["epochs"] = epochs
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        section = whole
        for name in parents:
            section = section[name]
        section[last] = value
    return whole


def weights(folder: Path, epoch: int) -> dict[str, torch.Tensor]:
    return read_snapshot(folder / f"snapshot-{epoch:03}.pt")["model"]


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[key], second[key]) for key in first)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "learning_stats.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_in_two_parts_gives_the_weights_of_one_run(tmp_path: Path) -> None:
    train(DrawnLoader(tmp_path / "whole", config=config(4)), RANDOM, CPU)
    for epochs in (2, 4):
        train(DrawnLoader(tmp_path / "parts", config=config(epochs)), RANDOM, CPU)
    assert not equal(weights(tmp_path / "whole", 2), weights(tmp_path / "whole", 4))
    assert equal(weights(tmp_path / "whole", 4), weights(tmp_path / "parts", 4))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


@pytest.mark.parametrize("stop_at", [3, 5, 8])  # in the first epoch, at its last item, in the second one
def test_ctrl_c_saves_a_state_from_which_training_goes_on_exactly(tmp_path: Path, stop_at: int) -> None:
    train(DrawnLoader(tmp_path / "whole", config=config(2)), RANDOM, CPU)
    loader = StoppingLoader(tmp_path / "parts", config=config(2))
    loader.stop_at = stop_at
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(loader, RANDOM, CPU)
    assert signal.getsignal(signal.SIGINT) is before
    assert "the same command goes on" in (tmp_path / "parts" / "train.txt").read_text()
    train(DrawnLoader(tmp_path / "parts", config=config(2)), RANDOM, CPU)
    assert equal(weights(tmp_path / "whole", 2), weights(tmp_path / "parts", 2))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


def test_training_learns_and_the_table_says_so(tmp_path: Path) -> None:
    path = train(DrawnLoader(tmp_path, config=config(8, runner__eval_interval=4)), RANDOM, CPU)
    table = rows(tmp_path)
    assert [row["step"] for row in table] == [str(epoch) for epoch in range(1, 9)]
    step, *columns = table[0]
    assert step == "step" and columns == sorted(columns)
    losses = [float(row["losses/train.total_loss"]) for row in table]
    assert losses[-1] < 0.5 * losses[0]
    assert table[0]["metrics/test.rmse"] == "" and float(table[3]["metrics/test.rmse"]) > 0
    assert float(table[7]["losses/eval.total_loss"]) > 0
    assert path.name.startswith("snapshot-best-")
    text = (tmp_path / "train.txt").read_text()
    assert "Epoch 8/8" in text and "metrics/test.mAP" in text


def test_a_loss_that_is_no_number_stops_and_leaves_the_last_good_snapshot(tmp_path: Path) -> None:
    explode = {"type": "LRListScheduler", "params": {"milestones": [1], "lr_list": [[1e30]]}}
    loader = DrawnLoader(tmp_path, config=config(3, runner__scheduler=explode))
    with pytest.raises(TrainingError, match=r"epoch 2 on .*train\d.png.*lower the learning rate"):
        train(loader, RANDOM, CPU)
    assert [snapshot.epoch for snapshot in list_snapshots(tmp_path)] == [1]
    assert all(torch.isfinite(value).all() for value in weights(tmp_path, 1).values())


def test_frozen_statistics_stay_and_others_move(tmp_path: Path) -> None:
    for name, frozen in (("frozen", True), ("free", False)):
        changed = config(1, model__backbone__freeze_bn_stats=frozen)
        train(DrawnLoader(tmp_path / name, config=changed), RANDOM, CPU)
        means = [v for k, v in weights(tmp_path / name, 1).items() if k.endswith("running_mean")]
        assert all(bool((mean == 0).all()) is frozen for mean in means)


def test_frozen_normalisation_weights_do_not_learn() -> None:
    model = build_model(config(model__backbone__freeze_bn_stats=True, model__backbone__freeze_bn_weights=True))
    freeze_bn_weights(model)
    training_mode(model)
    kinds = {
        (type(module).__name__.startswith("BatchNorm"), module.training, module.weight.requires_grad)
        for module in model.modules()
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.Conv2d))
    }
    assert kinds == {(True, False, False), (False, True, True)}


def test_bfloat16_trains_on_a_cpu_to_nearly_the_same_loss(tmp_path: Path) -> None:
    train(DrawnLoader(tmp_path / "full", config=config(1)), RANDOM, CPU)
    train(DrawnLoader(tmp_path / "half", config=config(1)), RANDOM, Machine(device="cpu", amp="bf16"))
    full, half = (float(rows(tmp_path / name)[0]["losses/train.total_loss"]) for name in ("full", "half"))
    assert full != half
    assert half == pytest.approx(full, rel=0.1)  # bfloat16 has eight bits; three steps of a fresh network
    assert all(value.dtype != torch.bfloat16 for value in weights(tmp_path / "half", 1).values())


def test_precision_is_what_was_asked_for() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) is None
    assert choose_precision("off", cpu) is None
    assert choose_precision("bf16", cpu) is torch.bfloat16
    with pytest.raises(TrainingError, match="needs a CUDA device"):
        choose_precision("fp16", cpu)


def test_the_snapshot_holds_plain_numbers_and_tensors(tmp_path: Path) -> None:
    train(DrawnLoader(tmp_path, config=config(1, runner__eval_interval=1)), RANDOM, CPU)
    content = torch.load(list_snapshots(tmp_path)[-1].path, weights_only=True)
    assert set(content) == {"metadata", "model", "scheduler"}
    assert set(content["metadata"]) == {"epoch", "metrics", "losses"}
    numbers = [*content["metadata"]["metrics"].values(), *content["metadata"]["losses"].values()]
    assert numbers and all(type(number) is float for number in numbers)
    assert not any(isinstance(value, np.generic) for value in content["scheduler"].values())


@pytest.mark.gpu
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_half_precision_learns_on_a_gpu(tmp_path: Path, amp: Any) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    train(DrawnLoader(tmp_path, config=config(8)), RANDOM, Machine(device="cuda", amp=amp, workers=2))
    losses = [float(row["losses/train.total_loss"]) for row in rows(tmp_path)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_progress_shows_a_running_mean_of_the_loss(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(DrawnLoader(tmp_path, config=config(3, train_settings__display_iters=1)), RANDOM, CPU)
    said = capfd.readouterr().err
    losses = [float(found) for found in re.findall(r"Number of iterations: \d+, loss: ([\d.]+)", said)]
    shown = re.search(r"^training: (\d+)/\1 images, [\d.]+/s, loss ([\d.]+)$", said, re.MULTILINE)
    assert len(losses) > 3 and shown
    assert min(losses) < float(shown[2]) < max(losses)
