from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch.optim import Optimizer

from rigpose.errors import ConfigError
from rigpose_training.engine.schedule import build_optimizer, build_scheduler, step_schedule


def optimizer(**params: Any) -> Optimizer:
    return build_optimizer({"type": "AdamW", "params": {"lr": 5e-4} | params}, [torch.nn.Parameter(torch.zeros(1))])


def rates(section: dict[str, Any], epochs: int) -> list[float]:
    """The learning rate of each epoch, from the first."""
    adam = optimizer(lr=1e-3)
    scheduler = build_scheduler(section, adam)
    assert scheduler is not None
    seen = []
    for _ in range(epochs):
        seen.append(adam.param_groups[0]["lr"])
        adam.step()
        scheduler.step()
    return seen


def test_the_list_schedule_changes_after_as_many_epochs_as_its_milestones() -> None:
    section = {"type": "LRListScheduler", "params": {"milestones": [2, 4], "lr_list": [[1e-4], [1e-5]]}}
    assert rates(section, 6) == [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]


def test_sequential_warm_up_and_cosine_follow_the_sections_inside() -> None:
    section = {
        "type": "SequentialLR",
        "params": {
            "schedulers": [
                {"type": "LinearLR", "params": {"start_factor": 0.1, "end_factor": 1.0, "total_iters": 2}},
                {"type": "CosineAnnealingLR", "params": {"T_max": 10, "eta_min": 5e-5}},
            ],
            "milestones": [4],
        },
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's own SequentialLR steps in a way torch deprecates
        found = rates(section, 14)
    assert found[:4] == pytest.approx([1e-4, 5.5e-4, 1e-3, 1e-3])
    assert found[9] == pytest.approx((1e-3 + 5e-5) / 2)


def test_a_schedule_goes_on_from_its_saved_state() -> None:
    section = {"type": "LRListScheduler", "params": {"milestones": [2], "lr_list": [[1e-4]]}}
    first = optimizer()
    scheduler = build_scheduler(section, first)
    assert scheduler is not None
    first.step()
    scheduler.step()
    second = optimizer()
    again = build_scheduler(section, second)
    assert again is not None
    again.load_state_dict(scheduler.state_dict())
    second.step()
    again.step()
    assert second.param_groups[0]["lr"] == 1e-4


def test_the_kernel_that_steps_is_no_part_of_a_snapshot() -> None:
    torch.manual_seed(0)
    parts = [torch.nn.Parameter(torch.randn(50)) for _ in range(2)]
    plain = torch.nn.Parameter(parts[0].detach().clone())
    ours, theirs = build_optimizer({"type": "AdamW"}, parts), torch.optim.AdamW([plain, parts[1]])
    for _ in range(3):
        for parameter in (*parts, plain):
            parameter.grad = parameter.detach() ** 2
        ours.step()
        theirs.step()
    assert ours.param_groups[0]["fused"] is True
    assert ours.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]
    # A step is at most 1e-3 long and in float32.
    torch.testing.assert_close(parts[0], plain, rtol=0, atol=1e-6)
    ours.load_state_dict(theirs.state_dict())
    assert ours.param_groups[0]["fused"] is True


def test_no_schedule_is_none() -> None:
    assert build_scheduler(None, optimizer()) is None


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"type": "AdamV", "params": {}}, "did you mean Adam"),
        ({"type": "AdamW", "params": {"learning_rate": 1}}, "runner.optimizer.params: AdamW refuses them"),
        ({"type": "AdamW", "params": {"lr": -1.0}}, "refuses them"),
        ({"params": {}}, "torch has no None"),
    ],
)
def test_a_mistake_in_the_optimiser_is_named(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_optimizer(section, [torch.nn.Parameter(torch.zeros(1))])


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"type": "LRListSchedular", "params": {}}, "torch has no 'LRListSchedular'"),
        ({"type": "LRListScheduler", "params": {"milestones": [1, 2], "lr_list": [[1e-4]]}}, "as many entries"),
        ({"type": "LRListScheduler", "params": {"milestones": [1], "lr_list": [[1e-4, 1e-5]]}}, "1 learning rate"),
        ({"type": "StepLR", "params": {"step": 1}}, "runner.scheduler.params: StepLR refuses them"),
    ],
)
def test_a_mistake_in_the_scheduler_is_named(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_scheduler(section, optimizer())


def test_a_plateau_lowers_the_rate_after_tests_alone() -> None:
    section = {"type": "ReduceLROnPlateau", "params": {"mode": "max", "factor": 0.1, "patience": 1}}
    trained = optimizer()
    scheduler = build_scheduler(section, trained)
    before = trained.param_groups[0]["lr"]
    for key_metric in (50.0, math.nan, math.nan, math.nan, 40.0):
        step_schedule(scheduler, key_metric)
    assert trained.param_groups[0]["lr"] == before
    step_schedule(scheduler, 45.0)  # the second test that is no better than 50
    assert trained.param_groups[0]["lr"] == pytest.approx(0.1 * before)
