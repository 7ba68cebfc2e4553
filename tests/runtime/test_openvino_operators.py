"""Normalisations as OpenVINO is given them: ONNX Runtime's numbers, and maps that stay as convolutions leave them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rigpose.arrays import Array
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose.sessions.openvino import OpenVinoSession, loaded_core
from rigpose.sessions.openvino_operators import Operators

pytestmark = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")

CHANNELS, GROUPS = 32, 8
SIZE = ("frames", (40, 56, 3))


def write_normalised(path: Path, *, groups: int | None, scale: float = 1.0, single_cells: bool = False) -> Path:
    """A convolution whose maps are far from zero, normalised over groups of channels, or each for itself.

    Of single cells, it is as ResNets have them before a norm: without a sum for each channel.
    """
    random = np.random.default_rng(3)
    count = groups or CHANNELS
    side = 1 if single_cells else 3
    constants = {
        "kernel": random.normal(size=(CHANNELS, 3, side, side)).astype(np.float32),
        "far": np.linspace(300, 900, CHANNELS, dtype=np.float32),
        "scale": np.full(count, scale, np.float32),
        "shift": np.full(count, scale - 1, np.float32),
        "form": np.array([0, count, -1]),
        "gamma": random.normal(1, 0.3, (CHANNELS, 1, 1)).astype(np.float32),
        "beta": random.normal(size=(CHANNELS, 1, 1)).astype(np.float32),
    }
    maps = ["maps", "form"]
    grouped = [helper.make_node("Reshape", maps, ["grouped"], "group"), helper.make_node("Shape", ["maps"], ["shape"])]
    convolved = ["planes", "kernel", "far"][: 2 if single_cells else 3]
    back = [helper.make_node("Reshape", ["normal", "shape"], ["whole"], "ungroup")]
    nodes = [
        helper.make_node("Cast", ["frames"], ["numbers"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["planes"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", convolved, ["maps"], "convolve", pads=[side // 2] * 4),
        *(grouped if groups else []),
        helper.make_node(
            "InstanceNormalization", ["grouped" if groups else "maps", "scale", "shift"], ["normal"], epsilon=1e-5
        ),
        *(back if groups else []),
        helper.make_node("Mul", ["whole" if groups else "normal", "gamma"], ["scaled"], "scale"),
        helper.make_node("Add", ["scaled", "beta"], ["moved"], "shift"),
        helper.make_node("Relu", ["moved"], ["values"], "relu"),
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "normalised",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, ["batch", CHANNELS, "height", "width"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


def drawn(count: int) -> dict[str, Array]:
    """Frames with structure, each another."""
    return {SIZE[0]: np.random.default_rng(1).integers(0, 255, (count, *SIZE[1]), np.uint8)}


def steps(session: OpenVinoSession) -> list[Any]:
    """The layers of the graph that runs."""
    compiled = session._compiled(session._batches[-1], (SIZE,)).get_compiled_model()
    return compiled.get_runtime_model().get_ordered_ops()


def kind(step: Any) -> str:
    """A layer's type."""
    return step.get_rt_info()["layerType"].astype(str)


def kinds(session: OpenVinoSession) -> list[str]:
    """The types of the graph that runs."""
    return [kind(step) for step in steps(session)]


@pytest.mark.parametrize(("groups", "scale"), [(GROUPS, 1.0), (GROUPS, 1.5), (CHANNELS, 1.0), (1, 1.0), (None, 1.5)])
def test_a_normalisation_gives_the_numbers_of_onnx_runtime(tmp_path: Path, groups: int | None, scale: float) -> None:
    file = write_normalised(tmp_path / "pose.onnx", groups=groups, scale=scale)
    expected = OnnxRuntimeSession(file, device="cpu", threads=1).run(drawn(3))["values"]
    found = OpenVinoSession(file, threads=1).run(drawn(3))["values"]
    # Maps of 1e3 with a spread of 1e2 in float32 are exact to 1e-4, normalised values to 1e-6 of about 3.
    np.testing.assert_allclose(found, expected, atol=3e-5)
    assert expected.std() > 0.3 and (expected > 0).mean() > 0.3


@pytest.mark.parametrize("groups", [GROUPS, CHANNELS, 1])
def test_behind_single_cells_means_are_taken_of_what_they_read(tmp_path: Path, groups: int) -> None:
    file = write_normalised(tmp_path / "pose.onnx", groups=groups, single_cells=True)
    session = OpenVinoSession(file, threads=1)
    expected = OnnxRuntimeSession(file, device="cpu", threads=1).run(drawn(1))["values"]
    np.testing.assert_allclose(session.run(drawn(1))["values"], expected, atol=3e-5)
    read = [step.get_input_shape(0)[1] for step in steps(session) if kind(step) == "Reduce"]
    assert 3 in read, read


@pytest.mark.parametrize("single_cells", [False, True])
@pytest.mark.parametrize("groups", [GROUPS, CHANNELS, 1])
def test_between_integers_a_normalisation_is_as_exact_as_they_need(
    tmp_path: Path, groups: int, *, single_cells: bool
) -> None:
    file = write_normalised(tmp_path / "pose.onnx", groups=groups, scale=1.5, single_cells=single_cells)
    expected = OnnxRuntimeSession(file, device="cpu", threads=1).run(drawn(1))["values"]
    core, operators = loaded_core(), Operators(int8=True)
    core.add_extension(operators.conversions)
    model = core.read_model(file)
    model.reshape({SIZE[0]: [1, *SIZE[1]]})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    found = core.compile_model(model, "CPU", settings)(drawn(1))[0]
    assert operators.group_normalisations == 1
    # A tenth of a step of 1/127.
    np.testing.assert_allclose(found, expected, atol=8e-4)


def test_maps_in_groups_are_not_turned_over(tmp_path: Path) -> None:
    grouped = OpenVinoSession(write_normalised(tmp_path / "pose.onnx", groups=GROUPS), threads=1)
    grouped.run(drawn(1))
    assert "MVN" not in kinds(grouped) and "Reduce" in kinds(grouped)
    each = OpenVinoSession(write_normalised(tmp_path / "each.onnx", groups=None), threads=1)
    each.run(drawn(1))
    assert "MVN" in kinds(each)


def test_a_frame_has_the_same_bits_alone_and_in_a_batch(tmp_path: Path) -> None:
    session = OpenVinoSession(write_normalised(tmp_path / "pose.onnx", groups=GROUPS), threads=2)
    frames = drawn(5)["frames"]
    together = session.run({"frames": frames})["values"]
    assert together.shape == (5, CHANNELS, *SIZE[1][:2])
    for frame, values in zip(frames, together, strict=True):
        np.testing.assert_array_equal(session.run({"frames": frame[None]})["values"][0], values)
