from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from rigpose.errors import ConfigError
from rigpose_training.losses import CRITERIA, loss_terms, read_objectives
from rigpose_training.targets import HeatmapTarget, Target, heatmap_targets

KEYPOINTS = torch.tensor([[[[20.25, 30.5, 2], [41.0, 9.75, 2]], [[26.0, 33.0, 2], [0.0, 0.0, 0]]]])
OUTPUTS = {
    "heatmap": torch.linspace(-1, 1, 96).reshape(1, 2, 6, 8),
    "locref": torch.linspace(-2, 2, 192).reshape(1, 4, 6, 8),
}
IDENTITY = {
    "type": "HeatmapHead",
    "heatmap_config": {},
    "predictor": {"type": "IdentityPredictor", "apply_sigmoid": True},
    "target_generator": {
        "type": "HeatmapPlateauGenerator",
        "num_heatmaps": 2,
        "pos_dist_thresh": 17,
        "heatmap_mode": "INDIVIDUAL",
        "gradient_masking": False,
        "generate_locref": False,
    },
    "criterion": {"heatmap": {"type": "WeightedBCECriterion", "weight": 1.0}},
}
DEKR = {
    "type": "DEKRHead",
    "target_generator": {"type": "DEKRGenerator", "num_joints": 2, "pos_dist_thresh": 17, "bg_weight": 0.1},
    "criterion": {
        "heatmap": {"type": "DEKRHeatmapLoss", "weight": 1},
        "offset": {"type": "DEKROffsetLoss", "weight": 0.03},
    },
}
SINGLE = {
    "type": "TransformerHead",
    "target_generator": {
        "type": "HeatmapPlateauGenerator",
        "num_heatmaps": 2,
        "pos_dist_thresh": 17,
        "generate_locref": False,
    },
    "criterion": {"type": "WeightedBCECriterion"},
}

RECORDED = {
    "single.resnet_50": 0.540561736,
    "top_down_hrnet_w18": 0.59730345,
    "paf.resnet_50": 0.289563149,
    "paf.hrnet_w18": 0.293336868,
    "dlcrnet_stride32_ms5": 0.308685273,
    "dekr_w18": 0.312468082,
    "rtmpose_s": 0.10307733,
    "ctd_prenet_rtmpose_s": 0.0995424166,
    "animaltokenpose_base": 0.803420544,
}
"""Total losses of DeepLabCut for the recorded maps of these networks, each map divided by its spread."""


def head(**changes: Any) -> dict[str, Any]:
    return {
        "type": "HeatmapHead",
        "heatmap_config": {"channels": [8, 2]},
        "locref_config": {"channels": [8, 4]},
        "target_generator": {"type": "HeatmapGaussianGenerator", "num_heatmaps": 2, "pos_dist_thresh": 17},
        "criterion": {
            "heatmap": {"type": "WeightedMSECriterion", "weight": 1.0},
            "locref": {"type": "WeightedHuberCriterion", "weight": 0.05},
        },
    } | changes


def unique_head() -> dict[str, Any]:
    generator = {"num_heatmaps": 1, "label_keypoint_key": "keypoints_unique"}
    return head(target_generator=head()["target_generator"] | generator)


def criterion(name: str, **parameters: Any) -> Any:
    return CRITERIA[name](name, **parameters)


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
        float(criterion(name)(OUTPUTS[over], targets[over]))
        for name, over in (
            ("WeightedMSECriterion", "heatmap"),
            ("WeightedHuberCriterion", "locref"),
            ("WeightedBCECriterion", "heatmap"),
        )
    ]
    assert found == pytest.approx([mse, huber, bce], rel=1e-5)  # float32 sums in another order


def _squared(o: np.ndarray, t: np.ndarray) -> np.ndarray:
    return (o - t) ** 2


def _huber(o: np.ndarray, t: np.ndarray) -> np.ndarray:
    away = np.abs(o - t)
    return np.where(away < 1, away**2 / 2, away - 0.5)


def _cross_entropy(o: np.ndarray, t: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-o))
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


def _smooth_l1(o: np.ndarray, t: np.ndarray) -> np.ndarray:
    away = np.abs(o - t)
    return np.where(away < 1 / 9, 4.5 * away**2, away - 1 / 18)


