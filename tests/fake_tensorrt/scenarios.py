"""What happens with one version of TensorRT's bindings, from a graph to numbers; run by ``run_scenarios``.

``python -m fake_tensorrt.scenarios MAJOR BINDINGS BUNDLE SCRATCH`` prints what became of each as JSON.
"""

from __future__ import annotations

import gc
import json
import shutil
import sys
import traceback
import types
import warnings
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake_tensorrt
from fake_tensorrt.fake_cuda import FakeCuda
from fake_tensorrt.host_memory import HostMemory
from rigpose.bundles.bundle import Bundle, GraphSpec, TensorSpec
from rigpose.bundles.engines import (
    PLAN,
    BuildOptions,
    Engine,
    Gpu,
    Machine,
    Profile,
    command,
    engines_of,
    fitting_engines,
)
from rigpose.errors import BackendError
from rigpose.sessions.cuda_memory import CudaMemory
from rigpose.sessions.tensorrt import STEADY_RUNS, EngineSession, open_tensorrt
from rigpose.sessions.tensorrt_library import TensorRtLibrary, import_library, installed_libraries
from rigpose_export.engine import EngineBuildError, build_engine, build_plan, profiles_for
from rigpose_export.engine_command import COMMAND

GPU = Gpu("NVIDIA RTX 4090", "8.9", "13.0")
SIDE, KEYPOINTS = 16, 4


@dataclass(frozen=True)
class Rig:
    """A bundle on a machine with the fake library."""

    fake: fake_tensorrt.Fake
    library: TensorRtLibrary
    bundle: Bundle
    graph: GraphSpec

    @property
    def machine(self) -> Machine:
        return Machine(self.library.name, self.library.version, GPU)

    def build(self, *, batch: int = 4, options: BuildOptions | None = None, side: int = SIDE) -> Engine:
        graph = sized(self.graph, side)
        self.describe(graph)
        profiles = profiles_for(graph, batch=batch)
        return build_engine(self.bundle, graph, self.library, GPU, profiles, options=options or BuildOptions())

    def describe(self, graph: GraphSpec) -> None:
        tensors = [(t, "input") for t in graph.inputs] + [(t, "output") for t in graph.outputs]
        self.fake.describe(
            *((t.name, mode, t.dtype, tuple(a if isinstance(a, int) else -1 for a in t.shape)) for t, mode in tensors)
        )

    def session(self, memory: HostMemory | None = None) -> EngineSession:
        engines = fitting_engines(self.bundle, self.graph, self.machine)
        return EngineSession(self.library, engines, memory or HostMemory(), build=command(self.bundle, self.graph))


def sized(graph: GraphSpec, side: int) -> GraphSpec:
    """The graph of frames of one size."""
    frames = replace(graph.inputs[0], shape=("batch", side, side, 3))
    return replace(graph, inputs=(frames, *graph.inputs[1:]))


def frames(rows: int, *, side: int = SIDE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, side, side, 3), np.uint8)


