"""What the golden outputs cannot show of DLCRNet, DEKR and first weights: gradients, training, edits of the file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.transforms.functional import resize

from rigpose.errors import ConfigError
from rigpose_training import build_model
from rigpose_training.models.backbones import build_backbone, dlcrnet
from rigpose_training.models.heads import build_head
from rigpose_training.models.heads.dekr import AdaptBlock, DEKROffset, DEKROffsetConfig
from rigpose_training.models.heads.initialisation import initialise_head
from rigpose_training.models.weights import initialise

DECONVOLUTION = {"kernel_size": [3], "strides": [2]}


def paf_head(num_stages: int) -> nn.Module:
    section = {
        "type": "DLCRNetHead",
        "predictor": {},
        "num_stages": num_stages,
        "heatmap_config": {"channels": [16, 3], **DECONVOLUTION},
        "locref_config": {"channels": [16, 6], **DECONVOLUTION},
        "paf_config": {"channels": [16, 4], **DECONVOLUTION},
    }
    return build_head(section, in_channels=16, where="model.heads.bodypart")


def test_without_stages_the_maps_come_from_the_features_at_half_the_resolution() -> None:
    features = torch.randn(2, 16, 5, 7)
    plain, staged = paf_head(0), paf_head(2)
    assert (plain.stride, staged.stride) == (2, 4)
    # A kernel 3 with stride 2 takes n cells to 2n + 1; the stages double them before.
    assert {k: tuple(v.shape) for k, v in plain(features).items()} == {
        "heatmap": (2, 3, 11, 15), "locref": (2, 6, 11, 15), "paf": (2, 4, 11, 15),
    }  # fmt: skip
    assert staged(features)["paf"].shape == (2, 4, 21, 29)
    # DeepLabCut keeps the layers that it does not run, and its snapshots with them.
    assert {key.split(".")[0] for key in plain.state_dict()} == {
        "heatmap_head", "locref_head", "paf_head", "convt1", "convt2", "convt3", "convt4",
    }  # fmt: skip
    assert staged.state_dict()["heatmap_head.deconv_layers.0.weight"].shape[0] == 128 + 3 + 4
    assert staged.state_dict()["locref_head.deconv_layers.0.weight"].shape[0] == 6


def test_every_stage_changes_what_comes_out() -> None:
    head: Any = paf_head(3)
    features = torch.randn(1, 16, 4, 4)
    with torch.no_grad():
        before = {name: value.clone() for name, value in head(features).items()}
        for layers in (head.hm_ref_layers, head.paf_ref_layers):
            for layer in layers:
                keep = layer.weight.clone()
                layer.weight.zero_()
                assert not torch.equal(head(features)["heatmap"], before["heatmap"])
                layer.weight.copy_(keep)
        assert torch.equal(head(features)["paf"], before["paf"])


def test_dlcrnets_banks_learn_from_its_trunk_and_do_not_teach_it() -> None:
    backbone: Any = build_backbone({"type": "DLCRNet", "model_name": "resnet50", "output_stride": 16}, where="model")
    assert (backbone.freeze_bn_stats, backbone.freeze_bn_weights) == (True, True)
    features = backbone(torch.randn(1, 3, 64, 64))
    assert features.shape[1] == backbone.out_channels == 2304
    banks = 2 * dlcrnet.BANK_CHANNELS
    features[:, :banks].sum().backward(retain_graph=True)
    assert not any(p.grad is not None and p.grad.any() for p in backbone.model.parameters())
    assert all(p.grad.any() for n, p in backbone.named_parameters() if n.startswith("conv_block"))
    features[:, banks:].sum().backward()
    assert backbone.model.conv1.weight.grad.any()


@pytest.mark.parametrize(
    ("cells", "resized"), [((7, 11), (8, 12)), ((15, 9), (8, 5)), ((3, 20), (7, 6)), ((1, 1), (2, 2))]
)
def test_the_banks_are_resized_as_torchvision_does(cells: tuple[int, int], resized: tuple[int, int]) -> None:
    maps = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (2, 3, *cells)).astype(np.float32))
    found = dlcrnet._resize(maps, *resized)
    # A few roundings of values of about 1.
    torch.testing.assert_close(found, resize(maps, list(resized), antialias=True), atol=3e-6, rtol=0)


def one_by_one(head: DEKROffset, features: torch.Tensor) -> torch.Tensor:
    """The branches as the paper draws them: keypoint after keypoint, block after block, tap by tap."""
    features = head.transition_offset(features)
    width = features.shape[1] // head.keypoints
    offsets: list[torch.Tensor] = []
    for keypoint, branch in enumerate(head.offset_feature_layers):
        part = features[:, keypoint * width : (keypoint + 1) * width]
        for block in branch:  # pyright: ignore[reportGeneralTypeIssues]
            assert isinstance(block, AdaptBlock)
            matrix, shift = block.transform_matrix_conv(part), block.translation_conv(part)
            moved = []
            for y, x in block.regular_matrix.T:
                moved.append(matrix[:, 0] * y + matrix[:, 1] * x - y + shift[:, 0])
                moved.append(matrix[:, 2] * y + matrix[:, 3] * x - x + shift[:, 1])
            part = functional.relu(block.bn(block.adapt_conv(part, torch.stack(moved, 1))) + part)
        offsets.append(head.offset_final_layer[keypoint](part))
    return torch.cat(offsets, dim=1)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("dilation", "kernel"), [(1, 1), (2, 3)])
def test_dekrs_branches_side_by_side_equal_one_after_another(
    one_thread: None, dilation: int, kernel: int, mode: str
) -> None:
    torch.manual_seed(0)
    training = mode == "train"
    config = DEKROffsetConfig((12, 15, 3), 5, dilation_rate=dilation, final_conv_kernel=kernel)
    # In float64, so that a sampling point beside a cell's edge does not decide about the comparison.
    batched, looped = DEKROffset(config).double().train(training), DEKROffset(config).double().train(training)
    for parameter in batched.parameters():
        nn.init.normal_(parameter, std=0.3)
    looped.load_state_dict(batched.state_dict())
    features = torch.randn(2, 12, 6, 9, dtype=torch.float64)
    found, expected = batched(features), one_by_one(looped, features)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    for (name, one), other in zip(batched.named_parameters(), looped.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    for key, value in batched.state_dict().items():
        torch.testing.assert_close(value, looped.state_dict()[key], msg=key)
    trained = batched.state_dict()["offset_feature_layers.2.1.bn.num_batches_tracked"]
    assert int(trained) == int(training)


def test_dekr_trains_in_half_precision_though_its_sampling_has_none(one_thread: None) -> None:
    torch.manual_seed(0)
    head = DEKROffset(DEKROffsetConfig((12, 15, 3), 5))
    with torch.autocast("cpu", torch.bfloat16):
        offsets = head(torch.randn(2, 12, 6, 9))
    offsets.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in head.parameters())


def test_first_weights_are_drawn_as_the_head_says() -> None:
    torch.manual_seed(0)
    head = DEKROffset(DEKROffsetConfig((64, 60, 4)))
    initialise_head(head, "dekr", where="head")
    state = head.state_dict()
    # 64 x 60 draws: their standard deviation is known to about 1 %.
    assert float(state["transition_offset.0.weight"].std()) == pytest.approx(0.001, rel=0.05)
    assert torch.all(state["transition_offset.1.weight"] == 1)
    assert float(state["offset_feature_layers.3.1.adapt_conv.weight"].std()) == pytest.approx(0.001, rel=0.1)
    for key in ("transform_matrix_conv.weight", "transform_matrix_conv.bias", "translation_conv.weight"):
        assert torch.all(state[f"offset_feature_layers.3.1.{key}"] == 0)

    initialise_head(head, {"type": "Normal", "std": 0.5}, where="head")
    state = head.state_dict()
    assert float(state["offset_feature_layers.0.0.transform_matrix_conv.weight"].std()) == pytest.approx(0.5, rel=0.2)
    assert torch.all(state["offset_final_layer.0.bias"] == 0)

    layers = nn.Sequential(nn.Conv2d(16, 64, 3), nn.Linear(64, 64, bias=False), nn.BatchNorm2d(3))
    initialise_head(layers, "RTMPose", where="head")
    spreads = [float(p.detach().std()) for p in layers.parameters() if p.ndim > 1]
    assert spreads == pytest.approx([0.001, 0.01], rel=0.05)
    before = [p.clone() for p in layers.parameters()]
    initialise_head(layers, None, where="head")
    assert all(torch.equal(a, b) for a, b in zip(before, layers.parameters(), strict=True))

    with pytest.raises(ConfigError, match=r"head\.weight_init: 'dekrr' is none of normal, dekr, rtmpose; did you mean"):
        initialise_head(layers, "dekrr", where="head")


def test_layers_without_imagenet_weights_stay_random_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    section = {"type": "DLCRNet", "model_name": "resnet50", "output_stride": 32}
    heads = {
        "bodypart": {"type": "HeatmapHead", "predictor": {}, "heatmap_config": {"channels": [2304, 2]} | DECONVOLUTION}
    }
    config = {"model": {"backbone": section, "backbone_output_channels": 2304, "heads": heads}}
    model: Any = build_model(config)
    donor = model.backbone._create(pretrained=False)
    monkeypatch.setattr(type(model.backbone), "_create", lambda self, *, pretrained: donor)
    banks = {k: v.clone() for k, v in model.backbone.state_dict().items() if k.startswith("conv_block")}
    said = initialise(model)
    # Five blocks of a convolution with bias and a normalisation: 2 + 5 entries each.
    assert (
        said
        == f"resnet50: starting from ImageNet weights, except 35 of its {len(model.backbone.state_dict())} tensors."
    )
    for key, value in model.backbone.state_dict().items():
        expected = banks[key] if key in banks else donor.state_dict()[key.removeprefix("model.")]
        assert torch.equal(value, expected), key
