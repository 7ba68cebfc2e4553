"""Int8: what is quantised and how, in each form, and what it costs a trained network."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from detectors_with_boxes import MOBILENET
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from reference_weights import fill
from traced_graphs import PRODUCTS, graph, inputs_of, is_network, run, scope

from rigpose.arrays import Array
from rigpose.bundles.bundle import BackendName
from rigpose.sessions.openvino import loaded_core
from rigpose_export.graphs.onnx_file import write_onnx
from rigpose_export.graphs.quantisation import SEEN, CalibrationError, quantise
from rigpose_training.model_table import THREE_ANIMALS
from rigpose_training.models import build_model
from rigpose_training.pose_config.templates import make_pose_config
from rigpose_training.pose_graph import PoseGraph
from rigpose_training.spec import model_spec

SLOW = pytest.mark.slow
BACKENDS: tuple[BackendName, ...] = ("onnxruntime", "openvino", "tensorrt")
GRAPHS = [
    "top_down_resnet_50",
    "rtmpose_s",
    pytest.param("resnet_50", marks=SLOW),
    pytest.param("dekr_w18", marks=SLOW),
    pytest.param("tokenpose_base", marks=SLOW),
    pytest.param("ctd_prenet_hrnet_w32", marks=SLOW),
    pytest.param("ctd_coam_w32", marks=SLOW),
    pytest.param("ssdlite", marks=SLOW),
    pytest.param(MOBILENET, marks=SLOW),
]


def batches(model: onnx.ModelProto, *, count: int = 2) -> Iterator[Mapping[str, Array]]:
    for number in range(count):
        yield inputs_of(model, batch=2, first=10 * number)


def quantised(name: str, folder: Path, backend: BackendName) -> onnx.ModelProto:
    single = graph(name)
    onnx.save(single, str(folder / "single.onnx"))
    return quantise(folder / "single.onnx", folder / "int8.onnx", batches(single), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", GRAPHS)
def test_only_the_network_is_quantised_and_as_the_engine_takes_it(
    name: str, backend: BackendName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    single = graph(name)
    int8 = quantised(name, tmp_path, backend)
    assert not list((tmp_path / "temporary").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8.onnx", "single.onnx", "temporary"]
    assert capfd.readouterr() == ("", "")
    assert onnx.load(str(tmp_path / "int8.onnx")) == int8
    assert int8.metadata_props == single.metadata_props

    check_pairs(int8, backend)
    if backend != "tensorrt":
        check_that_sums_are_of_what_was_not_rounded(int8)
    if name == "dekr_w18":
        check_that_the_head_is_float32(int8)
    # Everything outside of the network is as it was.
    outside = [[n for n in m.graph.node if scope(n) is not None and not is_network(n)] for m in (single, int8)]
    before, after = ({node.name: (node.op_type, list(node.output)) for node in nodes} for nodes in outside)
    assert before == after
    feeds = inputs_of(single, batch=3, first=50)
    # ONNX Runtime (1.31) makes one kernel of a convolution and the rounding behind it, and has none with many steps.
    found = run(int8, feeds, as_written=backend == "openvino")
    assert {key: value.shape for key, value in found.items()} == {
        key: value.shape for key, value in run(single, feeds).items()
    }
    assert all(np.isfinite(value).all() for value in found.values())


def check_pairs(int8: onnx.ModelProto, backend: BackendName) -> None:
    constants = {constant.name: constant for constant in int8.graph.initializer}
    makers = {value: node for node in int8.graph.node for value in node.output}
    pairs = [node for node in int8.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    kinds = set()
    clips = any(node.op_type in ("Relu", "Clip") and is_network(node) for node in int8.graph.node)
    signed = backend == "tensorrt" or (backend == "openvino" and not clips)
    for node in pairs:
        zero = numpy_helper.to_array(constants[node.input[2]])
        stored = constants.get(node.input[0])
        kinds.add(("constant" if stored is not None else "activation", str(zero.dtype)))
        assert not signed or not zero.any()
        if stored is not None and stored.data_type == TensorProto.INT8:
            assert not zero.any(), "weights are symmetric in all forms"
            assert signed or fits_in_16_bits(numpy_helper.to_array(stored).astype(int))
        if node.op_type == "QuantizeLinear" and node.input[0] in makers:
            # The image comes from outside, and so do maps of conditions.
            maker = makers[node.input[0]]
            assert is_network(maker) or maker.op_type not in PRODUCTS
    biases = {("constant", "int32")}
    if signed:
        assert kinds == {("constant", "int8"), ("activation", "int8")}
    elif backend == "openvino":
        assert kinds == {("constant", "int8"), ("activation", "uint8")}
    else:
        assert kinds | biases == {("constant", "int8"), ("activation", "uint8")} | biases
    in_int8 = [n for n in int8.graph.node if n.op_type in PRODUCTS and from_pairs(n, makers)]
    assert in_int8 and all(is_network(node) for node in in_int8)
    for node in int8.graph.node:
        if node.op_type in PRODUCTS and node not in in_int8:
            assert not any(makers[v].op_type == "DequantizeLinear" for v in node.input[1:] if v in makers)
        if not is_network(node) and scope(node) is not None:
            # The maps that regions are cut out of go from network to network; where the regions are is exact.
            exact = node.input[1:] if node.op_type in ("RoiAlign", "GridSample") else node.input
            assert not any(makers[v].op_type == "DequantizeLinear" for v in exact if v in makers), node.name
    if backend == "onnxruntime":
        assert "ConvTranspose" not in {node.op_type for node in in_int8}
    share = len(in_int8) / sum(n.op_type in PRODUCTS and is_network(n) for n in int8.graph.node)
    assert share > 0.25, "most of a network's work is in its backbone's convolutions"


def check_that_sums_are_of_what_was_not_rounded(int8: onnx.ModelProto) -> None:
    makers = {value: node for node in int8.graph.node for value in node.output}
    for node in int8.graph.node:
        if is_network(node) and node.op_type not in (*PRODUCTS, "Relu", "Clip"):
            pairs = [makers[v] for v in node.input if v in makers and makers[v].op_type == "DequantizeLinear"]
            rounded = [makers[pair.input[0]].input[0] for pair in pairs if pair.input[0] in makers]
            # What a product of ONNX Runtime gives is rounded by its kernel.
            assert all(value in makers and makers[value].op_type in PRODUCTS for value in rounded), node.name


def check_that_the_head_is_float32(int8: onnx.ModelProto) -> None:
    makers = {value: node for node in int8.graph.node for value in node.output}
    products = [node for node in int8.graph.node if node.op_type in PRODUCTS]
    head = [node for node in products if "model.heads.bodypart" in str(node.metadata_props)]
    assert len(head) >= 10 and not any(from_pairs(node, makers) for node in head)


def fits_in_16_bits(weight: Array) -> bool:
    """Whether two neighbouring inputs of 255 can be summed, as processors without VNNI do."""
    if np.abs(weight).max() <= 64:
        return True
    pairs = weight.reshape(len(weight), -1, 2, *weight.shape[2:])
    return max(pairs.clip(min=0).sum(axis=2).max(), -pairs.clip(max=0).sum(axis=2).min()) <= 128


def from_pairs(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> bool:
    return all(v in makers and makers[v].op_type == "DequantizeLinear" for v in node.input[:2])


def test_onnx_runtime_has_no_int8_kernel_for_a_transposed_convolution(tmp_path: Path) -> None:
    """Why it stays in float32 for ONNX Runtime: with a release that has one, it should not."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("ConvTranspose", ["a", "w"], ["y"])]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 6, 6]) for name in "xy"]
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(8, 8, 1, 1)).astype(np.float32), "w")
    drawn = helper.make_graph(nodes, "both", tensors[:1], tensors[1:], [weight])
    onnx.save(helper.make_model(drawn, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), tmp_path / "32.onnx")

    class Reader(CalibrationDataReader):
        batches = iter([{"x": np.random.default_rng(1).normal(size=(1, 8, 6, 6)).astype(np.float32)}])

        def get_next(self):  # pyright: ignore[reportIncompatibleMethodOverride]
            return next(self.batches, None)

    quantize_static(tmp_path / "32.onnx", tmp_path / "8.onnx", Reader(), activation_type=QuantType.QUInt8)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "run.onnx"), 3
    onnxruntime.InferenceSession(str(tmp_path / "8.onnx"), options, providers=["CPUExecutionProvider"])
    pairs = [node.op_type for node in onnx.load(str(tmp_path / "8.onnx")).graph.node]
    run_as = [node.op_type for node in onnx.load(str(tmp_path / "run.onnx")).graph.node]
    assert pairs.count("QuantizeLinear") >= 3 and "QLinearConv" in run_as and "ConvTranspose" in run_as