def answer(inputs: dict[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """What the fake computes: a weighted sum over each row of all inputs, plus each element's index."""
    rows = len(next(iter(inputs.values())))
    total = np.zeros(rows)
    for value in inputs.values():
        flat = value.reshape(rows, int(np.prod(value.shape[1:]))).astype(np.float64)
        total += flat @ (1 + np.arange(flat.shape[1]) % 7)
    index = np.arange(np.prod(shape))
    return (total[:, None] + index).astype(np.float32).reshape(rows, *shape)


def numbers_come_out_of_what_was_built(rig: Rig) -> None:
    engine = rig.build()
    trt, fake = rig.library.module, rig.fake
    assert fake.read("network_flags") == 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert fake.flags("flags_cleared", trt.BuilderFlag.TF32) and fake.flags("flags_set")
    assert engine.plan().startswith(b"FAKEPLAN") and engine.record.bytes == len(engine.plan())
    assert [profile.name for profile in engine.record.profiles] == ["latency", "throughput"]
    memory = HostMemory()
    session = rig.session(memory)
    assert session.device == "cuda:0"
    for rows in (1, 1, 1, 4, 4, 3, 1, 2) + (3,) * (STEADY_RUNS + 2):
        given = {"frames": frames(rows, seed=rows)}
        found = session.run(given)
        assert set(found) == {"keypoints"} and found["keypoints"].dtype == np.float32
        np.testing.assert_array_equal(found["keypoints"], answer(given, (KEYPOINTS, 3)))
    # Inputs and outputs of the largest batch, and nothing since.
    assert memory.sizes == [4 * SIDE * SIDE * 3, 4 * KEYPOINTS * 3 * 4]


def results_belong_to_the_caller(rig: Rig) -> None:
    rig.build()
    session = rig.session()
    first = session.run({"frames": frames(2, seed=1)})["keypoints"]
    kept = first.copy()
    session.run({"frames": frames(2, seed=2)})
    np.testing.assert_array_equal(first, kept)
    first[:] = 0  # and is writable


def larger_and_empty_batches_run(rig: Rig) -> None:
    rig.build(batch=4)
    session = rig.session()
    for rows in (11, 8, 5, 0):
        given = {"frames": frames(rows)}
        np.testing.assert_array_equal(session.run(given)["keypoints"], answer(given, (KEYPOINTS, 3)))
    backwards = frames(3)[:, ::-1]  # a view, not in the order of memory
    np.testing.assert_array_equal(
        session.run({"frames": backwards})["keypoints"], answer({"frames": backwards}, (KEYPOINTS, 3))
    )


def an_engine_of_one_frame_takes_more(rig: Rig) -> None:
    engine = rig.build(batch=1)
    assert len(engine.record.profiles) == 1
    given = {"frames": frames(3)}
    np.testing.assert_array_equal(rig.session().run(given)["keypoints"], answer(given, (KEYPOINTS, 3)))


def repeated_shapes_are_recorded_once(rig: Rig) -> None:
    rig.build()
    memory = HostMemory()
    session = rig.session(memory)
    counts = []
    for rows, times in ((1, STEADY_RUNS + 3), (3, STEADY_RUNS), (4, 1), (1, 1), (3, STEADY_RUNS + 2)):
        for seed in range(times):
            given = {"frames": frames(rows, seed=seed)}
            np.testing.assert_array_equal(session.run(given)["keypoints"], answer(given, (KEYPOINTS, 3)))
        counts.append((memory.recorded, memory.replayed))
    # A profile replays one shape at a time: the lone frame's holds while the other profile sees others.
    assert counts == [(1, 3), (1, 3), (1, 3), (1, 4), (2, 6)]


def what_cannot_be_recorded_runs_and_warns(rig: Rig) -> None:
    rig.build()
    session = rig.session(HostMemory(recordable=False))
    given = {"frames": frames(1)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(STEADY_RUNS + 3):
            np.testing.assert_array_equal(session.run(given)["keypoints"], answer(given, (KEYPOINTS, 3)))
    assert len(caught) == 1 and "without a CUDA graph" in str(caught[0].message)


def a_second_input_is_fed(rig: Rig) -> None:
    conditions = TensorSpec("conditions", "float32", ("batch", KEYPOINTS, 3))
    rig = replace(rig, graph=replace(rig.graph, inputs=(*rig.graph.inputs, conditions)))
    engine = rig.build()
    assert engine.record.profiles[1].shapes["conditions"].max == (4, KEYPOINTS, 3)
    session = rig.session()
    for rows in (1, 3, 6):
        told = np.arange(rows * KEYPOINTS * 3, dtype=np.float32).reshape(rows, KEYPOINTS, 3) + 0.25
        given = {"frames": frames(rows), "conditions": told}
        np.testing.assert_array_equal(session.run(given)["keypoints"], answer(given, (KEYPOINTS, 3)))
    with pytest.raises(BackendError, match="needs the input conditions"):
        session.run({"frames": frames(1)})


def several_frame_sizes_have_an_engine_each(rig: Rig) -> None:
    rig.build(side=16)
    rig.build(side=24)
    assert len(engines_of(rig.bundle, rig.graph)) == 2
    session = rig.session()
    for side in (16, 24, 16):
        given = {"frames": frames(2, side=side)}
        np.testing.assert_array_equal(session.run(given)["keypoints"], answer(given, (KEYPOINTS, 3)))
    with pytest.raises(
        BackendError, match=r"not of a size .* 24x24x3, frames of 16x16x3\); for others .* rigpose engine"
    ):
        session.run({"frames": frames(1, side=32)})


def wrong_inputs_are_said(rig: Rig) -> None:
    rig.build()
    session = rig.session()
    with pytest.raises(BackendError, match="must be uint8 and is float32"):
        session.run({"frames": frames(1).astype(np.float32)})
    with pytest.raises(BackendError, match="not of a size"):
        session.run({"frames": frames(1)[..., :2]})


def options_reach_the_builder(rig: Rig) -> None:
    trt = rig.library.module
    rig.build(options=BuildOptions(version_compatible=True, workspace_mib=3))
    assert rig.fake.flags("flags_set", trt.BuilderFlag.VERSION_COMPATIBLE)
    assert rig.fake.read("workspace") == 3 << 20
    assert rig.fake.read("host_code") == 0
    rig.session()
    assert rig.fake.read("host_code") == 1
    caches = list((rig.bundle.path / "engines").glob("timing-*.cache"))
    assert [cache.read_bytes() for cache in caches] == [b"FAKETIMES"]


def the_lean_runtime_runs_what_was_built_for_it(rig: Rig) -> None:
    """Its module has the same names, without those that build."""
    lean = types.SimpleNamespace(
        **{name: value for name, value in vars(rig.library.module).items() if name not in ("Builder", "OnnxParser")}
    )
    library = TensorRtLibrary("tensorrt_lean", rig.library.version, lean)
    machine = Machine(library.name, library.version, GPU)
    rig.build()
    with pytest.raises(BackendError, match="not with --version-compatible, and here is tensorrt_lean"):
        fitting_engines(rig.bundle, rig.graph, machine)
    rig.build(options=BuildOptions(version_compatible=True))
    session = EngineSession(library, fitting_engines(rig.bundle, rig.graph, machine), HostMemory(), build="")
    given = {"frames": frames(2)}
    np.testing.assert_array_equal(session.run(given)["keypoints"], answer(given, (KEYPOINTS, 3)))
    with pytest.raises(BackendError, match="runs engines and builds none; build with --library tensorrt"):
        build_plan(library, rig.bundle.file(rig.graph.file), (), options=BuildOptions())


def a_rejected_graph_names_node_and_reason(rig: Rig) -> None:
    rig.fake.set(reject_graph=1)
    with pytest.raises(
        EngineBuildError, match=r"rejects it \(Transpose 'node_7': Unsupported data type: uint8\);"
    ) as e:
        rig.build()
    assert e.value.problems == (("Transpose", "node_7", "Unsupported data type: uint8"),)
    assert not (rig.bundle.path / "engines").exists()


def a_failed_build_gives_the_librarys_reason(rig: Rig) -> None:
    rig.fake.set(fail_build=1)
    with pytest.raises(EngineBuildError, match=r"cannot build an engine \(.*no implementation for node conv_7\);") as e:
        rig.build()
    assert "\n" not in str(e.value)
    assert not engines_of(rig.bundle, rig.graph)


def a_profile_that_the_library_refuses_is_said(rig: Rig) -> None:
    graph = sized(rig.graph, SIDE)
    rig.describe(graph)
    profiles: tuple[Profile, ...] = profiles_for(sized(rig.graph, 2 * SIDE), batch=1)
    with pytest.raises(BackendError, match="does not accept the shapes of the latency profile"):
        build_plan(rig.library, rig.bundle.file(graph.file), profiles, options=BuildOptions())
    (other,) = profiles_for(graph, batch=1)
    unknown = Profile("latency", {"pictures": other.shapes["frames"]})
    with pytest.raises(BackendError, match="does not accept the shapes of the latency profile"):
        build_plan(rig.library, rig.bundle.file(graph.file), [unknown], options=BuildOptions())


def a_changed_plan_is_not_loaded(rig: Rig) -> None:
    engine = rig.build()
    path = engine.folder / PLAN
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(BackendError, match=r"not the file that was built .* rigpose engine .* --rebuild"):
        rig.session()
    path.unlink()
    with pytest.raises(BackendError, match="not the file that was built"):
        rig.session()


def a_plan_that_the_library_refuses_is_said(rig: Rig) -> None:
    engine = rig.build()
    from hashlib import sha256

    from rigpose.bundles.engines import write_engine

    other = b"ANOTHER" + engine.plan()
    write_engine(engine.folder, other, replace(engine.record, sha256=sha256(other).hexdigest()))
    with pytest.raises(BackendError, match=r"cannot load its engine \(.*magic tag does not match\); build it again"):
        rig.session()


def a_failed_run_is_said_and_the_next_one_works(rig: Rig) -> None:
    rig.build()
    memory = HostMemory()
    session = rig.session(memory)
    given = {"frames": frames(1)}
    for runs_before in (0, STEADY_RUNS, STEADY_RUNS + 1):
        for _ in range(runs_before):
            session.run(given)
        rig.fake.set(fail_enqueue=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(BackendError, match=r"cannot run \(.*illegal memory access.*\); run rigpose doctor"):
                session.run(given)
        rig.fake.set(fail_enqueue=0)
        replayed = memory.replayed
        np.testing.assert_array_equal(session.run(given)["keypoints"], answer(given, (KEYPOINTS, 3)))
        # What was recorded before the failure is not trusted.
        assert memory.replayed == replayed


def refused_memory_and_profiles_are_said(rig: Rig) -> None:
    rig.build()
    rig.fake.set(refuse_address=1)
    with pytest.raises(BackendError, match="refuses the memory of frames"):
        rig.session()
    rig.fake.set(refuse_profile=1)
    with pytest.raises(BackendError, match="refuses the engine's profile 0"):
        rig.session()


def a_library_that_cannot_start_is_said(rig: Rig) -> None:
    rig.build()
    rig.fake.set(refuse_objects=1)
    with pytest.raises(BackendError, match=r"cannot start .*; run nvidia-smi"):
        rig.session()
    with pytest.raises(BackendError, match=r"cannot build on this machine .*; run rigpose doctor"):
        rig.build()


def an_engine_for_another_machine_is_refused_with_the_reason(rig: Rig) -> None:
    rig.build()
    others = {
        "built for NVIDIA RTX 4090 .* and this is NVIDIA H200": replace(
            rig.machine, gpu=replace(GPU, name="NVIDIA H200")
        ),
        "built by tensorrt .* and not with --version-compatible, and here is": replace(rig.machine, version="99.1"),
        "driver for CUDA 13.0 and this one is for 13.2": replace(rig.machine, gpu=replace(GPU, driver="13.2")),
    }
    for reason, machine in others.items():
        with pytest.raises(BackendError, match=f"{reason}.*; build one with: rigpose engine"):
            fitting_engines(rig.bundle, rig.graph, machine)


def from_the_command_to_numbers_on_cuda(rig: Rig) -> None:
    """Everything but the fake library and the fake CUDA is what runs on a rig."""
    cuda = FakeCuda(rig.fake.library.fake_replay, lambda: rig.fake.read("enqueues"))
    cuda.install()
    rig.describe(rig.graph)
    parser = ArgumentParser()
    COMMAND.configure(parser)
    words = [str(rig.bundle.path), "--frame-size", f"{SIDE}x{SIDE}", "--batch", "3", "--library", "tensorrt"]
    assert COMMAND.run(parser.parse_args(words)) == 0
    (engine,) = engines_of(rig.bundle, rig.graph)
    assert engine.record.fingerprint.gpu == Gpu("NVIDIA RTX 4090", "8.9", "13.2")
    session = open_tensorrt(rig.bundle, rig.graph)
    ones, threes, many = [1] * (STEADY_RUNS + 2), [3] * (STEADY_RUNS + 3), 3 * (STEADY_RUNS + 2) + 1
    for number, rows in enumerate([*ones, *threes, 2, 1, 1, many]):
        given = {"frames": frames(rows, seed=number)}
        np.testing.assert_array_equal(session.run(given)["keypoints"], answer(given, (KEYPOINTS, 3)))
    # Two lone frames and three threes beyond the steady ones are replayed; then two lone frames again, whose profile
    # saw nothing else since; of the many, which are split into threes, two threes and the lone frame that is left.
    assert cuda.launched == 2 + 3 + 2 + 2 + 1
    assert cuda.held("graph") == 0 and cuda.held("executable") == 2
    assert session.device == "cuda:0"
    held = cuda.held("device"), cuda.held("host"), cuda.held("stream")
    assert held == (2, 2, 1)
    del session
    gc.collect()
    assert [cuda.held(kind) for kind in ("device", "host", "stream", "executable")] == [0, 0, 0, 0]
    cuda.memory = 100
    with pytest.raises(BackendError, match=r"cuda:0: cudaMalloc failed \(out of memory\); close other programs"):
        open_tensorrt(rig.bundle, rig.graph)
    gc.collect()
    assert cuda.held("device") == cuda.held("stream") == 0
    with pytest.raises(BackendError, match="there are 1 GPUs, numbered from 0"):
        open_tensorrt(rig.bundle, rig.graph, device="cuda:1")
    cuda.devices = 0
    with pytest.raises(BackendError, match="CUDA finds none \\(no CUDA-capable device is detected\\)"):
        open_tensorrt(rig.bundle, rig.graph)


def a_graph_that_cuda_does_not_record_runs_all_the_same(rig: Rig) -> None:
    rig.build()
    cuda = FakeCuda(rig.fake.library.fake_replay, lambda: rig.fake.read("enqueues"))
    cuda.install()
    cuda.may_record = False
    session = EngineSession(rig.library, engines_of(rig.bundle, rig.graph), CudaMemory(0), build="")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seed in range(STEADY_RUNS + 3):
            given = {"frames": frames(2, seed=seed)}
            np.testing.assert_array_equal(session.run(given)["keypoints"], answer(given, (KEYPOINTS, 3)))
    assert len(caught) == 1 and cuda.launched == 0


def the_bindings_are_found_as_the_library(rig: Rig) -> None:
    assert "tensorrt" in installed_libraries()
    found = import_library("tensorrt")
    assert found.module is rig.fake.module and found.version == rig.library.version


SCENARIOS: tuple[Callable[[Rig], None], ...] = (
    numbers_come_out_of_what_was_built,
    results_belong_to_the_caller,
    larger_and_empty_batches_run,
    an_engine_of_one_frame_takes_more,
    repeated_shapes_are_recorded_once,
    what_cannot_be_recorded_runs_and_warns,
    a_second_input_is_fed,
    several_frame_sizes_have_an_engine_each,
    wrong_inputs_are_said,
    options_reach_the_builder,
    the_lean_runtime_runs_what_was_built_for_it,
    a_rejected_graph_names_node_and_reason,
    a_failed_build_gives_the_librarys_reason,
    a_profile_that_the_library_refuses_is_said,
    a_changed_plan_is_not_loaded,
    a_plan_that_the_library_refuses_is_said,
    a_failed_run_is_said_and_the_next_one_works,
    refused_memory_and_profiles_are_said,
    a_library_that_cannot_start_is_said,
    an_engine_for_another_machine_is_refused_with_the_reason,
    from_the_command_to_numbers_on_cuda,
    a_graph_that_cuda_does_not_record_runs_all_the_same,
    the_bindings_are_found_as_the_library,
)


def main(major: str, bindings: str, bundle: str, scratch: str) -> None:
    fake = fake_tensorrt.load(int(major), Path(bindings))
    library = TensorRtLibrary("tensorrt", fake.module.__version__, fake.module)
    became: dict[str, Any] = {}
    for scenario in SCENARIOS:
        copy = Path(shutil.copytree(bundle, Path(scratch) / scenario.__name__))
        opened = Bundle.open(copy)
        graph = opened.manifest.graph("pose", backend="tensorrt")
        one_output = replace(graph, outputs=(TensorSpec("keypoints", "float32", ("batch", KEYPOINTS, 3)),))
        fake.set(
            reject_graph=0,
            fail_build=0,
            fail_enqueue=0,
            refuse_address=0,
            refuse_profile=0,
            refuse_objects=0,
            host_code=0,
        )
        fake.set(flags_set=0, flags_cleared=0, network_flags=0)
        try:
            scenario(Rig(fake, library, opened, one_output))
            became[scenario.__name__] = ""
        except BaseException:  # noqa: BLE001  what a failed pytest.raises raises is no Exception
            became[scenario.__name__] = traceback.format_exc()
    print(json.dumps(became))


if __name__ == "__main__":
    main(*sys.argv[1:])
