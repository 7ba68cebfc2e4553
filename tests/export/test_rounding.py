"""Weights are rounded so that what convolutions give stays near, and so that no processor's sums overflow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from rigpose.arrays import Array
from rigpose.sessions.processor import Processor
from rigpose_export.graphs import rounding
from rigpose_export.graphs.rounding import PAIR, Integers, rounded_weights

CHANNELS, SIDE = 16, 24


def convolution(folder: Path, weight: Array, **attributes: Any) -> onnx.ModelProto:
    node = helper.make_node("Conv", ["maps", "weight"], ["found"], "convolution", **attributes)
    shapes = {"maps": [None, weight.shape[1] * attributes.get("group", 1), None, None], "found": None}
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    drawn = helper.make_graph(
        [node], "one", tensors[:1], tensors[1:], [numpy_helper.from_array(weight.astype(np.float32), "weight")]
    )
    model = helper.make_model(drawn, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, folder / "one.onnx")
    return model


def smooth_maps(seed: int, *, count: int = 2) -> Array:
    """Maps whose channels and neighbours resemble each other, as in networks, and that are never below 0."""
    random = np.random.default_rng(seed)
    few = random.normal(size=(count, 3, SIDE // 4, SIDE // 4)).repeat(4, axis=2).repeat(4, axis=3)
    mixed = np.einsum("bfhw,fc->bchw", few, np.random.default_rng(1).normal(size=(3, CHANNELS)))
    return (mixed + 0.1 * random.normal(size=mixed.shape)).clip(min=0).astype(np.float32)


def convolved(model: onnx.ModelProto, weight: Array, maps: Array) -> Array:
    changed = onnx.load_from_string(model.SerializeToString())
    changed.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight.astype(np.float32), "weight"))
    session = onnxruntime.InferenceSession(changed.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"maps": maps})[0])


def of(integers: Integers) -> Array:
    return integers.values * integers.steps.reshape(-1, 1, 1, 1)


def rounded(model: onnx.ModelProto, maps: Sequence[Array], *, signed: bool = False) -> dict[str, Integers]:
    return rounded_weights(model, ["convolution"], [{"maps": each} for each in maps], signed=signed)


@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        (1, {}),
        (3, {"pads": [1, 1, 1, 1]}),
        (3, {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
        (3, {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
    ],
)
def test_errors_cancel_in_what_a_convolution_gives(kernel: int, attributes: dict[str, Any], tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(8, CHANNELS, kernel, kernel)).astype(np.float32)
    model = convolution(tmp_path, weight, **attributes)
    integers = rounded(model, [smooth_maps(2), smooth_maps(3)])["weight"]
    maps = smooth_maps(4)
    expected = convolved(model, weight, maps)
    plain = np.round(weight / integers.steps.reshape(-1, 1, 1, 1)) * integers.steps.reshape(-1, 1, 1, 1)
    cancelled, nearest = (np.abs(convolved(model, w, maps) - expected).std() for w in (of(integers), plain))
    assert cancelled < 0.6 * nearest
    assert np.abs(of(integers) - weight).max() > np.abs(plain - weight).max(), "each by itself is further away"


def test_a_wide_kernel_is_rounded_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix of all of RTMPose's last inputs would take gigabytes, and minutes to factor."""
    weight = np.random.default_rng(0).normal(size=(8, CHANNELS, 3, 3)).astype(np.float32)
    model = convolution(tmp_path, weight, pads=[1, 1, 1, 1])
    whole = rounded(model, [smooth_maps(2)])["weight"]
    sizes, factor = [], rounding._carry
    monkeypatch.setattr(rounding, "TOGETHER", 6 * 9 + 5)
    monkeypatch.setattr(rounding, "_carry", lambda products: sizes.append(len(products)) or factor(products))
    integers = rounded(model, [smooth_maps(2)])["weight"]
    assert sizes == [6 * 9, 6 * 9, 4 * 9]
    np.testing.assert_array_equal(integers.steps, whole.steps)
    expected = convolved(model, weight, smooth_maps(4))
    plain = np.round(weight / integers.steps.reshape(-1, 1, 1, 1)) * integers.steps.reshape(-1, 1, 1, 1)
    apart, together, nearest = (
        np.abs(convolved(model, w, smooth_maps(4)) - expected).std() for w in (of(integers), of(whole), plain)
    )
    assert together < apart < 0.8 * nearest
    pairs = integers.values.astype(int).reshape(8, -1, 2, 3, 3)
    assert pairs.clip(min=0).sum(axis=2).max() <= PAIR and -pairs.clip(max=0).sum(axis=2).min() <= PAIR