def test_openvino_gives_what_onnx_runtime_gives(tmp_path: Path) -> None:
    """Within a few steps of 1/127: engines round the sums of the same integers in another order."""
    pytest.importorskip("openvino")
    single = graph("top_down_resnet_50")
    int8 = quantised("top_down_resnet_50", tmp_path, "openvino")
    feeds = inputs_of(single, batch=4, first=50)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = loaded_core().compile_model(str(tmp_path / "int8.onnx"), "CPU", settings)
    found, expected = compiled(feeds)[0], run(int8, feeds)["keypoints"]
    moved = np.abs(found - expected)[..., :2].max(axis=-1)
    # Random heatmaps have cells that are as good as another.
    assert np.median(moved) < 0.5 and (moved > 5).mean() <= 0.25


@SLOW
def test_openvino_computes_all_quantised_transposed_convolutions_in_integers(tmp_path: Path) -> None:
    """DLCRNet's refinement reads maps that may be negative, for which OpenVINO wants no zero point."""
    pytest.importorskip("openvino")
    config = make_pose_config("dlcrnet_stride32_ms5", THREE_ANIMALS)
    network = build_model(config).eval()
    fill(network, "family")
    write_onnx(PoseGraph(network, config), model_spec(config), tmp_path / "pose.onnx")
    frame = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), np.uint8)
    int8 = quantise(tmp_path / "pose.onnx", tmp_path / "int8.onnx", iter([{"frames": frame}]), backend="openvino")
    makers = {value: node for node in int8.graph.node for value in node.output}
    quantised_ones = [n for n in int8.graph.node if n.op_type == "ConvTranspose" and from_pairs(n, makers)]
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    model = loaded_core().read_model(str(tmp_path / "int8.onnx"))
    model.reshape({"frames": [1, 128, 128, 3]})
    running = loaded_core().compile_model(model, "CPU", settings).get_runtime_model().get_ordered_ops()
    facts = [node.get_rt_info() for node in running]
    precisions = [f["runtimePrecision"].astype(str) for f in facts if f["layerType"].astype(str) == "Deconvolution"]
    assert sum(precision in ("i8", "u8") for precision in precisions) == len(quantised_ones) > 4


