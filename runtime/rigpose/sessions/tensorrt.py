# pyright: basic
"""TensorRT 10 and 11, TensorRT for RTX and the lean runtime: an engine that was built on this rig, on its GPU.

An engine runs wholly on the GPU: TensorRT has no other place to run an operator at, and refuses to build a graph that
holds one it does not have.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rigpose.arrays import Array
from rigpose.bundles.bundle import Bundle, GraphSpec
from rigpose.bundles.engines import Engine, Machine, Shape, ShapeRange, command, fitting_engines
from rigpose.errors import BackendError
from rigpose.sessions import Session
from rigpose.sessions.cuda_memory import Buffer, CudaMemory, Memory
from rigpose.sessions.devices import resolve_device
from rigpose.sessions.tensorrt_library import INSTALL, TensorRtLibrary, importable_libraries, listen, probe_gpu

STEADY_RUNS = 8
"""Runs of the same shapes before a run is recorded as a CUDA graph.

A recording holds for these shapes alone and takes as long as some runs, and the number of crops may change with every
frame. The first run of new shapes sets up what must not be recorded.
"""


def open_tensorrt(bundle: Bundle, graph: GraphSpec, *, device: str = "auto") -> Session:
    """Load the engine that was built from a graph on this machine.

    Args:
        bundle: Holds the engine in its folder ``engines``.
        graph: A graph for TensorRT.
        device: ``cuda``, ``cuda:N``, or ``auto``, which means the first GPU here.

    Raises:
        BackendError: No GPU, no TensorRT, or no engine that fits both; the line that builds one is said.
        ConfigError: No such kind of device.
    """
    wanted = "cuda:0" if device == "auto" else resolve_device(device)
    if wanted == "cpu":
        raise BackendError(f"{graph.file}: TensorRT runs on NVIDIA's GPUs and not on the CPU; leave out --device.")
    gpu = probe_gpu(wanted)
    refused: BackendError | None = None
    for library in importable_libraries():
        try:
            engines = fitting_engines(bundle, graph, Machine(library.name, library.version, gpu))
        except BackendError as error:
            refused = refused or error
            continue
        memory = CudaMemory(int(wanted.split(":")[1]))
        return EngineSession(library, engines, memory, build=command(bundle, graph))
    raise refused or BackendError(f"{graph.file}: TensorRT is not installed; run: {INSTALL['tensorrt']}.")


class EngineSession:
    """A graph's engines; one thread at a time may run them.

    Batches may be of any size: those beyond what an engine was built for are split. Frames must be of a size that one
    of the engines was built for.

    Args:
        library: That built the engines, or can run what it built.
        engines: Each is loaded when the first frames of its size come, the first one at once.
        memory: For inputs and outputs.
        build: The command that builds an engine, for messages.

    Raises:
        BackendError: TensorRT refuses the first engine.
    """

    def __init__(self, library: TensorRtLibrary, engines: tuple[Engine, ...], memory: Memory, *, build: str) -> None:
        self._library, self._engines, self._memory, self._build = library, engines, memory, build
        self._loaded = {engines[0].folder.name: LoadedEngine(library, engines[0], memory, build=build)}

    @property
    def device(self) -> str:
        """``cuda:N``."""
        return self._memory.device

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch; outputs by name.

        Raises:
            BackendError: No engine takes inputs of these shapes or types, or the GPU failed.
        """
        needed = self._engines[0].record.profiles[0].shapes
        absent = [name for name in needed if name not in inputs]
        if absent:
            raise BackendError(
                f"{self._engines[0].record.graph}: needs the input {absent[0]} and got {', '.join(inputs) or 'none'}; "
                "report this model."
            )
        one = {name: (1, *value.shape[1:]) for name, value in inputs.items()}
        for engine in self._engines:
            if any(profile.holds(one) for profile in engine.record.profiles):
                name = engine.folder.name
                if name not in self._loaded:
                    self._loaded[name] = LoadedEngine(self._library, engine, self._memory, build=self._build)
                return self._loaded[name].run(inputs)
        raise BackendError(f"{self._described()}; for others build one with: {self._build}.")

    def _described(self) -> str:
        graph = self._engines[0].record.graph
        sizes = [
            f"{name} of {_per_row(held)}"
            for engine in self._engines
            for name, held in engine.record.profiles[0].shapes.items()
        ]
        return f"{graph}: the inputs are not of a size that its TensorRT engine was built for ({', '.join(sizes)})"


