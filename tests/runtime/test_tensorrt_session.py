"""The session over the real bindings of TensorRT 10 and 11 and a fake library; and on a GPU, for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import fake_tensorrt
import numpy as np
import pytest
from drawn_bundle import write_bundle
from fake_tensorrt.scenarios import SCENARIOS

from rigpose.bundles.bundle import Precision
from rigpose.bundles.engines import BuildOptions
from rigpose.errors import BackendError, ConfigError
from rigpose.sessions import cuda_memory, tensorrt
from rigpose.sessions.devices import cuda_devices
from rigpose.sessions.tensorrt import STEADY_RUNS, open_tensorrt
from rigpose.sessions.tensorrt_library import import_library, installed_libraries, probe_gpu

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def became(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of every scenario with one version of the bindings: empty, or what went wrong."""
    folder = tmp_path_factory.mktemp(f"tensorrt{request.param}")
    try:
        fake_tensorrt.prepare(request.param, folder / "bindings")
    except fake_tensorrt.UnavailableError as reason:
        pytest.skip(str(reason))
    bundle = write_bundle(folder / "drawn.bundle").path
    places = [str(folder / "bindings"), str(bundle), str(folder / "scratch")]
    done = subprocess.run(
        [sys.executable, "-m", "fake_tensorrt.scenarios", str(request.param), *places],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        cwd=TESTS,
    )
    assert done.returncode == 0, f"the process ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("became", fake_tensorrt.BINDINGS, indirect=True, ids=lambda major: f"TensorRT {major}")
@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in SCENARIOS])
def test_with_the_real_bindings(became: dict[str, str], scenario: str) -> None:
    assert not became[scenario], became[scenario]


@pytest.mark.skipif(cuda_devices() > 0, reason="there is a GPU")
def test_without_a_gpu_the_session_says_so_before_tensorrt_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "drawn.bundle", crop=32)
    graph = bundle.manifest.graph("pose", backend="tensorrt")

    def touched() -> None:
        raise AssertionError("TensorRT was imported before the GPU was looked for")

    monkeypatch.setattr(tensorrt, "importable_libraries", touched)
    for device in ("auto", "cuda", "cuda:3"):
        with pytest.raises(BackendError, match=r"TensorRT needs .*; (install NVIDIA's driver|run: pip install)"):
            open_tensorrt(bundle, graph, device=device)
    with pytest.raises(BackendError, match="not on the CPU; leave out --device"):
        open_tensorrt(bundle, graph, device="cpu")
    with pytest.raises(ConfigError, match="device 'gpu'"):
        open_tensorrt(bundle, graph, device="gpu")


def test_a_library_that_is_not_installed_names_the_line_that_installs_it() -> None:
    absent = {"tensorrt", "tensorrt_lean"} - set(installed_libraries())
    for name in absent:
        with pytest.raises(BackendError, match=f"^{name}: is not installed; run: pip install"):
            import_library(name)
    with pytest.raises(ConfigError, match="did you mean tensorrt_rtx"):
        import_library("tensorrt_rxt")


def test_a_library_that_does_not_load_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.11: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendError, match=r"is installed and does not load \(libnvinfer\.so\.11: cannot open"):
        import_library("tensorrt")


@pytest.mark.skipif(cuda_devices() > 0, reason="there is a GPU")
def test_cuda_bindings_take_what_they_are_called_with() -> None:
    """Without a driver each call gives an error code; wrong names, numbers or types of arguments would raise."""
    runtime = pytest.importorskip("cuda.bindings.runtime")
    with pytest.raises(BackendError, match=r"^cuda:0: cudaSetDevice failed \(CUDA driver"):
        cuda_memory.CudaMemory(0)
    memory = object.__new__(cuda_memory.CudaMemory)
    memory._cuda, memory._index, memory._stream, memory._held = runtime, 0, runtime.cudaStream_t(0), []
    buffer = cuda_memory.Buffer(np.zeros(4, np.uint8), 16)
    calls = {
        "cudaMalloc": lambda: memory.allocate(4),
        "cudaMemcpyAsync": lambda: memory.upload(buffer, 4),
        "cudaStreamSynchronize": memory.synchronize,
        "cudaStreamBeginCapture": lambda: memory.record(lambda: None),
        "cudaStreamCreateWithFlags": lambda: memory._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking),
        "cudaMallocHost": lambda: memory._call("cudaMallocHost", 4),
        "cudaStreamEndCapture": lambda: memory._call("cudaStreamEndCapture", memory._stream),
        "cudaGraphInstantiate": lambda: memory._call("cudaGraphInstantiate", runtime.cudaGraph_t(0), 0),
        "cudaGraphLaunch": lambda: memory._call("cudaGraphLaunch", runtime.cudaGraphExec_t(0), memory._stream),
        "cudaGraphExecDestroy": lambda: memory._call("cudaGraphExecDestroy", runtime.cudaGraphExec_t(0)),
        "cudaGraphDestroy": lambda: memory._call("cudaGraphDestroy", runtime.cudaGraph_t(0)),
    }
    for name, call in calls.items():
        with pytest.raises(BackendError, match=f"{name} failed"):
            call()
    with pytest.raises(BackendError, match="cudaMemcpyAsync failed"):
        memory.download(buffer, 4)


@pytest.mark.gpu
@pytest.mark.skipif(cuda_devices() == 0, reason="needs a GPU")
@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 1e-3), ("fp16", 5e-2)])
@pytest.mark.parametrize("library", ["tensorrt", "tensorrt_rtx"])
def test_an_engine_on_a_gpu_gives_what_onnx_runtime_gives(
    tmp_path: Path, library: str, precision: Precision, allowed: float
) -> None:
    """Answers are up to 33, and frames' differ by 3. TF32 and fp16 move them by 0.01, the order of sums by 1e-4."""
    if library not in installed_libraries():
        pytest.skip(f"{library} is not installed")
    from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
    from rigpose_export.engine import build_engine, profiles_for

    bundle = write_bundle(tmp_path / "drawn.bundle", crop=64)
    graph = bundle.manifest.graph("pose", precision=precision, backend="tensorrt")
    gpu = probe_gpu("cuda:0")
    build_engine(bundle, graph, import_library(library), gpu, profiles_for(graph, batch=8), options=BuildOptions())
    session = open_tensorrt(bundle, graph, device="cuda:0")
    assert session.device == "cuda:0"
    on_cpu = OnnxRuntimeSession(bundle.file(graph.file), device="cpu")
    random = np.random.default_rng(0)
    for rows in (*[1] * (STEADY_RUNS + 3), *[8] * (STEADY_RUNS + 3), 5, 1, 19, 8):
        given = {"frames": random.integers(0, 256, (rows, 64, 64, 3), np.uint8)}
        np.testing.assert_allclose(
            session.run(given)["keypoints"], on_cpu.run(given)["keypoints"], rtol=0, atol=allowed
        )