@pytest.mark.parametrize(
    ("name", "difference", "over"),
    [
        ("WeightedMSECriterion", _squared, "counted"),
        ("WeightedHuberCriterion", _huber, "counted"),
        ("WeightedBCECriterion", _cross_entropy, "counted"),
        ("DEKROffsetLoss", _smooth_l1, "counted"),
        ("DEKRHeatmapLoss", _squared, "all"),
    ],
)
def test_map_losses_and_their_slopes_follow_their_formulas(name: str, difference: Any, over: str) -> None:
    rng = np.random.default_rng(1)
    shape = (2, 3, 4, 5)
    output, values = rng.normal(0, 1.5, shape), rng.uniform(0, 1, shape)
    weights = rng.uniform(0.1, 1, shape) * (rng.uniform(size=shape) > 0.4)

    def formula(o: np.ndarray) -> float:
        return float((difference(o, values) * weights).sum() / ((weights > 0).sum() if over == "counted" else o.size))

    o = torch.tensor(output, dtype=torch.float32, requires_grad=True)
    target = Target(torch.tensor(values, dtype=torch.float32), torch.tensor(weights, dtype=torch.float32))
    loss = criterion(name)(o, target)
    loss.backward()
    assert loss.item() == pytest.approx(formula(output), rel=1e-5)  # 120 terms in float32
    step = 1e-5 * rng.choice([-1, 1], shape)  # along a random direction
    assert o.grad is not None
    slope = (formula(output + step) - formula(output - step)) / 2
    assert float((o.grad * torch.tensor(step)).sum()) == pytest.approx(slope, rel=1e-3)  # float32 gradients


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"beta": 10.0, "label_softmax": True},
        {"mask": (1, 3), "mask_weight": 0.3, "use_target_weight": False},
    ],
)
def test_the_divergence_follows_its_formula(parameters: dict[str, Any]) -> None:
    rng = np.random.default_rng(2)
    output, values, weights = rng.normal(size=(3, 4, 20)), rng.uniform(size=(3, 4, 20)), np.array([1, 1, 0, 1.0])
    found = criterion("KLDiscreteLoss", **parameters)(
        torch.tensor(output),
        Target(torch.tensor(values).float(), torch.tensor(weights).float().expand(3, 4)[..., None]),
    )
    each = np.zeros((3, 4))
    for b, k in np.ndindex(3, 4):
        q = np.exp(parameters.get("beta", 1.0) * output[b, k])
        p = np.exp(10 * values[b, k]) if "label_softmax" in parameters else values[b, k]
        p = p / p.sum() if "label_softmax" in parameters else p
        each[b, k] = np.mean(p * (np.log(p) - np.log(q / q.sum())))
    each *= [1, 0.3, 1, 0.3] if "mask" in parameters else weights
    assert float(found) == pytest.approx(each.sum() / 4, rel=1e-5)  # float32


def test_the_divergence_equals_the_recorded_one_of_deeplabcut() -> None:
    output = torch.linspace(-1, 1, 40).reshape(2, 2, 10)
    target = Target(torch.linspace(0, 1, 40).reshape(2, 2, 10).flip(0), torch.tensor([[[1.0], [0.0]], [[1.0], [1.0]]]))
    loss = criterion("KLDiscreteLoss", beta=10.0, label_softmax=True)
    assert float(loss(output, target)) == pytest.approx(0.024664033204317093, rel=1e-5)


def test_one_weight_for_all_cells_is_the_same_as_a_map_of_it() -> None:
    values = torch.rand(2, 3, 4, 5)
    for name in ("WeightedMSECriterion", "DEKRHeatmapLoss"):
        one = criterion(name)(torch.zeros(2, 3, 4, 5), Target(values, torch.ones(1, 1, 1, 1)))
        many = criterion(name)(torch.zeros(2, 3, 4, 5), Target(values, torch.ones(2, 3, 4, 5)))
        assert float(one) == pytest.approx(float(many), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in CRITERIA if name != "KLDiscreteLoss"])