def test_neighbouring_inputs_never_overflow_and_use_the_eighth_bit(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(32, CHANNELS, 3, 3)).astype(np.float32)
    # The largest two of an output beside each other: the worst that a pair can be.
    weight[:, 4:6, 1, 1] = np.abs(weight).max()
    model = convolution(tmp_path, weight, pads=[1, 1, 1, 1])
    values = rounded(model, [smooth_maps(2)])["weight"].values.astype(int)
    pairs = values.reshape(32, -1, 2, 3, 3)
    assert pairs.clip(min=0).sum(axis=2).max() <= PAIR and -pairs.clip(max=0).sum(axis=2).min() <= PAIR
    weight[:, 4, 1, 1] = 0
    values = rounded(convolution(tmp_path, weight, pads=[1, 1, 1, 1]), [smooth_maps(2)])["weight"].values.astype(int)
    assert np.abs(values).max() > 64
    signed = rounded(model, [smooth_maps(2)], signed=True)["weight"].values.astype(int)
    assert (signed[:, 4:6, 1, 1] >= 125).all(), "inputs with a sign end at 127, so that any pair fits"


@pytest.mark.parametrize(("channels", "group"), [(1, CHANNELS), (3, 1)])
def test_what_kernels_add_in_another_way_is_left_to_the_quantiser(channels: int, group: int, tmp_path: Path) -> None:
    weight = np.ones((CHANNELS, channels, 3, 3), np.float32)
    model = convolution(tmp_path, weight, group=group)
    assert rounded(model, [smooth_maps(2)[:, : channels * group]]) == {}


_RUNS = """
import sys, numpy as np
from rigpose.sessions.openvino import loaded_core
compiled = loaded_core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
np.save(sys.argv[3], compiled({"maps": np.load(sys.argv[2])})[0])
"""


@pytest.mark.skipif("avx512_vnni" not in Processor.here().flags, reason="there is no VNNI to compare with")
@pytest.mark.parametrize("isa", ["AVX2", "AVX512_CORE"])
def test_processors_without_vnni_give_the_same(isa: str, tmp_path: Path) -> None:
    """oneDNN leaves out instructions when it is told; inputs of 255 and pairs of the largest weights."""
    pytest.importorskip("openvino")
    weight = np.random.default_rng(0).normal(size=(32, CHANNELS, 3, 3)).astype(np.float32)
    weight[:, 4:6] = np.abs(weight).max()
    integers = rounded(convolution(tmp_path, weight, pads=[1, 1, 1, 1]), [smooth_maps(2)])["weight"]
    overflowing = Integers(np.where(integers.values > 60, 127, integers.values).astype(np.int8), integers.steps)
    maps = np.full((1, CHANNELS, SIDE, SIDE), 255, np.float32)
    np.save(tmp_path / "maps.npy", maps)
    for name, chosen, same in (("fitting", integers, True), ("overflowing", overflowing, False)):
        write_int8(tmp_path / f"{name}.onnx", chosen)
        found = []
        for limit in (isa, "ALL"):
            out = tmp_path / f"{name}-{limit}.npy"
            arguments = [
                sys.executable,
                "-c",
                _RUNS,
                *map(str, (tmp_path / f"{name}.onnx", tmp_path / "maps.npy", out)),
            ]
            subprocess.run(arguments, check=True, env=os.environ | {"ONEDNN_MAX_CPU_ISA": limit}, timeout=120)
            found.append(np.load(out))
        equal = np.allclose(*found, rtol=1e-5)
        assert equal == same, f"{name} on {isa}"


def write_int8(path: Path, integers: Integers) -> None:
    """A convolution as the quantiser writes it: inputs of steps of 1 from 0, weights of so many steps."""
    constants = {
        "step": np.float32(1),
        "zero": np.uint8(0),
        "integers": integers.values,
        "steps": integers.steps,
        "zeros": np.zeros(len(integers.steps), np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["maps", "step", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "step", "zero"], ["activations"]),
        helper.make_node("DequantizeLinear", ["integers", "steps", "zeros"], ["weight"], axis=0),
        helper.make_node("Conv", ["activations", "weight"], ["found"], pads=[1, 1, 1, 1]),
    ]
    shape = [1, CHANNELS, SIDE, SIDE]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("maps", "found")]
    tensors[1] = helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, len(integers.steps), SIDE, SIDE])
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    drawn = helper.make_graph(nodes, "int8", tensors[:1], tensors[1:], stored)
    onnx.save(helper.make_model(drawn, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
