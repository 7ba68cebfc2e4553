from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_training import DrawnLoader, StoppingLoader, tiny_config
from torch import nn

from rigpose.errors import ConfigError
from rigpose_training.engine.beginning import Start
from rigpose_training.engine.options import TrainingOptions, choose_options
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.engine.stages import pose_stage
from rigpose_training.engine.train import Machine, train
from rigpose_training.models import build_model
from rigpose_training.pose_config.files import update
from rigpose_training.project.shuffle import list_snapshots
from rigpose_training.task import Task

RANDOM = Start(weights="random")
CPU = Machine(device="cpu")
EVERYTHING = {"clip_norm": 0.05, "ema_decay": 0.9, "accumulate": 2, "channels_last": True, "patience": 50}

pytestmark = pytest.mark.usefixtures("one_thread")


def config(epochs: int = 2, **changes: Any) -> dict[str, Any]:
    """The tiny configuration with changes by dotted key (``__`` for a dot)."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return update(tiny_config(), {"train_settings.epochs": epochs} | dotted)


def plain_descent(lr: float, *, batch_size: int) -> dict[str, Any]:
    """No momentum, dropout or batch statistics, and one mean over all cells: a step is its gradient and no more."""
    whole = config(1, train_settings__batch_size=batch_size)
    whole["model"]["backbone"] |= {"drop_path_rate": 0.0, "freeze_bn_stats": True}
    head = whole["model"]["heads"]["bodypart"]
    head["criterion"] = {"heatmap": head["criterion"]["heatmap"]}
    whole["runner"]["optimizer"] = {"type": "SGD", "params": {"lr": lr}}
    return whole


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_snapshot(path)["model"]


def moved(folder: Path, before: dict[str, torch.Tensor]) -> float:
    """How far all trained weights are from ``before`` together."""
    after = weights(list_snapshots(folder)[-1].path)
    trained = [name for name, _ in build_model(tiny_config()).named_parameters()]
    return float(torch.stack([(after[name] - before[name]).square().sum() for name in trained]).sum().sqrt())


def furthest(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return max(float((first[key] - second[key]).abs().max()) for key in first if first[key].is_floating_point())


def first_weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)  # train_settings.seed
    return build_model(tiny_config()).state_dict()


def log(folder: Path) -> str:
    return (folder / "train.txt").read_text()


def test_options_are_off_unless_asked() -> None:
    assert choose_options({}, None) == TrainingOptions()
    assert (
        not any(value for name, value in vars(TrainingOptions()).items() if name != "accumulate")
        and TrainingOptions().accumulate == 1
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ema_decy": 0.9}, "did you mean ema_decay"),
        ({"ema_decay": 1.0}, "ema_decay: 1.0 is no decay"),
        ({"clip_norm": -1}, "clip_norm: -1.0 is too small"),
        ({"accumulate": 0}, "accumulate: 0 is too small; give 1"),
        ({"patience": 1.5}, "patience: expected int"),
    ],
)
def test_a_mistake_in_an_option_is_named(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        train(DrawnLoader(tmp_path, config=config()), RANDOM, CPU, given)
    assert not list_snapshots(tmp_path)


def test_clipped_gradients_move_the_weights_no_further_than_asked(tmp_path: Path) -> None:
    for name, options in (("free", {}), ("clipped", {"clip_norm": 0.01})):
        whole = plain_descent(0.1, batch_size=2)
        train(DrawnLoader(tmp_path / name, config=whole, train=6), RANDOM, CPU, options)
    # Three steps, each as long as the rate times the norm; the sum of many float32 squares has its rounding.
    assert moved(tmp_path / "clipped", first_weights()) <= 3 * 0.1 * 0.01 * 1.001
    assert moved(tmp_path / "free", first_weights()) > 3 * 0.1 * 0.01


def test_two_accumulated_batches_are_one_of_twice_the_size(tmp_path: Path) -> None:
    large = DrawnLoader(tmp_path / "large", config=plain_descent(0.1, batch_size=4), train=8)
    small = DrawnLoader(tmp_path / "small", config=plain_descent(0.1, batch_size=2), train=8)
    half = DrawnLoader(tmp_path / "half", config=plain_descent(0.1, batch_size=2), train=8)
    together, accumulated = train(large, RANDOM, CPU), train(small, RANDOM, CPU, {"accumulate": 2})
    single = train(half, RANDOM, CPU)
    moved_by = furthest(weights(together), first_weights())
    # The same sums in another order.
    assert furthest(weights(together), weights(accumulated)) < 1e-4 * moved_by
    assert furthest(weights(together), weights(single)) > 1e-2 * moved_by


def test_what_is_left_of_an_epoch_is_a_step_too(tmp_path: Path) -> None:
    loader = DrawnLoader(tmp_path, config=plain_descent(0.1, batch_size=2), train=6)
    train(loader, RANDOM, CPU, {"accumulate": 2})
    assert torch.load(tmp_path / "resume.pt", weights_only=True)["progress"]["updates"] == 2


def test_the_mean_of_the_weights_is_what_is_saved_and_tested(tmp_path: Path) -> None:
    loader = DrawnLoader(tmp_path, config=config(3, runner__eval_interval=3))
    path = train(loader, RANDOM, CPU, {"ema_decay": 0.9})
    resume = torch.load(tmp_path / "resume.pt", weights_only=True)
    saved = weights(path)
    assert furthest(saved, resume["averaged"]) == 0 < furthest(saved, resume["model"])
    model = build_model(loader.model_cfg)
    load_weights(model, saved, source=path)
    stage = pose_stage(loader)
    losses, metrics = stage.validation(model, stage.objective(model), 2)(model)
    with (tmp_path / "learning_stats.csv").open() as file:
        recorded = list(csv.DictReader(file))[-1]
    assert losses["total_loss"] == pytest.approx(float(recorded["losses/eval.total_loss"]), rel=1e-6)
    assert metrics["metrics/test.rmse"] == pytest.approx(float(recorded["metrics/test.rmse"]), rel=1e-6)


def test_the_mean_forgets_the_first_weights_soon() -> None:
    from timm.utils.model_ema import ModelEmaV3

    model = nn.Linear(1, 1, bias=False)
    mean = ModelEmaV3(model, decay=0.999, use_warmup=True)
    expected = float(model.weight.detach())
    for step in range(1, 40):
        model.weight.data.fill_(1.0)
        mean.update(model, step=step)
        decay = min(0.999, 1 - (1 + (step - 1)) ** (-2 / 3)) if step > 1 else 0.0
        expected = decay * expected + (1 - decay)
        assert float(mean.module.weight.detach()) == pytest.approx(expected, rel=1e-6)


def test_all_options_together_go_on_exactly_where_they_were_stopped(tmp_path: Path) -> None:
    whole = train(DrawnLoader(tmp_path / "whole", config=config(3), train=9), RANDOM, CPU, EVERYTHING)
    stopping = StoppingLoader(tmp_path / "parts", config=config(3), train=9)
    stopping.stop_at = 12  # in the second batch of the second epoch, half way to a step of the optimiser
    with pytest.raises(KeyboardInterrupt):
        train(stopping, RANDOM, CPU, EVERYTHING)
    assert torch.load(tmp_path / "parts" / "resume.pt", weights_only=True)["progress"]["batches"] == 2
    # Without a word about options: it remembers them.
    parts = train(DrawnLoader(tmp_path / "parts", config=config(3), train=9), RANDOM, CPU)
    assert furthest(weights(whole), weights(parts)) == 0
    assert (tmp_path / "whole" / "learning_stats.csv").read_text() == (
        tmp_path / "parts" / "learning_stats.csv"
    ).read_text()


def test_other_options_than_at_the_beginning_are_used_and_named(tmp_path: Path) -> None:
    train(DrawnLoader(tmp_path, config=config(1)), RANDOM, CPU, {"clip_norm": 1.0, "ema_decay": 0.9})
    train(DrawnLoader(tmp_path, config=config(2)), RANDOM, CPU, {"clip_norm": 0.5})
    assert "begun with other options: clip_norm 1.0 -> 0.5." in log(tmp_path)
    saved = torch.load(tmp_path / "resume.pt", weights_only=True)["options"]
    assert (saved["clip_norm"], saved["ema_decay"]) == (0.5, 0.9)


def test_an_epoch_under_way_starts_again_with_another_batch_size(tmp_path: Path) -> None:
    stopping = StoppingLoader(tmp_path, config=config(1), train=6)
    stopping.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        train(stopping, RANDOM, CPU)
    train(DrawnLoader(tmp_path, config=config(1, train_settings__batch_size=3), train=6), RANDOM, CPU)
    assert "A step has 3 images now and had 2, so epoch 1, which was under way, starts again." in log(tmp_path)


def test_patience_ends_a_training_that_does_not_improve(tmp_path: Path) -> None:
    still = config(9, runner__eval_interval=2, runner__optimizer__params={"lr": 0.0}, runner__scheduler=None)
    still["model"]["backbone"]["freeze_bn_stats"] = True
    path = train(DrawnLoader(tmp_path, config=still), RANDOM, CPU, {"patience": 2})
    # The test of epoch 2 is the best so far, and those of 4 and 6 are no better.
    assert [s.path.name for s in list_snapshots(tmp_path) if s.epoch >= 5] == ["snapshot-005.pt", "snapshot-006.pt"]
    assert path.name == "snapshot-best-002.pt"
    assert "Stopped early after epoch 6" in log(tmp_path)
    assert train(DrawnLoader(tmp_path, config=still), RANDOM, CPU) == path
    assert "because 2 tests brought no gain; give more patience" in log(tmp_path)
    train(DrawnLoader(tmp_path, config=still), RANDOM, CPU, {"patience": 0})
    assert max(s.epoch for s in list_snapshots(tmp_path)) == 9


def test_patience_without_test_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="patience: needs test images"):
        train(DrawnLoader(tmp_path, config=config(1), test=0), RANDOM, CPU, {"patience": 2})


def test_channels_last_changes_the_layout_and_not_the_numbers(tmp_path: Path) -> None:
    paths = [
        train(DrawnLoader(tmp_path / str(last), config=config(1)), RANDOM, CPU, {"channels_last": last})
        for last in (False, True)
    ]
    usual, last = (weights(path) for path in paths)
    key = next(name for name, value in last.items() if value.ndim == 4 and min(value.shape[1:3]) > 1)
    assert last[key].is_contiguous(memory_format=torch.channels_last) and not last[key].is_contiguous()
    assert usual[key].is_contiguous()
    # AdamW's first steps are about the rate of 1e-3 each, whatever the gradient, so a sum in another order that
    # changes the sign of a gradient near zero moves a weight by two of them; three steps.
    assert furthest(usual, last) < 3 * 2e-3


def test_a_plateau_that_looks_the_wrong_way_is_refused(tmp_path: Path) -> None:
    plateau = {"type": "ReduceLROnPlateau", "params": {"patience": 1}}
    with pytest.raises(ConfigError, match=r"params\.mode: must be max for runner\.key_metric"):
        train(DrawnLoader(tmp_path, config=config(1, runner__scheduler=plateau)), RANDOM, CPU)


def test_the_rate_falls_on_a_plateau_and_stays_low_after_a_pause(tmp_path: Path) -> None:
    plateau = {"type": "ReduceLROnPlateau", "params": {"mode": "max", "patience": 0, "factor": 0.5}}
    still = {"runner__scheduler": plateau, "runner__eval_interval": 1, "runner__optimizer__params": {"lr": 1e-6}}
    for epochs in (2, 3):
        train(DrawnLoader(tmp_path, config=config(epochs, **still)), RANDOM, CPU)
    rates = [line.split("lr=")[1].split(")")[0] for line in log(tmp_path).splitlines() if "(lr=" in line]
    assert rates == ["1e-06", "5e-07", "2.5e-07"]


@pytest.mark.slow
def test_a_compiled_network_learns_the_same_under_the_same_names(tmp_path: Path) -> None:
    paths = [
        train(
            DrawnLoader(tmp_path / str(c), config=plain_descent(0.1, batch_size=2)), RANDOM, CPU, {"compile_model": c}
        )
        for c in (False, True)
    ]
    usual, compiled = (weights(path) for path in paths)
    assert list(usual) == list(compiled)
    # Fused kernels round otherwise.
    assert furthest(usual, compiled) < 1e-3 * furthest(usual, first_weights())


def test_the_task_of_a_configuration_is_its_method(tmp_path: Path) -> None:
    assert pose_stage(DrawnLoader(tmp_path)).task is Task.BOTTOM_UP
