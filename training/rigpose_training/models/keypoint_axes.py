"""Where the weights of a network depend on its keypoints: along which axes, and how they are laid out there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from rigpose_training.models.backbones.coam import ChannelAttention, HRNetCoAM, PositionAttention
from rigpose_training.models.backbones.cond_prenet import CondPreNet
from rigpose_training.models.heads.dekr import DEKRHead
from rigpose_training.models.heads.heatmap import Deconvolutions, HeatmapHead
from rigpose_training.models.heads.paf import DLCRNetHead
from rigpose_training.models.heads.simcc import RTMCCHead
from rigpose_training.models.heads.transformer import TransformerHead
from rigpose_training.models.necks import Transformer
from rigpose_training.models.pose_model import PoseModel


@dataclass(frozen=True)
class Part:
    """A run of channels along an axis.

    Attributes:
        of: What it has channels for: each keypoint, each edge of the graph, or none of them in particular.
        width: Channels of one keypoint or edge; of shared ones, all.
    """

    of: Literal["keypoint", "edge", "shared"]
    width: int


Layout = tuple[Part, ...]
Axes = dict[str, dict[int, Layout]]
"""Parameter -> axis -> what lies along it; other axes and parameters do not depend on keypoints."""

KEYPOINT: Layout = (Part("keypoint", 1),)
OFFSET: Layout = (Part("keypoint", 2),)
FIELD: Layout = (Part("edge", 2),)


@dataclass(frozen=True)
class KeypointParameters:
    """What of a network depends on its keypoints.

    Attributes:
        axes: By key of the state dict.
        modules: Key prefixes before the number of a keypoint that has layers of its own there.
    """

    axes: Axes
    modules: tuple[str, ...]


def keypoint_parameters(model: PoseModel) -> KeypointParameters:
    """Those of every part of ``model``; a head's keypoints may also be unique bodyparts or individuals."""
    axes = _under("backbone", BACKBONES.get(type(model.backbone), _nothing)(model.backbone))
    if isinstance(model.neck, Transformer):
        axes["neck.keypoint_token"] = {1: KEYPOINT}
    modules = []
    for name, head in model.heads.items():
        axes |= _under(f"heads.{name}", HEADS[type(head)](head))
        if isinstance(head, DEKRHead):
            modules += [
                f"heads.{name}.offset_head.{layers}." for layers in ("offset_feature_layers", "offset_final_layer")
            ]
    return KeypointParameters(axes, tuple(modules))


def _under(prefix: str, axes: Mapping[str, dict[int, Layout]]) -> Axes:
    return {f"{prefix}.{key}": value for key, value in axes.items()}


def _nothing(_module: nn.Module) -> Axes:
    return {}


def _layer(layer: nn.Module, *, takes: Layout | None = None, gives: Layout | None = None) -> Axes:
    """A convolution's; a transposed one stores its inputs before its outputs."""
    inputs, outputs = (0, 1) if isinstance(layer, nn.ConvTranspose2d) else (1, 0)
    weight = {axis: layout for axis, layout in ((inputs, takes), (outputs, gives)) if layout is not None}
    axes: Axes = {"weight": weight} if weight else {}
    if gives is not None and getattr(layer, "bias", None) is not None:
        axes["bias"] = {0: gives}
    return axes


def _stack(stack: Deconvolutions, *, takes: Layout | None = None, gives: Layout) -> Axes:
    """The first layer takes and the last one gives; what is between is shared by all keypoints."""
    layers = {
        name: layer
        for name, layer in stack.named_modules()
        if isinstance(layer, (nn.ConvTranspose2d, nn.Conv2d))  # the order in which they run
    }
    axes: Axes = {}
    for i, (name, layer) in enumerate(layers.items()):
        first, last = i == 0, i == len(layers) - 1
        axes |= _under(name, _layer(layer, takes=takes if first else None, gives=gives if last else None))
    return axes


def _heatmap(head: HeatmapHead) -> Axes:
    axes = _under("heatmap_head", _stack(head.heatmap_head, gives=KEYPOINT))
    if head.locref_head is not None:
        axes |= _under("locref_head", _stack(head.locref_head, gives=OFFSET))
    return axes


def _dlcrnet(head: DLCRNetHead) -> Axes:
    stage: Layout = (*KEYPOINT, *FIELD, Part("shared", head.config.features_dim))
    refined = head.config.num_stages > 0
    axes = {
        **_under("heatmap_head", _stack(head.heatmap_head, takes=stage if refined else None, gives=KEYPOINT)),
        **_under("locref_head", _stack(head.locref_head, takes=OFFSET if refined else None, gives=OFFSET)),
        **_under("paf_head", _stack(head.paf_head, takes=stage if refined else None, gives=FIELD)),
        **_under("convt1", _layer(head.convt1, gives=KEYPOINT)),
        **_under("convt2", _layer(head.convt2, gives=OFFSET)),
        **_under("convt3", _layer(head.convt3, gives=FIELD)),
    }
    for i, (to_heatmap, to_fields) in enumerate(zip(head.hm_ref_layers, head.paf_ref_layers, strict=True)):
        axes |= _under(f"hm_ref_layers.{i}", _layer(to_heatmap, takes=stage, gives=KEYPOINT))
        axes |= _under(f"paf_ref_layers.{i}", _layer(to_fields, takes=stage, gives=FIELD))
    return axes


def _dekr(head: DEKRHead) -> Axes:
    branches: Layout = (Part("keypoint", head.config.offset_config.num_offset_per_kpt),)
    with_centre: Layout = (*KEYPOINT, Part("shared", 1))
    norm = {name: {0: branches} for name in ("weight", "bias", "running_mean", "running_var")}
    return {
        **_under("heatmap_head.head_heatmap.1", _layer(head.heatmap_head.head_heatmap[1], gives=with_centre)),
        **_under("offset_head.transition_offset.0", _layer(head.offset_head.transition_offset[0], gives=branches)),
        **_under("offset_head.transition_offset.1", norm),
    }


def _simcc(head: RTMCCHead) -> Axes:
    return _under("final_layer", _layer(head.final_layer, gives=KEYPOINT))


def _cond_prenet(backbone: CondPreNet) -> Axes:
    return _under("cond_preNet.0", _layer(backbone.cond_preNet[0], takes=KEYPOINT))


def _coam(backbone: HRNetCoAM) -> Axes:
    axes: Axes = {}
    for name, module in backbone.named_modules():
        if isinstance(module, PositionAttention):
            axes |= _under(f"{name}.cnn_cond", _layer(module.cnn_cond, takes=KEYPOINT, gives=KEYPOINT))
            axes[f"{name}.pa.fc_q.weight"] = {1: KEYPOINT}
        elif isinstance(module, ChannelAttention):
            axes |= _under(f"{name}.cnn_cond", _layer(module.cnn_cond, takes=KEYPOINT))
    return axes


# Every head, so that a new one cannot be forgotten; of backbones, those that look at keypoints.
HEADS: dict[type[Any], Callable[[Any], Axes]] = {
    HeatmapHead: _heatmap,
    DLCRNetHead: _dlcrnet,
    DEKRHead: _dekr,
    RTMCCHead: _simcc,
    TransformerHead: _nothing,  # it treats all tokens alike; they are learned in the neck
}
BACKBONES: dict[type[Any], Callable[[Any], Axes]] = {CondPreNet: _cond_prenet, HRNetCoAM: _coam}
