"""TensorRT for RTX builds what is exported for TensorRT, on the CPU, and says why it refuses the rest."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from detectors_with_boxes import MOBILENET
from exported_families import FAMILIES
from exported_pairs import drawn
from onnx import TensorProto, helper
from traced_graphs import traced

from rigpose.bundles.bundle import GraphSpec
from rigpose.bundles.certificate import EngineTrial, read_certificate
from rigpose.bundles.engines import ShapeRange
from rigpose.commands import inspect_bundle
from rigpose.commands.main import run
from rigpose.errors import BackendError, BundleError
from rigpose.sessions import tensorrt_library
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose.sessions.tensorrt_library import import_library, installed_libraries
from rigpose_export.engine import EngineBuildError
from rigpose_export.graphs.files import ExportOptions
from rigpose_export.pack import export_bundle
from rigpose_export.proof.tensorrt_check import build_with_rtx, try_graphs, usual_shapes
from rigpose_export.source import pair_source

needs_rtx = pytest.mark.skipif(
    "tensorrt_rtx" not in installed_libraries(), reason="TensorRT for RTX is not installed (rigpose[tensorrt-check])"
)
SLOW = ("ctd_coam_w32", "tokenpose_base")
Exported = Callable[[str], tuple[Path, GraphSpec]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The file of a small network, or of "portable" and its name, and its description."""
    folder = tmp_path_factory.mktemp("graphs")

    def write(name: str) -> tuple[Path, GraphSpec]:
        path = folder / f"{name}.onnx"
        content, described = traced(name.removeprefix("portable "), portable=name.startswith("portable"))
        path.write_bytes(content)
        return path, described

    return write


@needs_rtx
@pytest.mark.parametrize(
    "net_type", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in FAMILIES]
)
def test_the_graph_of_every_family_is_built(net_type: str, exported: Exported) -> None:
    portable = net_type == "dekr_w18"
    path, graph = exported(f"portable {net_type}" if portable else net_type)
    assert graph.backends == (("tensorrt",) if portable else ("onnxruntime", "openvino", "tensorrt"))
    build = build_with_rtx(path)
    assert build.seconds > 0 and build.plan_bytes > path.stat().st_size / 2, "the weights are in the plan"


@needs_rtx
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssdlite", f"portable {MOBILENET}"])
def test_detectors_are_built_for_frames_of_any_size(name: str, exported: Exported) -> None:
    path, graph = exported(name)
    assert "tensorrt" in graph.backends
    assert build_with_rtx(path).plan_bytes > path.stat().st_size / 2


@needs_rtx
def test_a_deformable_convolution_is_refused_by_name_and_with_a_reason(exported: Exported) -> None:
    path, graph = exported("dekr_w18")
    assert graph.backends == ("onnxruntime",)
    (name, *_) = [node.name for node in onnx.load(str(path)).graph.node if node.op_type == "DeformConv"]
    with pytest.raises(EngineBuildError) as caught:
        build_with_rtx(path)
    message = str(caught.value)
    assert message.startswith("dekr_w18.onnx: ") and "DeformConv" in message and name in message
    assert "Plugin not found" in message and "\n" not in message
    assert caught.value.problems[0][:2] == ("DeformConv", name)
    asked = replace(graph, file=path.name, backends=("tensorrt",))
    (trial,) = try_graphs(path.parent, [graph, asked])
    assert trial == EngineTrial(path.name, None, None, message)


def test_the_portable_graph_gives_the_plain_ones_candidates(exported: Exported) -> None:
    (plain, _), (portable, graph) = exported("dekr_w18"), exported("portable dekr_w18")
    operators = [node.op_type for node in onnx.load(str(portable)).graph.node]
    assert operators.count("GridSample") == 2 and "DeformConv" not in operators
    assert graph.minimum_onnxruntime == "1.17"
    sessions = [OnnxRuntimeSession(path, device="cpu", threads=1) for path in (plain, portable)]
    for batch, height, width in ((1, 96, 128), (3, 64, 160)):
        frames = np.stack([drawn(number, height, width) for number in range(batch)])
        expected, found = (session.run({"frames": frames}) for session in sessions)
        assert set(found) == set(expected) == {"poses", "center"}
        for name, values in expected.items():
            # Random weights move samples by many cells, where a float32 step is 1e-5 of a cell [px, and scores].
            np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-3)
        assert np.ptp(expected["poses"][..., 0]) > 8, "poses lie at different places, so that mistakes would show"


def empty(folder: Path, *axes: str | int) -> Path:
    """A graph that casts its input."""
    values = [
        helper.make_tensor_value_info("frames", TensorProto.UINT8, axes),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, axes),
    ]
    cast = helper.make_node("Cast", ["frames"], ["y"], to=TensorProto.FLOAT)
    model = helper.make_model(helper.make_graph([cast], "g", values[:1], values[1:]), ir_version=10)
    onnx.save(model, str(folder / "small.onnx"))
    return folder / "small.onnx"


def test_free_axes_run_from_a_small_frame_to_a_large_one_in_the_multiples_they_need(tmp_path: Path) -> None:
    assert usual_shapes(empty(tmp_path, "batch", "32*height", "96*width", 3)) == {
        "frames": ShapeRange((1, 128, 192, 3), (1, 512, 576, 3), (4, 1024, 1056, 3))
    }
    assert usual_shapes(empty(tmp_path, "batch", 64, 48, 3)) == {
        "frames": ShapeRange((1, 64, 48, 3), (1, 64, 48, 3), (4, 64, 48, 3))
    }
    with pytest.raises(BundleError, match=r"small.onnx: the axis 's31' is no batch"):
        usual_shapes(empty(tmp_path, "s31", 64, 48, 3))


def test_without_the_wheels_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tensorrt_library, "_found", lambda module: False)
    with pytest.raises(BackendError, match=r'pip install "rigpose\[tensorrt-check\]"'):
        build_with_rtx(empty(tmp_path, "batch", 64, 64, 3))


@needs_rtx
def test_the_certificate_keeps_what_tensorrt_made_of_the_graphs(
    tiny_pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = export_bundle(pair_source(*tiny_pair), tmp_path / "b", options=ExportOptions(try_tensorrt=True))
    certificate = read_certificate(bundle)
    assert [one.file for one in certificate.tensorrt] == [
        graph.file for graph in bundle.manifest.graphs if "tensorrt" in graph.backends
    ]
    assert certificate.versions["tensorrt_rtx"] == import_library("tensorrt_rtx").version
    (trial,) = certificate.tensorrt
    assert trial.refusal is None and trial.seconds is not None and trial.plan_bytes is not None
    assert trial.seconds > 0 and trial.plan_bytes > bundle.file(trial.file).stat().st_size / 2
    assert run(inspect_bundle.COMMAND, argparse.Namespace(bundle=str(bundle.path))) == 0
    assert f"built by TensorRT for RTX {certificate.versions['tensorrt_rtx']} in " in capsys.readouterr().out


def test_without_the_wheels_the_export_stops_before_its_work(
    tiny_pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_library, "_found", lambda module: False)
    with pytest.raises(BackendError, match="TensorRT for RTX is not installed"):
        export_bundle(pair_source(*tiny_pair), tmp_path / "b", options=ExportOptions(try_tensorrt=True))
    assert not list(tmp_path.iterdir())
