"""Building engines: shapes and the command line, and TensorRT for RTX for real, which needs no GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from drawn_bundle import drawn_graph, write_bundle
from fake_tensorrt.host_memory import HostMemory

from rigpose.bundles.bundle import Bundle, Precision, TensorSpec
from rigpose.bundles.engines import BuildOptions, Gpu, Machine, ShapeRange, engines_of, fitting_engines
from rigpose.errors import BackendError, ConfigError
from rigpose.sessions.devices import cuda_devices
from rigpose.sessions.tensorrt import EngineSession
from rigpose.sessions.tensorrt_library import TensorRtLibrary, import_library, installed_libraries
from rigpose_export.engine import EngineBuildError, build_engine, build_plan, profiles_for
from rigpose_export.engine_command import COMMAND

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rtx() -> TensorRtLibrary:
    if "tensorrt_rtx" not in installed_libraries():
        pytest.skip("TensorRT for RTX is not installed (pip install 'rigpose[tensorrt-rtx]')")
    return import_library("tensorrt_rtx")


@pytest.fixture(scope="module")
def of_crops(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "crops.bundle", crop=64)


@pytest.fixture
def of_frames(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "frames.bundle", multiple_of=32)


def run(*words: str) -> int:
    parser = ArgumentParser()
    COMMAND.configure(parser)
    return COMMAND.run(parser.parse_args([*words]))


def test_crops_are_fixed_and_batches_have_two_profiles(of_crops: Bundle) -> None:
    graph = of_crops.manifest.graph("pose")
    latency, throughput = profiles_for(graph, batch=8)
    one, eight = (1, 64, 64, 3), (8, 64, 64, 3)
    assert (latency.name, latency.shapes) == ("latency", {"frames": ShapeRange(one, one, one)})
    assert (throughput.name, throughput.shapes) == ("throughput", {"frames": ShapeRange(one, eight, eight)})
    assert len(profiles_for(graph, batch=1)) == 1
    with pytest.raises(ConfigError, match="at least 1"):
        profiles_for(graph, batch=0)


def test_free_frames_need_a_size_that_the_graph_takes(of_frames: Bundle) -> None:
    graph = of_frames.manifest.graph("pose")
    assert graph.inputs[0].shape == ("batch", "32*height", "32*width", 3)
    with pytest.raises(ConfigError, match=r"give the size of your videos: --frame-size HxW"):
        profiles_for(graph, batch=8)
    with pytest.raises(ConfigError, match="multiple of 32 and is 100 px"):
        profiles_for(graph, batch=8, sizes=((64, 100), (64, 100)))
    _, throughput = profiles_for(graph, batch=2, sizes=((64, 96), (128, 96)))
    assert throughput.shapes["frames"] == ShapeRange((1, 64, 96, 3), (2, 128, 96, 3), (2, 128, 96, 3))


def test_a_second_input_has_the_batch_and_its_own_shape(of_crops: Bundle) -> None:
    graph = of_crops.manifest.graph("pose")
    told = replace(graph, inputs=(*graph.inputs, TensorSpec("conditions", "float32", ("batch", 4, 3))))
    _, throughput = profiles_for(told, batch=6)
    assert throughput.shapes["conditions"] == ShapeRange((1, 4, 3), (6, 4, 3), (6, 4, 3))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_for_rtx_builds_a_typed_graph_without_a_gpu(
    rtx: TensorRtLibrary, of_crops: Bundle, precision: Precision
) -> None:
    graph = of_crops.manifest.graph("pose", precision=precision, backend="tensorrt")
    plan = build_plan(rtx, of_crops.file(graph.file), profiles_for(graph, batch=8), options=BuildOptions())
    assert len(plan.bytes) > 10_000 and plan.seconds > 0
    assert plan.timing is None


def test_tensorrt_for_rtx_builds_a_traced_network(rtx: TensorRtLibrary, tiny_bundle: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(tiny_bundle, tmp_path / "copy.bundle"))
    assert run(str(copied), "--library", "tensorrt_rtx", "--frame-size", "96x128-160x128", "--batch", "4") == 0
    bundle = Bundle.open(copied)
    graph = bundle.manifest.graph("pose", backend="tensorrt")
    (engine,) = engines_of(bundle, graph)
    # Its weights are inside.
    assert len(engine.plan()) > 0.9 * bundle.file(graph.file).stat().st_size


def test_tensorrt_for_rtx_names_the_node_that_it_rejects(
    rtx: TensorRtLibrary, tmp_path: Path, of_crops: Bundle
) -> None:
    """An 8-bit input must be cast first; a transposed one is what an exporter may well write instead."""
    model = drawn_graph(["batch", 64, 64, 3])
    nodes = {node.name: node for node in model.graph.node}
    nodes["transpose"].input[0], nodes["transpose"].output[0] = "frames", "planes8"
    nodes["cast"].input[0], nodes["scale"].output[0], nodes["to_precision"].input[0] = "planes8", "planes", "planes"
    ordered = [nodes.pop("transpose"), *nodes.values()]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    onnx.checker.check_model(model, full_check=True)
    path = tmp_path / "pose.onnx"
    onnx.save(model, str(path))
    profiles = profiles_for(of_crops.manifest.graph("pose"), batch=2)
    with pytest.raises(EngineBuildError, match=r"^pose\.onnx: tensorrt_rtx 1\.\S+ (rejects it|parses it)") as rejected:
        build_plan(rtx, path, profiles, options=BuildOptions())
    assert "transpose" in str(rejected.value).lower()
    assert "\n" not in str(rejected.value)


def test_no_onnx_file_is_a_sentence(rtx: TensorRtLibrary, tmp_path: Path, of_crops: Bundle) -> None:
    (tmp_path / "pose.onnx").write_bytes(b"nothing")
    profiles = profiles_for(of_crops.manifest.graph("pose"), batch=2)
    with pytest.raises(EngineBuildError, match=r"pose\.onnx: tensorrt_rtx .* rejects it"):
        build_plan(rtx, tmp_path / "pose.onnx", profiles, options=BuildOptions())


@pytest.mark.skipif(cuda_devices() > 0, reason="with a GPU the engine loads")
def test_loading_a_real_engine_without_a_gpu_is_a_sentence_and_no_crash(rtx: TensorRtLibrary, of_crops: Bundle) -> None:
    graph = of_crops.manifest.graph("pose")
    built = build_engine(of_crops, graph, rtx, None, profiles_for(graph, batch=2), options=BuildOptions())
    machine = Machine(rtx.name, rtx.version, Gpu("NVIDIA RTX 4090", "8.9", "13.0"))
    assert fitting_engines(of_crops, graph, machine) == (built,)
    with pytest.raises(BackendError, match=r"cannot load its engine \(.*CUDA driver.*\); build it again"):
        EngineSession(rtx, (built,), HostMemory(), build="rigpose engine")


def test_the_command_builds_what_is_missing_and_keeps_what_fits(
    rtx: TensorRtLibrary, of_frames: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(of_frames.path), "--library", "tensorrt_rtx", "--frame-size", "90x70", "--batch", "4"]
    assert run(*words) == 0
    assert "building with tensorrt_rtx" in capsys.readouterr().out
    (engine,) = engines_of(of_frames, of_frames.manifest.graph("pose"))
    # Frames are padded to multiples of 32 before the graph sees them.
    assert engine.record.profiles[-1].shapes["frames"].max == (4, 96, 96, 3)
    before = (engine.folder / "engine.plan").stat().st_mtime_ns
    assert run(*words) == 0
    assert "is there and fits" in capsys.readouterr().out
    assert (engine.folder / "engine.plan").stat().st_mtime_ns == before
    assert run(*words, "--rebuild") == 0
    assert (engine.folder / "engine.plan").stat().st_mtime_ns > before
    assert run(*words, "--precision", "fp16") == 0
    out = capsys.readouterr().out
    assert "--backend tensorrt --precision fp16" in out
    assert len(engines_of(of_frames, of_frames.manifest.graph("pose", precision="fp16"))) == 1
    assert Bundle.open(of_frames.path).manifest == of_frames.manifest


def test_the_command_builds_all_graphs_of_a_pair_for_what_each_sees(rtx: TensorRtLibrary, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "pair.bundle", crop=64, multiple_of=32, longest_side=160)
    assert run(str(bundle.path), "--library", "tensorrt_rtx", "--frame-size", "480x640", "--batch", "2") == 0
    largest = {
        graph.role: engine.record.profiles[-1].shapes["frames"].max
        for graph in bundle.manifest.graphs
        for engine in engines_of(bundle, graph)
    }
    # 480 x 640 px are scaled to 120 x 160 and padded.
    assert largest == {"pose": (2, 64, 64, 3), "detector": (2, 128, 160, 3), "pair": (2, 128, 160, 3)}


def test_what_the_command_cannot_do_is_said_before_it_builds(
    of_frames: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(of_frames.path)
    with pytest.raises(ConfigError, match="no pose graph in int8 for tensorrt"):
        run(place, "--precision", "int8", "--frame-size", "64x64")
    with pytest.raises(ConfigError, match="--frame-size HxW"):
        run(place)
    with pytest.raises(ConfigError, match="at least 1 MiB"):
        run(place, "--workspace", "0", "--frame-size", "64x64")
    with pytest.raises(ConfigError, match="for NVIDIA's GPUs"):
        run(place, "--library", "tensorrt", "--frame-size", "64x64", "--device", "cpu")
    for size in ("64", "0x64", "64x64-32x32"):
        with pytest.raises(SystemExit):
            run(place, "--frame-size", size)
        assert "--frame-size" in capsys.readouterr().err


@pytest.mark.skipif(cuda_devices() > 0, reason="there is a GPU")
def test_tensorrt_itself_needs_a_gpu_to_build(of_crops: Bundle) -> None:
    with pytest.raises(BackendError, match=r"TensorRT needs .*; (install NVIDIA's driver|run: pip install)"):
        run(str(of_crops.path), "--library", "tensorrt")


def test_the_builder_and_its_command_import_without_torch() -> None:
    blocked = ("torch", "torchvision", "timm", "onnx", "rigpose_training", "onnxruntime", "tensorrt", "tensorrt_rtx")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import rigpose_export.engine_command"
    path = os.pathsep.join(str(ROOT / folder) for folder in ("runtime", "export"))
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
