from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rigpose.errors import ConfigError
from rigpose_training import available_models, build_model
from rigpose_training.models.weights import initialise
from rigpose_training.pose_config.templates import Metadata, make_pose_config
from rigpose_training.spec import model_spec
from rigpose_training.torch_session import torch_analyzer

Edit = Callable[[dict[str, Any]], None]


def head(config: dict[str, Any]) -> dict[str, Any]:
    return config["model"]["heads"]["bodypart"]


@pytest.mark.parametrize("name", available_models())
def test_every_documented_model_builds_and_learns_in_all_its_parameters(name: str) -> None:
    config = make_pose_config(name, Metadata(project_path="", pose_config_path="", bodyparts=("a", "b", "c")))
    model = build_model(config)
    maps = model(torch.randn(2, 3, 64, 64))["bodypart"]
    assert maps["heatmap"].shape[:2] == (2, 3) and maps["locref"].shape[:2] == (2, 6)
    (maps["heatmap"].square().mean() + maps["locref"].square().mean()).backward()
    # HRNet's low-resolution branches of the last stage feed no head of a single-animal model.
    reached = [n for n, p in model.named_parameters() if p.grad is not None]
    assert {n.split(".")[0] for n in reached} == {"backbone", "heads"}
    assert all(p.grad is not None for p in model.heads.parameters())
    if name.startswith("resnet"):
        assert len(reached) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c["model"]["backbone"].update(type="ResNett"), ["model.backbone.type", "did you mean ResNet"]),
        (lambda c: c["model"]["backbone"].update(output_strid=8), ["output_strid", "did you mean output_stride"]),
        (lambda c: c["model"]["backbone"].update(model_name="resnet50_g"), ["model_name", "did you mean resnet50_gn"]),
        (lambda c: head(c)["heatmap_config"].update(channels=[1024, 4]), ["heatmap_config.channels[0]", "write 2048"]),
        (lambda c: head(c)["heatmap_config"].update(strides=[2, 2]), ["heatmap_config", "do not fit"]),
        (lambda c: head(c)["locref_config"].update(channels=[2048, 4]), ["locref_config.channels", "write 8"]),
        (lambda c: head(c)["locref_config"].update(strides=[4]), ["locref_config.strides", "same strides"]),
        (lambda c: head(c).update(weight_init="norml"), ["weight_init", "use normal"]),
        (lambda c: c.pop("model"), ["has no model section"]),
    ],
)
def test_a_config_that_does_not_fit_is_named_with_its_key(edit: Edit, words: list[str]) -> None:
    config = make_pose_config(
        "resnet_50", Metadata(project_path="", pose_config_path="", bodyparts=("a", "b", "c", "d"))
    )
    edit(config)
    with pytest.raises(ConfigError) as caught:
        build_model(config)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c["data"]["inference"].update(hflip=True), ["data.inference.hflip", "data.train"]),
        (lambda c: c["data"]["inference"].update(top_down_crop={"width": 9}), ["top_down_crop"]),
        (
            lambda c: c["data"]["inference"].update(auto_padding={"pad_width_divisor": 32, "pad_height_divisor": 16}),
            ["auto_padding", "same divisor"],
        ),
        (lambda c: c["model"]["heads"].update(identity={}), ["identity"]),
        (lambda c: head(c)["predictor"].update(type="HeatmapPredicter"), ["did you mean HeatmapPredictor"]),
    ],
)
def test_an_inference_step_that_cannot_be_is_refused(tiny_config: dict[str, Any], edit: Edit, words: list[str]) -> None:
    config = copy.deepcopy(tiny_config)
    edit(config)
    with pytest.raises(ConfigError) as caught:
        model_spec(config)
    for word in words:
        assert word in str(caught.value)


def test_random_weights_are_said_and_imagenet_weights_come_from_timms_cache_or_not_at_all(
    tiny_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(tiny_config)
    assert "random weights, as asked" in initialise(model, weights="random")

    # The hub is the one thing a test cannot have: a random timm network stands in for the downloaded one.
    backbone: Any = model.backbone
    donor = backbone._create(pretrained=False)
    monkeypatch.setattr(type(backbone), "_create", lambda self, *, pretrained: donor)
    assert "starting from ImageNet weights" in initialise(model, weights="imagenet")
    for key, value in backbone.model.state_dict().items():
        assert torch.equal(value, donor.state_dict()[key])

    def unreachable(self: object, *, pretrained: bool) -> torch.nn.Module:
        raise OSError("no address for the hub")

    monkeypatch.setattr(type(backbone), "_create", unreachable)
    said = initialise(model, weights="imagenet")
    assert "RANDOM WEIGHTS" in said and "no address for the hub" in said
    with pytest.raises(ConfigError, match="neither imagenet nor random"):
        initialise(model, weights="imagnet")  # pyright: ignore[reportArgumentType]


def test_the_graph_normalises_bgr_frames_as_rgb(tiny_config: dict[str, Any]) -> None:
    """A frame through the analyzer's graph equals the same picture normalised by hand, in RGB."""
    model = build_model(tiny_config).eval()
    frame = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    session: Any = torch_analyzer(model, tiny_config).session
    found = session.graph.normalise(torch.from_numpy(frame[None]))[0].numpy()
    rgb = frame[..., ::-1].astype(np.float64) / 255
    expected = ((rgb - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