def test_int8_is_near_float32(tmp_path: Path) -> None:
    single = graph("top_down_resnet_50")
    feeds = inputs_of(single, batch=8, first=50)
    expected = run(single, feeds)["keypoints"]
    for backend in BACKENDS:
        found = run(quantised("top_down_resnet_50", tmp_path, backend), feeds)["keypoints"]
        moved = np.abs(found - expected)[..., :2].max(axis=-1)
        assert 0 < np.median(moved) < 2, "eight bits cost some tenths of a pixel, in a cell of 8 px"


def test_batches_are_read_one_by_one(tmp_path: Path) -> None:
    single = graph("top_down_resnet_50")
    onnx.save(single, str(tmp_path / "single.onnx"))
    alive: list[weakref.ref[Array]] = []
    most = 0

    def stream() -> Iterator[Mapping[str, Array]]:
        nonlocal most
        for number in range(SEEN + 4):
            frames = inputs_of(single, batch=1, first=number)["frames"]
            alive.append(weakref.ref(frames))
            most = max(most, sum(reference() is not None for reference in alive))
            yield {"frames": frames}

    quantise(tmp_path / "single.onnx", tmp_path / "int8.onnx", stream(), backend="tensorrt")
    assert len(alive) == SEEN + 4 and most <= SEEN + 2


def test_ranges_are_the_extremes_of_all_batches(tmp_path: Path) -> None:
    single = graph("top_down_resnet_50")
    onnx.save(single, str(tmp_path / "single.onnx"))
    dark, bright = ({"frames": np.full((1, 64, 64, 3), level, np.uint8)} for level in (0, 255))
    scales = []
    for chosen in ([dark], [bright], [dark, bright], [bright, dark]):
        int8 = quantise(tmp_path / "single.onnx", tmp_path / "int8.onnx", chosen, backend="tensorrt")
        first = next(node for node in int8.graph.node if node.op_type == "QuantizeLinear")
        constants = {constant.name: constant for constant in int8.graph.initializer}
        scales.append(float(numpy_helper.to_array(constants[first.input[1]])))
    assert scales[2] == scales[3] == max(scales[:2]) > min(scales[:2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_frames_there_are_no_ranges(backend: BackendName, tmp_path: Path) -> None:
    onnx.save(graph("top_down_resnet_50"), str(tmp_path / "single.onnx"))
    with pytest.raises(CalibrationError, match="no frames"):
        quantise(tmp_path / "single.onnx", tmp_path / "int8.onnx", [], backend=backend)
    assert not (tmp_path / "int8.onnx").exists()
