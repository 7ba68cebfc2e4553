"""The typed float16 graph: which node has which type, and what rounding costs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from detectors_with_boxes import MOBILENET
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torchvision.ops import FrozenBatchNorm2d
from traced_graphs import (
    PRODUCTS,
    float_types,
    graph,
    inputs_of,
    is_network,
    run,
    scope,
    value_types,
)

from rigpose.arrays import Array
from rigpose.errors import BundleError
from rigpose_export.graphs.half_precision import to_fp16
from rigpose_export.graphs.half_rounding import with_half_rounding
from rigpose_export.graphs.regions import fold_batch_normalisation

SLOW = pytest.mark.slow
POSES = [
    "resnet_50",
    "dekr_w18",
    "top_down_resnet_50",
    "rtmpose_s",
    pytest.param("tokenpose_base", marks=SLOW),
    "ctd_prenet_hrnet_w32",
    pytest.param("ctd_coam_w32", marks=SLOW),
]
DETECTORS = ["ssdlite", pytest.param(MOBILENET, marks=SLOW)]
# Casts down and up. The image goes down once, and what the last products read goes up once, so that the rest are
# islands: two norms, a power and its product (RTMPose), norms and Softmax (TokenPose, CoAM), means of squeeze and
# excitation (MobileNet).
CASTS = {
    "resnet_50": (1, 2),
    "dekr_w18": (2, 5),
    "top_down_resnet_50": (1, 1),
    "rtmpose_s": (4, 6),
    "tokenpose_base": (19, 25),
    "ctd_prenet_hrnet_w32": (2, 1),
    "ctd_coam_w32": (8, 13),
    "ssdlite": (9, 20),
    MOBILENET: (10, 13),
}
# Products of the network that stay in float32: those that give maps, bins, boxes or classes, what makes DEKR's two
# grids of samples, and the product with the squared kernel of RTMPose's attention.
SINGLE = {
    "resnet_50": 3,
    "dekr_w18": 2 + 2,
    "top_down_resnet_50": 2,
    "rtmpose_s": 2 + 1,
    "tokenpose_base": 1,
    "ctd_prenet_hrnet_w32": 2,
    "ctd_coam_w32": 2,
    "ssdlite": 12,
    MOBILENET: 8,
}
FRAGILE = {"Softmax", "LayerNormalization", "ReduceMean", "ReduceL2", "Pow", "GridSample", "DeformConv"}
# The bound for keypoints; a cell, the smallest jump to another peak, is 1 px or more.
PIXELS = 0.1


@pytest.mark.parametrize("name", [*POSES, *DETECTORS])
def test_the_networks_products_are_half_and_nothing_outside_is(name: str) -> None:
    single, half = graph(name), to_fp16(graph(name))
    types = value_types(half)
    products = [node for node in half.graph.node if node.op_type in PRODUCTS and is_network(node)]
    in_half = [node for node in products if float_types(node, types) == {TensorProto.FLOAT16}]
    assert len(products) == sum(node.op_type in PRODUCTS and is_network(node) for node in single.graph.node)
    assert len(products) - len(in_half) == SINGLE[name]
    for node in half.graph.node:
        takes, gives = float_types(node, types), float_types(node, types, of="output")
        if node.op_type == "Resize":  # its scales are float32 in any precision
            takes = {types[node.input[0]]}
        if node.op_type != "Cast":
            assert len(takes | gives) <= 1, f"{node.name} mixes types"
        if (not is_network(node) and scope(node) is not None) or node.op_type in FRAGILE:
            assert TensorProto.FLOAT16 not in takes | gives, node.name
    assert [onnx.helper.printable_value_info(v) for v in (*half.graph.input, *half.graph.output)] == [
        onnx.helper.printable_value_info(v) for v in (*single.graph.input, *single.graph.output)
    ]
    assert half.metadata_props == single.metadata_props and single.metadata_props
    assert half.ByteSize() < 0.7 * single.ByteSize()


@pytest.mark.parametrize("name", [*POSES, *DETECTORS])
def test_casts_are_few_and_at_edges_only(name: str) -> None:
    half = to_fp16(graph(name))
    types = value_types(half)
    makers = {value: node for node in half.graph.node for value in node.output}
    casts = [
        node
        for node in half.graph.node
        if node.op_type == "Cast" and {types[node.input[0]], types[node.output[0]]} == {1, TensorProto.FLOAT16}
    ]
    down = [node for node in casts if types[node.output[0]] == TensorProto.FLOAT16]
    print(name, *(f"{node.name}: {makers[node.input[0]].op_type}" for node in casts), sep="\n  ")
    assert (len(down), len(casts) - len(down)) == CASTS[name]
    assert not any(makers[node.input[0]] in casts for node in casts), "one value goes down and up again"
    assert max(Counter((node.input[0], types[node.output[0]]) for node in casts).values()) == 1
    for node in down:
        readers = [other for other in half.graph.node if node.output[0] in other.input]
        assert readers and all(other.op_type != "Cast" for other in readers)


@pytest.mark.parametrize("name", POSES)
def test_keypoints_hardly_move(name: str) -> None:
    """In true float16 arithmetic, and over keypoints of any score: under random weights it is no confidence.

    Random heatmaps also have cells that are as good as another to 11 bits. A keypoint that jumps to one has moved by
    a pixel or more; that may happen to one in twenty.
    """
    single = graph(name)
    half = to_fp16(single)
    feeds = inputs_of(single, batch=8)
    expected, found = run(single, feeds), run(with_half_rounding(half), feeds)
    moved = np.abs(places(found) - places(expected)).max(axis=-1)
    assert moved.size >= 32 and np.isfinite(moved).all()
    assert (moved >= 1).mean() <= 0.05
    assert np.quantile(moved[moved < 1], 0.99) <= PIXELS
    assert any((found[key] != expected[key]).any() for key in expected), "half precision rounds"
    as_it_is = run(half, feeds)
    assert all(value.dtype == expected[key].dtype and np.isfinite(value).all() for key, value in as_it_is.items())


@pytest.mark.parametrize("name", DETECTORS)
def test_boxes_hardly_move(name: str) -> None:
    single = graph(name)
    feeds = inputs_of(single, batch=2)
    expected, found = run(single, feeds), run(with_half_rounding(to_fp16(single)), feeds)
    for frame in range(2):
        sure = expected["scores"][frame] > np.median(expected["scores"][frame])
        kept = found["scores"][frame] > 0  # a suppressed box stays where it is, with a score of 0
        apart = np.abs(expected["boxes"][frame, sure, None] - found["boxes"][frame, kept][None]).max(axis=-1)
        near = apart.min(axis=1) <= PIXELS
        # A suppression is a matter of a threshold, and one that turns out otherwise takes or leaves a whole box.
        assert (~near).mean() <= 0.05
        changed = found["scores"][frame, kept][apart.argmin(axis=1)] - expected["scores"][frame, sure]
        assert 0 < np.abs(changed[near]).max() < 0.01, "cutoffs are said with two digits"


def places(found: dict[str, Array]) -> Array:
    """(N, 2) x, y of all candidates of a pose graph [px]."""
    name = next(name for name in ("keypoints", "peaks", "poses") if name in found)
    return found[name][..., :2].reshape(-1, 2)


def check_far_places(half: onnx.ModelProto) -> None:
    """Peaks of a frame that is 4160 px wide, beyond 2048 px where float16 has every second pixel."""
    single = graph("resnet_50")
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 4160, 3), dtype=np.uint8)
    expected, found = (places(run(model, {"frames": noise})) for model in (single, half))
    far = expected[:, 0] > 2048
    assert far.sum() >= 5
    same = np.abs(found - expected).max(axis=-1) < 5  # a peak as good as another, elsewhere
    assert same[far].mean() >= 0.7
    np.testing.assert_allclose(found[far & same], expected[far & same], rtol=0, atol=PIXELS)


def test_far_places_keep_their_pixels() -> None:
    check_far_places(with_half_rounding(to_fp16(graph("resnet_50"))))


def test_a_decoder_in_half_precision_would_be_found_out() -> None:
    half = to_fp16(graph("resnet_50"))
    types = value_types(half)
    nodes = list(half.graph.node)
    del half.graph.node[:]
    for node in nodes:
        exact = [v for v in node.output if scope(node) == "dense" and types[v] == 1 and node.op_type in ("Add", "Mul")]
        node.output[:] = [f"{value}_before" if value in exact else value for value in node.output]
        half.graph.node.append(node)
        for value in exact:
            down = helper.make_node("Cast", [f"{value}_before"], [f"{value}_half"], to=TensorProto.FLOAT16)
            half.graph.node.extend([down, helper.make_node("Cast", [f"{value}_half"], [value], to=TensorProto.FLOAT)])
    with pytest.raises(AssertionError):
        check_far_places(with_half_rounding(half))


def test_a_constant_of_both_regions_is_there_twice() -> None:
    single, half = graph("resnet_50"), to_fp16(graph("resnet_50"))
    read: dict[str, set[bool]] = {}
    for node in single.graph.node:
        for value in node.input:
            read.setdefault(value, set()).add(is_network(node))
    floats = {constant.name for constant in single.graph.initializer if constant.data_type == TensorProto.FLOAT}
    shared = {name for name in floats if read[name] == {True, False}}
    kept = {constant.name for constant in half.graph.initializer}
    assert shared and all({name, f"{name}_half"} <= kept for name in shared)


def test_what_float16_does_not_hold_stays_with_half_rounding() -> None:
    single = graph("top_down_resnet_50")
    first, second = [node for node in single.graph.node if node.op_type == "Conv"][:2]
    for constant in single.graph.initializer:
        # 1e7 times a weight is beyond 65504; 1e-7 times one has a bit or two left.
        factor = {first.input[1]: 1e7, second.input[1]: 1e-7}.get(constant.name)
        if factor is not None:
            scaled = numpy_helper.to_array(constant) * np.float32(factor)
            constant.CopyFrom(numpy_helper.from_array(scaled, constant.name))
    half = to_fp16(single)
    types = value_types(half)
    products = [node for node in half.graph.node if node.op_type in PRODUCTS and is_network(node)]
    kept = [node.name for node in products if float_types(node, types) == {TensorProto.FLOAT}]
    assert len(kept) == 2 + SINGLE["top_down_resnet_50"] and kept[:2] == [first.name, second.name]


def test_a_squared_kernel_beyond_float16_is_none() -> None:
    """RTMPose squares its attention's logits: 1000 of them, which float16 holds, are 1e6, which it does not."""
    single = graph("rtmpose_s")
    power = next(node for node in single.graph.node if node.op_type == "Pow")
    feeds = inputs_of(single, batch=8)
    for constant in single.graph.initializer:
        if constant.name.endswith("gau.beta"):  # of queries and keys: 8 products of 20 and 20, by the root of 8
            constant.CopyFrom(numpy_helper.from_array(np.full(tuple(constant.dims), 20, np.float32), constant.name))
    assert run(with_output(single, power.output[0]), feeds)[power.output[0]].max() > 2 * 65504
    assert np.isfinite(run(with_half_rounding(to_fp16(single)), feeds)["keypoints"]).all()