@dataclass
class _Lane:
    """An execution context, which belongs to one profile, and what is set in it.

    Attributes:
        context: TensorRT's.
        ranges: Shapes that it takes, by input.
        shapes: Of the last inputs; none before the first.
        outputs: Shapes that follow from them.
        runs: With these shapes.
        replay: Queues a whole run of these shapes at once; none while it was not recorded.
    """

    context: Any
    ranges: dict[str, ShapeRange]
    shapes: dict[str, Shape] | None
    outputs: dict[str, Shape]
    runs: int = 0
    replay: Callable[[], None] | None = None

    @property
    def most(self) -> int:
        """The largest batch."""
        return min(held.max[0] for held in self.ranges.values())


class LoadedEngine:
    """One engine on its device, with buffers for its largest inputs: a run allocates nothing but its results.

    Raises:
        BackendError: TensorRT refuses the engine, or there is not enough memory.
    """

    def __init__(self, library: TensorRtLibrary, engine: Engine, memory: Memory, *, build: str) -> None:
        trt = library.module
        self._library, self._memory, self._build = library, memory, build
        self._name = engine.record.graph
        self._said = listen(library)
        memory.enter()
        # A plan is a program. Only one whose checksum we wrote down when we built it comes this far.
        plan = engine.plan()
        try:
            self._runtime = trt.Runtime(self._said.logger)
        except (TypeError, RuntimeError) as error:  # what the bindings make of a null pointer
            raise self._failed("cannot start", "run nvidia-smi to see the GPU's state") from error
        if engine.record.fingerprint.options.version_compatible:
            # Such a plan carries its own runtime as code for the host.
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._failed("cannot load its engine", f"build it again: {build} --rebuild")
        tensors = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        reads = trt.TensorIOMode.INPUT
        self._inputs = [name for name in tensors if self._engine.get_tensor_mode(name) == reads]
        self._outputs = [name for name in tensors if name not in self._inputs]
        self._types = {name: np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))) for name in tensors}
        # TensorRT for RTX records and replays by itself, and knows what it may not.
        self._records = not hasattr(trt, "CudaGraphStrategy")
        self._lanes = [self._lane(i) for i in range(self._engine.num_optimization_profiles)]
        self._buffers = self._allocate()
        for lane in self._lanes:
            for name, buffer in self._buffers.items():
                self._do(f"refuses the memory of {name}", lane.context.set_tensor_address, name, buffer.device)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch, in several pieces where it is larger than what the engine was built for."""
        self._memory.enter()
        feeds = {name: self._feed(inputs, name) for name in self._inputs}
        rows = len(feeds[self._inputs[0]])
        if rows == 0:
            # TensorRT has no empty batch, and the shapes of its results are those of any other.
            ones = {name: np.zeros((1, *feed.shape[1:]), feed.dtype) for name, feed in feeds.items()}
            return {name: found[:0] for name, found in self._piece(ones).items()}
        most = max(lane.most for lane in self._lanes)
        pieces = [
            self._piece({name: feed[start : start + most] for name, feed in feeds.items()})
            for start in range(0, rows, most)
        ]
        if len(pieces) == 1:
            return pieces[0]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in self._outputs}

    def _feed(self, inputs: Mapping[str, Array], name: str) -> Array:
        value = inputs[name]
        if value.dtype != self._types[name]:
            raise BackendError(
                f"{self._name}: the input {name} must be {self._types[name]} and is {value.dtype}; convert it."
            )
        return value

    def _piece(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        shapes = {name: tuple(feed.shape) for name, feed in feeds.items()}
        lane = self._lane_for(shapes)
        if lane.shapes != shapes:
            self._set_shapes(lane, shapes)
        for name, feed in feeds.items():
            np.copyto(self._buffers[name].host[: feed.nbytes].view(feed.dtype).reshape(feed.shape), feed)
        try:
            self._queue(lane)
            self._memory.synchronize()
        except BackendError:
            lane.shapes = lane.replay = None
            raise
        lane.runs += 1
        return {name: self._view(name, shape).copy() for name, shape in lane.outputs.items()}

    def _queue(self, lane: _Lane) -> None:
        """Queue copies and kernels: one by one for new shapes, recorded for those that come again."""
        if lane.replay is None and self._records and lane.runs >= STEADY_RUNS:
            try:
                lane.replay = self._memory.record(lambda: self._queue_each(lane))
            except BackendError as error:
                self._records = False
                warnings.warn(
                    f"{self._name}: runs without a CUDA graph, which costs some time in every frame: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
        if lane.replay is None:
            self._queue_each(lane)
        else:
            lane.replay()

    def _queue_each(self, lane: _Lane) -> None:
        assert lane.shapes is not None
        for name, shape in lane.shapes.items():
            self._memory.upload(self._buffers[name], self._bytes(name, shape))
        self._do("cannot run", lane.context.execute_async_v3, self._memory.stream)
        for name, shape in lane.outputs.items():
            self._memory.download(self._buffers[name], self._bytes(name, shape))

    def _lane(self, number: int) -> _Lane:
        """A context of its own for each profile, so that changing between them changes nothing inside."""
        context = self._context()
        if context is None:
            raise self._failed("cannot prepare its engine", "close other programs on this GPU")
        choose = context.set_optimization_profile_async
        self._do(f"refuses the engine's profile {number}", choose, number, self._memory.stream)
        self._memory.synchronize()
        ranges = {
            name: ShapeRange(*(tuple(shape) for shape in self._engine.get_tensor_profile_shape(name, number)))
            for name in self._inputs
        }
        lane = _Lane(context, ranges, None, {})
        self._set_shapes(lane, {name: held.max for name, held in ranges.items()})
        return lane

    def _context(self) -> Any:
        trt, engine = self._library.module, self._engine
        # Working memory for this profile and not for the largest of all.
        strategy = trt.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        if self._records:
            return engine.create_execution_context(strategy)
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return engine.create_execution_context(config)

    def _lane_for(self, shapes: Mapping[str, Shape]) -> _Lane:
        fitting = [lane for lane in self._lanes if all(held.holds(shapes[name]) for name, held in lane.ranges.items())]
        if not fitting:
            given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            built = "; or ".join(
                ", ".join(f"{name} {held.min} to {held.max}" for name, held in lane.ranges.items())
                for lane in self._lanes
            )
            raise BackendError(
                f"{self._name}: the engine was not built for {given}, it takes {built}; build one: {self._build}."
            )
        return min(fitting, key=lambda lane: lane.most)

    def _set_shapes(self, lane: _Lane, shapes: dict[str, Shape]) -> None:
        lane.shapes, lane.replay, lane.runs = None, None, 0
        for name, shape in shapes.items():
            self._do(f"refuses {name} of {shape}", lane.context.set_input_shape, name, shape)
        lane.outputs = {name: tuple(lane.context.get_tensor_shape(name)) for name in self._outputs}
        for name, shape in lane.outputs.items():
            if any(side < 0 for side in shape):
                raise BackendError(
                    f"{self._name}: the size of its output {name} depends on what is in a frame, and engines need it "
                    "beforehand; report this model."
                )
        lane.shapes = shapes

    def _allocate(self) -> dict[str, Buffer]:
        sizes = dict.fromkeys([*self._inputs, *self._outputs], 1)
        for lane in self._lanes:
            assert lane.shapes is not None
            for name, shape in {**lane.shapes, **lane.outputs}.items():
                sizes[name] = max(sizes[name], self._bytes(name, shape))
        return {name: self._memory.allocate(size) for name, size in sizes.items()}

    def _view(self, name: str, shape: Shape) -> Array:
        return self._buffers[name].host[: self._bytes(name, shape)].view(self._types[name]).reshape(shape)

    def _bytes(self, name: str, shape: Shape) -> int:
        return int(np.prod(shape, dtype=np.int64)) * self._types[name].itemsize

    def _do(self, failure: str, call: Callable[..., bool], *arguments: object) -> None:
        """Call what returns False where it fails, or raises; why is said to the logger alone."""
        try:
            done = call(*arguments)
        except (RuntimeError, ValueError):
            done = False
        if not done:
            raise self._failed(failure, "run rigpose doctor, or build the engine again")

    def _failed(self, what: str, next_step: str) -> BackendError:
        return BackendError(f"{self._name}: {self._library} {what} ({self._said.reason()}); {next_step}.")


def _per_row(held: ShapeRange) -> str:
    low, high = ("x".join(map(str, shape[1:])) for shape in (held.min, held.max))
    return low if low == high else f"{low} to {high}"
