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


def backbone(config: dict[str, Any]) -> dict[str, Any]:
    return config["model"]["backbone"]


def heavy(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow) if name.startswith("ctd_coam_w48") else name


def made(name: str, *, keypoints: int = 4, individuals: int = 3) -> dict[str, Any]:
    animals = tuple(f"animal_{i}" for i in range(individuals))
    bodyparts = tuple("abcd"[:keypoints])
    return make_pose_config(
        name, Metadata(project_path="", pose_config_path="", bodyparts=bodyparts, individuals=animals)
    )


@pytest.mark.parametrize("name", [heavy(name) for name in available_models()])
def test_every_documented_model_builds_and_learns_in_all_its_parameters(one_thread: None, name: str) -> None:
    config = made(name, keypoints=3)
    model = build_model(config)
    crop = config["data"]["inference"].get("top_down_crop")
    # The others are built for their crop's size; two small images give batch normalisation something to compare.
    if crop is None or name.startswith("top_down_"):
        images = torch.randn(2, 3, 64, 64)
    else:
        images = torch.randn(1, 3, crop["height"], crop["width"])
    conditions = 32 + 16 * torch.randn(len(images), 3, 3) if model.conditional else None
    maps = model(images, conditions)["bodypart"]
    criterion = head(config)["criterion"]
    assert set(maps) == ({"heatmap"} if "type" in criterion else set(criterion))
    torch.stack([value.square().mean() for value in maps.values()]).sum().backward()
    # HRNet's low-resolution branches of the last stage feed no head that looks at the finest branch alone.
    reached = [n for n, p in model.named_parameters() if p.grad is not None]
    assert {n.split(".")[0] for n in reached} == {n for n, _ in model.named_children()}
    assert all(p.grad is not None for p in model.heads.parameters())
    if config["model"]["backbone"]["type"] in ("ResNet", "DLCRNet", "CSPNeXt") or name.startswith("dekr"):
        assert len(reached) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("resnet_50", lambda c: backbone(c).update(type="ResNett"), ["model.backbone.type", "did you mean ResNet"]),
        ("resnet_50", lambda c: backbone(c).update(output_strid=8), ["output_strid", "did you mean output_stride"]),
        (
            "resnet_50",
            lambda c: backbone(c).update(model_name="resnet50_g"),
            ["model_name", "did you mean resnet50_gn"],
        ),
        ("resnet_50", lambda c: head(c)["heatmap_config"].update(channels=[1024, 4]), ["channels[0]", "write 2048"]),
        ("resnet_50", lambda c: head(c)["heatmap_config"].update(strides=[2, 2]), ["heatmap_config", "do not fit"]),
        ("resnet_50", lambda c: head(c)["locref_config"].update(channels=[2048, 4]), ["locref_config", "write 8"]),
        (
            "resnet_50",
            lambda c: head(c)["locref_config"].update(strides=[4]),
            ["locref_config.strides", "same strides"],
        ),
        ("resnet_50", lambda c: head(c).update(weight_init="norml"), ["weight_init", "did you mean normal"]),
        ("resnet_50", lambda c: head(c).update(weight_init={"type": "normal", "sdt": 1}), ["did you mean std"]),
        ("resnet_50", lambda c: c["model"].update(backbone_output_channels=512), ["output_channels", "write 2048"]),
        ("resnet_50", lambda c: c.pop("model"), ["has no model section"]),
        ("hrnet_w18", lambda c: backbone(c).update(interpolate_branches=True), ["output_channels", "write 270"]),
        ("dlcrnet_ms5", lambda c: backbone(c).update(type="DLCRnet"), ["did you mean DLCRNet"]),
        ("dlcrnet_ms5", lambda c: backbone(c).update(model_name="resnet18"), ["model_name", "use resnet50"]),
        ("dlcrnet_ms5", lambda c: head(c).update(type="DLCRNetHed"), ["did you mean DLCRNetHead"]),
        ("dlcrnet_ms5", lambda c: head(c).update(num_stages=-1), ["num_stages", "write 0"]),
        (
            "dlcrnet_ms5",
            lambda c: head(c)["heatmap_config"].update(channels=[2048, 4]),
            ["heatmap_config", "write 2304"],
        ),
        ("dlcrnet_ms5", lambda c: head(c)["paf_config"].update(channels=[2304, 11]), ["paf_config.channels", "edge"]),
        ("dlcrnet_ms5", lambda c: head(c)["paf_config"].update(strides=[4]), ["paf_config.strides", "same strides"]),
        ("dlcrnet_ms5", lambda c: head(c)["paf_config"].update(channels=[]), ["paf_config.channels", "empty"]),
        ("dekr_w18", lambda c: head(c)["heatmap_config"].update(channels=[18, 18, 5]), ["channels[0]", "write 270"]),
        ("dekr_w18", lambda c: head(c)["heatmap_config"].update(channels=[270, 18, 4]), ["a centre", "write 5"]),
        ("dekr_w18", lambda c: head(c)["offset_config"].update(num_offset_per_kpt=10), ["channels[1]", "write 40"]),
        ("dekr_w18", lambda c: head(c)["offset_config"].update(num_blocks=0), ["num_blocks", "1 or more"]),
        ("dekr_w18", lambda c: head(c)["offset_config"].update(final_conv_kernel=2), ["final_conv_kernel"]),
        ("cspnext_s", lambda c: backbone(c).update(widen_factr=1), ["did you mean widen_factor"]),
        ("cspnext_s", lambda c: backbone(c).update(widen_factor=0.75), ["output_channels", "write 768"]),
        ("cspnext_s", lambda c: backbone(c).update(activation_fn="SiLUU"), ["activation_fn", "did you mean SiLU"]),
    ],
)
def test_a_config_that_does_not_fit_is_named_with_its_key(name: str, edit: Edit, words: list[str]) -> None:
    config = made(name, individuals=1 if name == "resnet_50" else 3)
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
    trunk: Any = model.backbone
    donor = trunk._create(pretrained=False)
    monkeypatch.setattr(type(trunk), "_create", lambda self, *, pretrained: donor)
    assert initialise(model, weights="imagenet") == "resnet10t: starting from ImageNet weights."
    for key, value in trunk.model.state_dict().items():
        assert torch.equal(value, donor.state_dict()[key])

    def unreachable(self: object, *, pretrained: bool) -> torch.nn.Module:
        raise OSError("no address for the hub")

    monkeypatch.setattr(type(trunk), "_create", unreachable)
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