def with_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return watched


def test_a_normalisation_that_the_exporter_left_goes_into_its_convolution() -> None:
    single, half = graph("dekr_w18"), to_fp16(graph("dekr_w18"))
    norms = [[n for n in m.graph.node if n.op_type == "BatchNormalization"] for m in (single, half)]
    makers = {value: node.op_type for node in single.graph.node for value in node.output}
    assert "Conv" in {makers[node.input[0]] for node in norms[0]}
    assert len(norms[1]) == sum(makers[node.input[0]] != "Conv" for node in norms[0])


def test_a_frozen_normalisation_goes_into_its_convolution_too() -> None:
    rng = torch.Generator().manual_seed(0)
    norms = [FrozenBatchNorm2d(4), FrozenBatchNorm2d(4)]
    for buffer in [buffer for norm in norms for buffer in norm.buffers()]:
        buffer.copy_(torch.rand(4, generator=rng) + 0.5)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), norms[0], nn.ReLU(), norms[1], nn.Conv2d(4, 4, 1)).eval()
    program = torch.onnx.export(layers, (torch.rand(1, 3, 9, 9, generator=rng),), dynamo=True, verbose=False)
    assert program is not None
    model, x = program.model_proto, np.random.default_rng(0).normal(size=(1, 3, 9, 9)).astype(np.float32)
    name = model.graph.input[0].name
    (expected,) = run(model, {name: x}).values()
    fold_batch_normalisation(model)
    # The second one follows no convolution.
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "Mul", "Add", "Conv"]
    np.testing.assert_allclose(next(iter(run(model, {name: x}).values())), expected, rtol=0, atol=1e-5)


def test_a_graph_without_modules_is_refused() -> None:
    single = graph("top_down_resnet_50")
    for node in single.graph.node:
        del node.metadata_props[:]
    with pytest.raises(BundleError, match="which nodes are the network's"):
        to_fp16(single)


def test_the_graph_that_was_given_is_not_changed() -> None:
    single = graph("dekr_w18")
    to_fp16(single)
    assert single == graph("dekr_w18")
