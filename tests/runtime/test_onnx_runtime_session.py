"""ONNX Runtime: kept buffers give the same numbers, and nothing falls back. What needs a GPU is marked so."""

# The double of NVIDIA's driver has its names and arguments.
# ruff: noqa: ARG002, N802

from __future__ import annotations

import ctypes
import mmap
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from drawn_graph import write_graph

from rigpose.arrays import Array
from rigpose.bundles.bundle import TensorSpec
from rigpose.bundles.engines import ShapeRange
from rigpose.errors import BackendError
from rigpose.sessions import devices, onnx_runtime, onnxruntime_binding, onnxruntime_tensorrt
from rigpose.sessions.devices import cuda_devices, page_locked
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose.sessions.onnxruntime_binding import BoundRuns
from rigpose.sessions.onnxruntime_tensorrt import check_shapes, provider_options, shapes_to_build

CPU = "CPUExecutionProvider"
CAPI = Path(onnxruntime.__file__).parent / "capi"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graph(tmp_path_factory.mktemp("graph") / "pose.onnx")


@pytest.fixture
def session(graph: Path) -> Any:
    return onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])


def frames(count: int, height: int = 96, width: int = 128, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def check_equal(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_kept_buffers_give_what_a_plain_run_gives(session: Any) -> None:
    bound = BoundRuns(session, "cpu", 0)
    # Shapes come back after others: a video's last batch is shorter, and the next video begins with a whole one.
    for seed, shape in enumerate([(4, 96, 128), (4, 96, 128), (1, 96, 128), (4, 64, 64), (4, 96, 128)]):
        given = frames(*shape, seed=seed)
        names = [output.name for output in session.get_outputs()]
        check_equal(bound.run({"frames": given}), dict(zip(names, session.run(names, {"frames": given}), strict=True)))


def test_buffers_of_a_shape_are_allocated_once(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bound, made = BoundRuns(session, "cpu", 0), []
    allocate = onnxruntime.OrtValue.ortvalue_from_shape_and_type

    def counted(shape: list[int], *rest: Any) -> Any:
        made.append(tuple(shape))
        return allocate(shape, *rest)

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", counted)
    for count in (4, 4, 1, 4, 1):
        bound.run({"frames": frames(count)})
    assert made == [(4, 96, 128, 3), (1, 96, 128, 3)]
    kept = [value.data_ptr() for buffers in bound._bound.values() for value in buffers.outputs.values()]
    bound.run({"frames": frames(4)})
    bound.run({"frames": frames(1)})
    assert kept == [value.data_ptr() for buffers in bound._bound.values() for value in buffers.outputs.values()]


def test_the_next_run_leaves_earlier_outputs_alone(session: Any) -> None:
    bound = BoundRuns(session, "cpu", 0)
    first = bound.run({"frames": frames(2, seed=1)})
    copies = {name: values.copy() for name, values in first.items()}
    second = bound.run({"frames": frames(2, seed=2)})
    assert not np.array_equal(first["colours"], second["colours"])
    check_equal(first, copies)
    first["colours"][:] = 0
    check_equal(bound.run({"frames": frames(2, seed=2)}), second)


def test_the_oldest_shapes_go_when_they_take_too_much_memory(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bound, size = BoundRuns(session, "cpu", 0), frames(1).nbytes
    monkeypatch.setattr(onnxruntime_binding, "KEPT_BYTES", 5 * size)
    for count, batches in ((1, [1]), (2, [1, 2]), (3, [2, 3]), (2, [3, 2]), (9, [9])):
        bound.run({"frames": frames(count)})
        assert [shape[0] for ((_, shape, _),) in bound._bound] == batches


def test_frames_that_are_a_view_of_others_are_read_right(session: Any) -> None:
    bound, whole = BoundRuns(session, "cpu", 0), frames(2, 192, 256)
    view = whole[:, ::2, ::2]
    check_equal(bound.run({"frames": view}), bound.run({"frames": np.ascontiguousarray(view)}))


class Driver:
    """An NVIDIA driver's library, as far as page-locked memory goes; the memory is ordinary."""

    def __init__(self, *, gpus: int = 1, locked: bool = True) -> None:
        self.said: list[str] = []
        self.gpus, self.locked = gpus, locked
        self.memory: dict[int, Any] = {}

    def cuInit(self, flags: int) -> int:
        return 0

    def cuDeviceGet(self, handle: Any, index: int) -> int:
        return 0 if index < self.gpus else 101

    def cuDevicePrimaryCtxRetain(self, context: Any, handle: Any) -> int:
        context._obj.value = 7
        return 0

    def cuCtxPushCurrent_v2(self, context: Any) -> int:
        assert context.value == 7
        self.said.append("push")
        return 0

    def cuCtxPopCurrent_v2(self, context: Any) -> int:
        self.said.append("pop")
        return 0

    def cuMemHostAlloc(self, pointer: Any, size: Any, flags: int) -> int:
        if not self.locked:
            return 2
        memory = ctypes.create_string_buffer(size.value)
        pointer._obj.value = ctypes.addressof(memory)
        self.memory[ctypes.addressof(memory)] = memory
        self.said.append(f"allocate {size.value}")
        return 0

    def cuMemFreeHost(self, pointer: Any) -> int:
        del self.memory[pointer.value]
        self.said.append("free")
        return 0


def test_page_locked_memory_lives_as_long_as_an_array_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    monkeypatch.setattr(devices, "_driver", lambda: driver)
    memory = page_locked(1000, 0)
    assert memory.shape == (1000,) and memory.dtype == np.uint8
    view = memory[:12].view(np.float32).reshape(1, 3)
    view[:] = 5
    assert (memory[:12].view(np.float32) == 5).all()
    del memory
    assert driver.said == ["push", "allocate 1000", "pop"] and driver.memory
    del view
    assert driver.said[3:] == ["push", "free", "pop"] and not driver.memory


@pytest.mark.parametrize(
    ("driver", "reason"),
    [(None, "cuInit: no driver"), (Driver(gpus=0), "cuDeviceGet: 101"), (Driver(locked=False), "cuMemHostAlloc: 2")],
)
def test_memory_that_cannot_be_locked_is_one_sentence(
    driver: Driver | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_driver", lambda: driver)
    with pytest.raises(
        BackendError, match=rf"^cuda:0: .* no page-locked memory of 9 bytes \({reason}\); take a smaller"
    ):
        page_locked(9, 0)
    assert driver is None or driver.said.count("push") == driver.said.count("pop")


def test_uploads_go_through_one_page_locked_buffer(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the device itself: its memory is the host's here, and the driver is a double."""
    driver = Driver()
    monkeypatch.setattr(devices, "_driver", lambda: driver)
    bound = BoundRuns(session, "cpu", 0)
    plain = BoundRuns(session, "cpu", 0)
    staged = bound._staged

    def on_a_device(name: str, array: Array) -> Array:
        bound._device = "cuda"
        try:
            return staged(name, array)
        finally:
            bound._device = "cpu"

    monkeypatch.setattr(bound, "_staged", on_a_device)
    for seed, count in enumerate((2, 1, 4, 3)):
        given = frames(count, seed=seed)[:, ::-1]
        check_equal(bound.run({"frames": given}), plain.run({"frames": given}))
    one = frames(1).nbytes
    assert [said for said in driver.said if said.startswith("allocate")] == [
        f"allocate {2 * one}",
        f"allocate {4 * one}",
    ]
    assert driver.said.count("free") == 1


def test_a_graph_that_quietly_went_to_the_cpu_is_refused(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime says that it runs on CUDA where only the provider loaded, whatever the nodes do."""
    monkeypatch.setattr(onnx_runtime, "resolve_device", lambda asked: "cuda:0")
    monkeypatch.setattr(onnx_runtime, "_provider", lambda graph, device, *, tensorrt: "CUDAExecutionProvider")
    load = onnx_runtime._load
    monkeypatch.setattr(
        onnx_runtime, "_load", lambda graph, device, options, providers: load(graph, "cpu", options, [(CPU, {})])
    )
    with pytest.raises(BackendError, match=r"pose\.onnx: asked for CUDA, but ONNX Runtime runs .* on the CPU"):
        OnnxRuntimeSession(graph, device="cuda")


def test_a_gpu_that_loads_a_graph_and_cannot_run_it_is_one_sentence(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_runtime, "resolve_device", lambda asked: "cuda:0")
    monkeypatch.setattr(onnx_runtime, "_provider", lambda graph, device, *, tensorrt: "CUDAExecutionProvider")
    monkeypatch.setattr(onnx_runtime, "_blank", lambda entry, batch: np.zeros((batch, 1), np.uint8))
    load = onnx_runtime._load
    monkeypatch.setattr(
        onnx_runtime, "_load", lambda graph, device, options, providers: load(graph, "cpu", options, [(CPU, {})])
    )
    with pytest.raises(BackendError, match=r"pose\.onnx: ONNX Runtime loads it on cuda:0 and cannot run it .*doctor"):
        OnnxRuntimeSession(graph, device="cuda")


def test_a_failing_run_is_one_sentence_and_takes_no_other_provider(graph: Path) -> None:
    session = OnnxRuntimeSession(graph, device="cpu", threads=1)
    # Unasked, ONNX Runtime's Python layer loads the graph again on the CPU when a provider fails in a run.
    assert session._session._enable_fallback is False
    with pytest.raises(BackendError, match=r"pose\.onnx: ONNX Runtime cannot run frames float32 \(1, 9, 9, 3\) on cpu"):
        session.run({"frames": np.zeros((1, 9, 9, 3), np.float32)})
    assert session.device == "cpu" and session.placement is None


@pytest.mark.skipif(cuda_devices() > 0, reason="this machine has a GPU")
def test_tensorrt_without_a_gpu_is_refused(graph: Path) -> None:
    shapes = shapes_to_build([TensorSpec("frames", "uint8", ("batch", "height", "width", 3))])
    with pytest.raises(BackendError, match="TensorRT needs an NVIDIA GPU"):
        OnnxRuntimeSession(graph, device="auto", tensorrt=shapes)


def test_a_missing_tensorrt_10_is_named_before_a_session_is_made(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "resolve_device", lambda asked: "cuda:0")
    monkeypatch.setattr(onnxruntime_tensorrt, "_loads", lambda library: False)
    monkeypatch.setattr(onnx_runtime, "_load", lambda *_: pytest.fail("a session was made"))
    with pytest.raises(BackendError, match=r"needs libnvinfer\.so\.10.*pip install 'tensorrt-cu13>=10\.16,<11'"):
        OnnxRuntimeSession(graph, device="cuda", tensorrt={"frames": ShapeRange((1,), (1,), (1,))})


def test_pips_tensorrt_is_found_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "tensorrt_libs"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    asked: list[str] = []

    def loads(library: str) -> bool:
        asked.append(library)
        return library.startswith(str(package))

    monkeypatch.setattr(onnxruntime_tensorrt, "_loads", loads)
    assert onnxruntime_tensorrt.missing_libraries() == []
    assert asked == [str(package / name) for name in onnxruntime_tensorrt.LIBRARIES]


def test_engines_are_built_for_free_axes_and_take_what_lies_between() -> None:
    free = shapes_to_build([TensorSpec("frames", "uint8", ("batch", "height", "width", 3))])
    assert free == {"frames": ShapeRange((1, 64, 64, 3), (8, 512, 512, 3), (8, 1536, 1536, 3))}
    crops = (
        TensorSpec("frames", "uint8", ("batch", 256, 192, 3)),
        TensorSpec("conditions", "float32", ("batch", 4, 3)),
    )
    built = shapes_to_build(crops)
    assert built["conditions"] == ShapeRange((1, 4, 3), (8, 4, 3), (32, 4, 3)) and built["frames"].max[0] == 32
    check_shapes("pose.onnx", {"frames": frames(8, 480, 640)}, free)
    with pytest.raises(
        BackendError, match=r"frames of shape 9 x 96 x 128 x 3 .*\(1 x 64 x 64 x 3 to 8 x 1536 x 1536 x 3\)"
    ):
        check_shapes("pose.onnx", {"frames": frames(9)}, free)


def test_engines_of_two_graphs_or_machines_lie_apart(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime names an engine after the graph's nodes: after another training it would take the old weights."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    shapes = {"frames": ShapeRange((1, 64, 64, 3), (8, 512, 512, 3), (8, 1536, 1536, 3))}
    other = write_graph(tmp_path / "pose.onnx", opset=16)
    monkeypatch.setattr(onnxruntime_tensorrt, "describe_gpu", lambda index: "NVIDIA H200 driver 13010")
    options = provider_options(graph, 0, shapes)
    places = {options["trt_engine_cache_path"], provider_options(other, 0, shapes)["trt_engine_cache_path"]}
    monkeypatch.setattr(onnxruntime_tensorrt, "describe_gpu", lambda index: "NVIDIA H200 driver 13020")
    places.add(provider_options(graph, 0, shapes)["trt_engine_cache_path"])
    assert len(places) == 3 and all(Path(place).is_dir() and tmp_path in Path(place).parents for place in places)
    assert options["trt_profile_opt_shapes"] == "frames:8x512x512x3" and options["device_id"] == "0"
    assert "trt_fp16_enable" not in options and "trt_int8_enable" not in options
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BackendError, match=r"cannot hold TensorRT's engines .* XDG_CACHE_HOME"):
        provider_options(graph, 0, shapes)


@pytest.mark.parametrize("provider", ["tensorrt", "cuda"])
def test_every_option_is_one_that_the_installed_provider_reads(
    provider: str, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = CAPI / f"libonnxruntime_providers_{provider}.so"
    if not library.exists():
        pytest.skip("this onnxruntime has no providers for GPUs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    shapes = {"frames": ShapeRange((1,), (1,), (1,))}
    options = provider_options(graph, 0, shapes) if provider == "tensorrt" else onnx_runtime._cuda_options(0)
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for key in options:
            assert re.search(rb"\0" + key.encode() + rb"\0", content), key


@pytest.mark.gpu
@pytest.mark.skipif(cuda_devices() == 0, reason="needs a CUDA device")
def test_cuda_gives_the_numbers_of_the_cpu_over_kept_buffers(graph: Path, tmp_path: Path) -> None:
    fixed = write_graph(tmp_path / "fixed.onnx", sides=(96, 128))
    for file in (graph, fixed):
        right = OnnxRuntimeSession(file, device="cpu", threads=1)
        ours = OnnxRuntimeSession(file, device="cuda")
        assert ours.device == "cuda:0" and ours.placement is not None
        assert ours.placement.provider == "CUDAExecutionProvider" and "CUDA" in str(ours.placement)
        earlier: list[tuple[dict[str, Array], dict[str, Array]]] = []
        for seed, count in enumerate((4, 4, 1, 4)):
            given = {"frames": frames(count, seed=seed)}
            earlier.append((ours.run(given), right.run(given)))
        for found, expected in earlier:
            for name, values in expected.items():
                # float32 without TF32, in another order of additions over 192 inputs.
                np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-3, err_msg=name)


@pytest.mark.gpu
@pytest.mark.skipif(cuda_devices() == 0, reason="needs a CUDA device")
def test_a_real_network_runs_on_cuda_with_the_poses_of_the_cpu(tiny_bundle: Path) -> None:
    from rigpose.bundles.bundle import Bundle
    from rigpose.parity.replay import open_sessions, replay

    bundle = Bundle.open(tiny_bundle)
    assert all(difference.within for difference in replay(bundle, open_sessions(bundle, device="cuda")).values())
