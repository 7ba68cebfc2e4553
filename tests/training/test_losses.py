from __future__ import annotations

from typing import Any

import pytest
import torch

from rigpose.errors import ConfigError
from rigpose_training.losses import CRITERIA, loss_terms, read_objectives, weighted_mean
from rigpose_training.targets import HeatmapTarget, Target, heatmap_targets

KEYPOINTS = torch.tensor([[[[20.25, 30.5, 2], [41.0, 9.75, 2]], [[26.0, 33.0, 2], [0.0, 0.0, 0]]]])
OUTPUTS = {
    "heatmap": torch.linspace(-1, 1, 96).reshape(1, 2, 6, 8),
    "locref": torch.linspace(-2, 2, 192).reshape(1, 4, 6, 8),
}


def head(**changes: Any) -> dict[str, Any]:
    return {
        "target_generator": {"type": "HeatmapGaussianGenerator", "num_heatmaps": 2, "pos_dist_thresh": 17},
        "criterion": {
            "heatmap": {"type": "WeightedMSECriterion", "weight": 1.0},
            "locref": {"type": "WeightedHuberCriterion", "weight": 0.05},
        },
    } | changes


@pytest.mark.parametrize(
    ("kind", "mse", "huber", "bce"),
    [
        ("HeatmapGaussianGenerator", 0.5329349040985107, 1.051308274269104, 0.7596336007118225),
        ("HeatmapPlateauGenerator", 0.7036183476448059, 1.0047677755355835, 0.765247106552124),
    ],
)
def test_losses_equal_the_recorded_ones_of_deeplabcut(kind: Any, mse: float, huber: float, bce: float) -> None:
    config = HeatmapTarget(type=kind, num_heatmaps=2, pos_dist_thresh=17)
    targets = heatmap_targets(config, OUTPUTS, {"keypoints": KEYPOINTS}, 8.0)
    found = [
        float(weighted_mean(CRITERIA[name], OUTPUTS[over], targets[over]))
        for name, over in (
            ("WeightedMSECriterion", "heatmap"),
            ("WeightedHuberCriterion", "locref"),
            ("WeightedBCECriterion", "heatmap"),
        )
    ]
    assert found == pytest.approx([mse, huber, bce], rel=1e-5)  # float32 sums in another order


def test_the_total_is_the_mean_of_the_weighted_terms_as_recorded() -> None:
    objectives = read_objectives({"bodypart": head()}, {"bodypart": 8.0})
    terms = loss_terms(objectives, {"bodypart": OUTPUTS}, {"keypoints": KEYPOINTS})
    assert set(terms) == {"bodypart_heatmap", "bodypart_locref", "bodypart_total_loss", "total_loss"}
    assert float(terms["total_loss"]) == pytest.approx(0.29275014996528625, rel=1e-5)


def test_the_total_of_two_heads_is_their_mean() -> None:
    objectives = read_objectives({"a": head(), "b": head()}, {"a": 8.0, "b": 8.0})
    zeros = {name: torch.zeros_like(value) for name, value in OUTPUTS.items()}
    terms = loss_terms(objectives, {"a": OUTPUTS, "b": zeros}, {"keypoints": KEYPOINTS})
    assert float(terms["total_loss"]) == pytest.approx(float(terms["a_total_loss"] + terms["b_total_loss"]) / 2)


def test_nothing_to_learn_gives_zero_and_not_nan() -> None:
    target = Target(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert float(weighted_mean(CRITERIA["WeightedMSECriterion"], torch.zeros(1, 1, 2, 2), target)) == 0.0


def test_half_precision_outputs_are_summed_in_float32() -> None:
    target = Target(torch.zeros(1, 1, 400, 400), torch.ones(1, 1, 400, 400))
    output = torch.ones(1, 1, 400, 400, dtype=torch.float16)  # the sum, 160000, is beyond float16
    assert float(weighted_mean(CRITERIA["WeightedMSECriterion"], output, target)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"criterion": {"heatmap": {"type": "WeightedMSECriterium"}}}, "did you mean WeightedMSECriterion"),
        ({"criterion": {"heatmaps": {"type": "WeightedMSECriterion"}}}, "did you mean heatmap"),
        ({"criterion": None}, "missing"),
        ({"target_generator": {"type": "HeatmapGausianGenerator"}}, "did you mean HeatmapGaussianGenerator"),
        ({"target_generator": None}, "None is none of"),
    ],
)
def test_a_mistake_in_a_head_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_objectives({"bodypart": head(**changes)}, {"bodypart": 8.0})
