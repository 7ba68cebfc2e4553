# pyright: basic
"""Graph -> TensorRT engine, on the rig: this module imports without torch.

Precision is in the graph: a strongly typed network runs every operator in the type that the file gives it, in TensorRT
10, in 11, which knows nothing else, and in TensorRT for RTX. So there is no precision flag here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from rigpose.bundles.bundle import Bundle, GraphSpec, TensorSpec
from rigpose.bundles.engines import (
    FORMAT,
    BuildOptions,
    Engine,
    EngineRecord,
    Gpu,
    Machine,
    Profile,
    ShapeRange,
    engine_folder,
    timing_cache,
    write_engine,
    write_timing_cache,
)
from rigpose.errors import BackendError, ConfigError
from rigpose.sessions.tensorrt_library import Said, TensorRtLibrary, listen, one_line

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Plan:
    """A serialised engine.

    Attributes:
        bytes: For the library that built it.
        seconds: That the build took.
        timing: What the library measured meanwhile, for the next build; none where it measures nothing.
    """

    bytes: bytes
    seconds: float
    timing: bytes | None = None


class EngineBuildError(BackendError):
    """A graph that a library cannot turn into an engine.

    Attributes:
        problems: Operator, node name and reason of each node that the parser rejects; empty if the build failed later.
    """

    def __init__(self, sentence: str, problems: tuple[tuple[str, str, str], ...] = ()) -> None:
        super().__init__(sentence)
        self.problems = problems


def build_plan(
    library: TensorRtLibrary,
    graph: Path,
    profiles: Sequence[Profile],
    *,
    options: BuildOptions,
    timing: bytes | None = None,
) -> Plan:
    """Build an engine from a typed ONNX graph.

    TensorRT 10 and 11 need the GPU that the engine is for; TensorRT for RTX needs none.

    Args:
        library: From ``import_library``.
        graph: The ``.onnx`` file.
        profiles: Shapes to tune for, each with every input.
        options: Choices of the build.
        timing: Of an earlier build on this GPU with this library and driver.

    Raises:
        EngineBuildError: The library rejects the graph; the operator, the node and the reason are said.
        BackendError: The library cannot build at all.
    """
    trt, said = library.module, listen(library)
    if not hasattr(trt, "Builder"):
        raise BackendError(
            f"{graph.name}: {library} runs engines and builds none; build with --library tensorrt --version-compatible."
        )
    started = time.perf_counter()
    try:
        builder = trt.Builder(said.logger)
    except (TypeError, RuntimeError) as error:
        raise BackendError(
            f"{graph.name}: {library} cannot build on this machine ({said.reason()}); run rigpose doctor."
        ) from error
    # The flag's number differs between the versions, and without it version 10 would choose precisions itself.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, said.logger)
    if not parser.parse_from_file(str(graph)):
        raise _rejected(library, graph, parser, said)
    config = builder.create_builder_config()
    # TF32 rounds the inputs of fp32 convolutions to 10 bits, and it is TensorRT's default.
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * MEBIBYTE)
    _add_profiles(library, graph, builder, config, profiles)
    # TensorRT for RTX measures nothing while it builds, and a cache would make it ask for a GPU.
    cached = not library.portable
    if cached:
        _attach_timing(config, timing)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise EngineBuildError(
            f"{graph.name}: {library} parses it and cannot build an engine ({said.reason()}); choose another precision "
            "or --backend onnxruntime, or report this model."
        )
    measured = config.get_timing_cache() if cached else None
    return Plan(
        bytes(serialized),
        time.perf_counter() - started,
        None if measured is None else bytes(measured.serialize()),
    )


def profiles_for(
    graph: GraphSpec, *, batch: int, sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
) -> tuple[Profile, ...]:
    """The shapes to tune a graph's engine for: one frame at once, and batches of up to ``batch``.

    Args:
        graph: Its axes that may vary get their sizes here.
        batch: Frames or crops that run together; the throughput profile is tuned for as many.
        sizes: Smallest and largest (h, w) of the graph's input [px]; none where the graph fixes it.

    Raises:
        ConfigError: The graph needs sizes and there are none, or it does not take these.
    """
    if batch < 1:
        raise ConfigError(f"{graph.file}: batch {batch}: there must be at least 1 frame in a batch.")
    rows: list[tuple[Literal["latency", "throughput"], int]] = [("latency", 1)]
    if batch > 1:
        rows.append(("throughput", batch))
    return tuple(
        Profile(name, {tensor.name: _range(graph, tensor, most, sizes) for tensor in graph.inputs})
        for name, most in rows
    )


def _range(
    graph: GraphSpec, tensor: TensorSpec, rows: int, sizes: tuple[tuple[int, int], tuple[int, int]] | None
) -> ShapeRange:
    low, high = [1], [rows]
    for place, axis in enumerate(tensor.shape[1:]):
        if isinstance(axis, int):
            low.append(axis)
            high.append(axis)
        elif sizes is None or place > 1:
            raise ConfigError(
                f"{graph.file}: takes frames of any size, and an engine does not; give the size of your videos: "
                "--frame-size HxW."
            )
        else:
            low.append(_fitting_side(graph, axis, sizes[0][place]))
            high.append(_fitting_side(graph, axis, sizes[1][place]))
    return ShapeRange(tuple(low), tuple(high), tuple(high))


def _fitting_side(graph: GraphSpec, axis: str, side: int) -> int:
    multiple = re.fullmatch(r"(\d+)\s*\*\s*\w+", axis)
    if multiple and side % int(multiple[1]):
        raise ConfigError(f"{graph.file}: a side of its input must be a multiple of {multiple[1]} and is {side} px.")
    return side


def build_engine(
    bundle: Bundle,
    graph: GraphSpec,
    library: TensorRtLibrary,
    gpu: Gpu | None,
    profiles: tuple[Profile, ...],
    *,
    options: BuildOptions,
) -> Engine:
    """Build the engine of one of a bundle's graphs and put it into the bundle's folder ``engines``.

    Args:
        bundle: Opened, so that its graph is the one that was exported.
        graph: For TensorRT.
        library: That builds.
        gpu: That the engine is for; none where the library needs none.
        profiles: From ``profiles_for``.
        options: Choices of the build.

    Raises:
        BackendError: The library cannot build it, or it cannot be written.
    """
    machine = Machine(library.name, library.version, gpu)
    fingerprint = machine.fingerprint(bundle.manifest.files[graph.file].sha256, options)
    cache = timing_cache(bundle, machine)
    timing = cache.read_bytes() if cache.is_file() and not library.portable else None
    plan = build_plan(library, bundle.file(graph.file), profiles, options=options, timing=timing)
    record = EngineRecord(
        rigpose_engine=FORMAT,
        graph=graph.file,
        fingerprint=fingerprint,
        profiles=profiles,
        created=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        seconds=round(plan.seconds, 1),
        bytes=len(plan.bytes),
        sha256=sha256(plan.bytes).hexdigest(),
    )
    engine = write_engine(engine_folder(bundle, graph, fingerprint, profiles), plan.bytes, record)
    if plan.timing is not None:
        write_timing_cache(cache, plan.timing)
    return engine


def _attach_timing(config: Any, timing: bytes | None) -> None:
    cache = config.create_timing_cache(timing or b"")
    # One that does not fit is refused; the build then measures everything again.
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _add_profiles(
    library: TensorRtLibrary, graph: Path, builder: Any, config: Any, profiles: Sequence[Profile]
) -> None:
    for number, profile in enumerate(profiles):
        shapes = builder.create_optimization_profile()
        try:
            for name, held in profile.shapes.items():
                shapes.set_shape(name, held.min, held.opt, held.max)
            added = config.add_optimization_profile(shapes)
        except (RuntimeError, ValueError):
            added = -1
        if added != number:
            raise BackendError(
                f"{graph.name}: {library} does not accept the shapes of the {profile.name} profile; report this model."
            )


def _rejected(library: TensorRtLibrary, graph: Path, parser: Any, said: Said) -> EngineBuildError:
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    problems = tuple((e.node_operator(), e.node_name(), one_line(e.desc())) for e in errors)
    words = "; ".join(f"{operator or 'graph'} {name!r}: {reason}" for operator, name, reason in problems[:3])
    return EngineBuildError(
        f"{graph.name}: {library} rejects it ({words or said.reason()}); export the bundle again with --portable, "
        "or choose --backend onnxruntime.",
        problems,
    )