def test_nothing_to_learn_gives_zero_and_not_nan(name: str) -> None:
    target = Target(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert float(criterion(name)(torch.zeros(1, 1, 2, 2), target)) == 0.0


def test_half_precision_outputs_are_summed_in_float32() -> None:
    target = Target(torch.zeros(1, 1, 400, 400), torch.ones(1, 1, 400, 400))
    output = torch.ones(1, 1, 400, 400, dtype=torch.float16)  # the sum, 160000, is beyond float16
    assert float(criterion("WeightedMSECriterion")(output, target)) == pytest.approx(1.0)


@pytest.mark.parametrize("section", [head(), DEKR], ids=["heatmap", "dekr"])
def test_autocast_around_the_losses_changes_nothing(section: dict[str, Any]) -> None:
    objectives = read_objectives({"bodypart": section}, {"bodypart": 8.0})
    outputs = {"bodypart": OUTPUTS | {"heatmap": torch.ones(1, 3 if section is DEKR else 2, 6, 8)}}
    outputs["bodypart"]["offset"] = OUTPUTS["locref"]
    labels = {"keypoints": KEYPOINTS, "area": torch.tensor([[900.0, 400.0]])}
    expected = loss_terms(objectives, outputs, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss_terms(objectives, outputs, labels)
    assert found == expected and found["total_loss"].dtype == torch.float32


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


def test_a_single_criterion_is_the_total_without_a_weight() -> None:
    objectives = read_objectives({"bodypart": SINGLE}, {"bodypart": 8.0})
    terms = loss_terms(objectives, {"bodypart": {"heatmap": OUTPUTS["heatmap"]}}, {"keypoints": KEYPOINTS})
    assert set(terms) == {"bodypart_total_loss", "total_loss"}
    assert float(terms["total_loss"]) == pytest.approx(0.765247106552124, rel=1e-5)  # recorded, as above


def test_identity_maps_beside_dekr_show_the_centres_too() -> None:
    labels = {
        "keypoints": torch.tensor([[[[8.0, 20.0, 2], [56.0, 20.0, 2]], [[0, 0, 0], [0, 0, 0]]]]),
        "individual_ids": torch.tensor([[0, -1]]),
        "area": torch.ones(1, 2),
    }
    outputs = {"bodypart": {"heatmap": torch.zeros(1, 3, 6, 8), "offset": torch.zeros(1, 4, 6, 8)}}
    strides = {"bodypart": 8.0, "identity": 8.0}
    for heads, sign in (({"identity": IDENTITY}, 1), ({"bodypart": DEKR, "identity": IDENTITY}, -1)):
        objectives, losses = read_objectives(heads, strides), []
        for logit in (-30.0, 30.0):
            heatmap = torch.zeros(1, 2, 6, 8)
            heatmap[0, 0, 2, 4] = logit  # the cell beside the centre, 32, 20
            terms = loss_terms(objectives, outputs | {"identity": {"heatmap": heatmap}}, labels)
            losses.append(float(terms["identity_heatmap"]))
        # A logit of 30 costs 30 in one of 48 cells where the centre is not drawn, and one of -30 where it is.
        assert (losses[1] - losses[0]) * 48 == pytest.approx(30 * sign, rel=1e-4)


@pytest.mark.parametrize("extra", [{}, {"unique_bodypart": unique_head(), "identity": IDENTITY}], ids=["alone", "all"])
def test_every_documented_head_is_read(golden: Path, extra: dict[str, Any]) -> None:
    names = []
    for path in sorted((golden / "networks").glob("*.yaml")):
        heads = yaml.safe_load(path.read_text())["model"]["heads"] | extra
        objectives = read_objectives(heads, dict.fromkeys(heads, 4.0))
        for name, section in heads.items():
            criteria = section["criterion"]
            assert set(objectives[name].weights) == (set() if "type" in criteria else set(criteria)), path.name
        names.append(path.stem)
    assert len(names) >= 25


@pytest.mark.parametrize(("network", "expected"), RECORDED.items())
def test_documented_networks_have_the_recorded_losses_of_deeplabcut(
    golden: Path, network: str, expected: float
) -> None:
    files = golden / "networks" / network
    heads = yaml.safe_load(files.with_name(f"{network}.yaml").read_text())["model"]["heads"]
    about = json.loads(files.with_name(f"{network}.json").read_text())
    recorded = np.load(files.with_name(f"{network}.npz"))
    maps = {key.rpartition(".")[2]: torch.tensor(recorded[key]).float() for key in recorded if "output." in key}
    maps = {name: (values / values.std()).requires_grad_() for name, values in maps.items()}
    batch, _, height, width = about["input"]
    animals = 3 if network.startswith(("paf", "dlcrnet", "dekr")) else 1
    rng = np.random.default_rng(0)
    keypoints = np.full((batch, animals, 4, 3), 2.0)
    keypoints[..., :2] = rng.uniform(0, [width, height], (batch, animals, 4, 2))
    keypoints[0, 0, 1] = 0
    labels = {
        "keypoints": torch.tensor(keypoints, dtype=torch.float32),
        "area": torch.tensor(rng.uniform(200, 2000, (batch, animals)), dtype=torch.float32),
    }
    terms = loss_terms(read_objectives(heads, about["strides"]), {"bodypart": maps}, labels)
    assert terms["total_loss"].item() == pytest.approx(expected, rel=1e-5)  # float32 sums in another order
    terms["total_loss"].backward()
    for name, values in maps.items():
        assert values.grad is not None and values.grad.isfinite().all() and values.grad.any(), name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"criterion": {"heatmap": {"type": "WeightedMSECriterium"}}}, "did you mean WeightedMSECriterion"),
        ({"criterion": {"heatmaps": {"type": "WeightedMSECriterion"}}}, "did you mean heatmap"),
        ({"criterion": {"paf": {"type": "WeightedMSECriterion"}}}, "the head gives no such map but heatmap, locref"),
        ({"criterion": {"heatmap": {"type": "WeightedMSECriterion", "beta": 1}}}, "heatmap.beta: unknown key"),
        ({"criterion": {"heatmap": "WeightedMSECriterion"}}, "expected a mapping with type and weight"),
        ({"criterion": {"heatmap": {"type": "WeightedMSECriterion", "weight": "much"}}}, "weight: expected float"),
        ({"criterion": {"type": "WeightedMSECriterion"}}, "write one criterion under the name of each map"),
        ({"criterion": None}, "missing"),
        ({"locref_config": None}, "locref: the head gives no such map but heatmap"),
        ({"type": "HeatmpHead"}, "did you mean HeatmapHead"),
        ({"aggregator": {"type": "WeightedLossAgregator"}}, "did you mean WeightedLossAggregator"),
        ({"aggregator": {"type": "WeightedLossAggregator", "weights": {"heatmap": 2}}}, "differ from the weights"),
        ({"target_generator": {"type": "HeatmapGausianGenerator"}}, "did you mean HeatmapGaussianGenerator"),
        ({"target_generator": None}, "None is none of"),
        (
            {"target_generator": head()["target_generator"] | {"generate_locref": False}},
            "locref: has no target; in target_generator, set generate_locref to true",
        ),
        (
            {"target_generator": {"type": "SequentialGenerator", "generators": [head()["target_generator"]] * 2}},
            "two of them draw heatmap, locref",
        ),
        (
            {
                "target_generator": {
                    "type": "SequentialGenerator",
                    "generators": [{"type": "PartAfinityFieldGenerator"}],
                }
            },
            r"generators\[0\].type: .* did you mean PartAffinityFieldGenerator",
        ),
    ],
)
def test_a_mistake_in_a_head_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_objectives({"bodypart": head(**changes)}, {"bodypart": 8.0})


def test_a_single_criterion_has_nothing_to_weigh_or_aggregate() -> None:
    with pytest.raises(ConfigError, match="aggregator: has nothing to aggregate"):
        read_objectives({"a": SINGLE | {"aggregator": {"type": "WeightedLossAggregator"}}}, {"a": 8.0})
    with pytest.raises(ConfigError, match=r"criterion\.weight: unknown key"):
        read_objectives({"a": SINGLE | {"criterion": {"type": "WeightedBCECriterion", "weight": 2}}}, {"a": 8.0})
