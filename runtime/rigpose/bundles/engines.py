"""Where a bundle's TensorRT engines lie, and whether one fits this machine.

engines/                        beside the manifest, not a part of it: it can always be deleted and built again
engines/pose.fp16-0123456789ab/ an engine: engine.plan, and engine.yaml that says for what it was built
engines/timing-*.cache          what TensorRT measured on this GPU, so that the next build is faster

An engine is a program for one GPU, made by one version of one library from one graph. It runs where all of that is
the same, and is refused elsewhere: TensorRT would at best refuse it, and at worst run it with other numbers.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import yaml

from rigpose.bundles.bundle import Bundle, GraphSpec, file_sha256
from rigpose.errors import BackendError, ConfigError
from rigpose.schema import parse, to_mapping

FORMAT = 1
"""Version of ``engine.yaml``; engines of another one are built again."""

ENGINES, PLAN, RECORD = "engines", "engine.plan", "engine.yaml"

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Gpu:
    """What an engine is made for.

    Attributes:
        name: As the driver calls it.
        compute_capability: Such as ``8.9``.
        driver: The newest CUDA version that the driver serves, such as ``13.0``.
    """

    name: str
    compute_capability: str
    driver: str


@dataclass(frozen=True)
class ShapeRange:
    """The smallest, the usual and the largest shape of an input."""

    min: Shape
    opt: Shape
    max: Shape

    def __post_init__(self) -> None:
        ranks = {len(self.min), len(self.opt), len(self.max)}
        ordered = all(a <= b <= c for a, b, c in zip(self.min, self.opt, self.max, strict=False))
        if len(ranks) != 1 or not ordered:
            raise ConfigError(f"shapes {self.min}, {self.opt}, {self.max}: must be of one length and must not shrink.")

    def holds(self, shape: Shape) -> bool:
        """Whether a shape lies within."""
        return len(shape) == len(self.min) and all(
            low <= side <= high for low, side, high in zip(self.min, shape, self.max, strict=True)
        )


@dataclass(frozen=True)
class Profile:
    """Shapes that an engine is tuned for.

    Attributes:
        name: One frame as soon as it is there, or as many frames per second as possible.
        shapes: Of each input.
    """

    name: Literal["latency", "throughput"]
    shapes: dict[str, ShapeRange]

    def holds(self, shapes: Mapping[str, Shape]) -> bool:
        """Whether inputs of these shapes can run."""
        return all(held.holds(shapes[name]) for name, held in self.shapes.items())


@dataclass(frozen=True)
class BuildOptions:
    """Choices of a build, beside its shapes.

    Attributes:
        version_compatible: Runs in newer versions of the library, too, and in the lean runtime; somewhat slower.
        workspace_mib: Most GPU memory that a layer may use while it computes [MiB]; none for all there is.
    """

    version_compatible: bool = False
    workspace_mib: int | None = None


@dataclass(frozen=True)
class Fingerprint:
    """Everything that must be the same for an engine to run with the same numbers.

    Attributes:
        library: NVIDIA's module name.
        version: Of the library.
        system: Operating system and processor.
        gpu: None for TensorRT for RTX, whose engines are finished on the GPU that loads them.
        graph_sha256: Of the graph's file.
        options: Choices of the build.
    """

    library: str
    version: str
    system: str
    gpu: Gpu | None
    graph_sha256: str
    options: BuildOptions


@dataclass(frozen=True)
class EngineRecord:
    """``engine.yaml``.

    Attributes:
        rigpose_engine: Format version.
        graph: The bundle's file that the engine was built from.
        fingerprint: Where and from what.
        profiles: In the order in which the engine has them.
        created: UTC time, ISO 8601.
        seconds: That the build took.
        bytes: Of the plan.
        sha256: Of the plan.
    """

    rigpose_engine: int
    graph: str
    fingerprint: Fingerprint
    profiles: tuple[Profile, ...]
    created: str
    seconds: float
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Engine:
    """An engine on disk."""

    folder: Path
    record: EngineRecord

    def plan(self) -> bytes:
        """The serialised engine.

        Raises:
            BackendError: It is not the file that was built. A plan is a program: only our own is ever loaded.
        """
        try:
            plan = (self.folder / PLAN).read_bytes()
        except OSError:
            plan = b""
        if hashlib.sha256(plan).hexdigest() != self.record.sha256:
            raise BackendError(
                f"{self.folder / PLAN}: is not the file that was built (its SHA-256 differs); build it again with: "
                f"rigpose engine {self.folder.parent.parent} --rebuild."
            )
        return plan


@dataclass(frozen=True)
class Machine:
    """What an engine would run on: a library on a GPU."""

    library: str
    version: str
    gpu: Gpu | None

    def fingerprint(self, graph_sha256: str, options: BuildOptions) -> Fingerprint:
        """Of an engine that is built here."""
        gpu = None if self.library == "tensorrt_rtx" else self.gpu
        return Fingerprint(self.library, self.version, system(), gpu, graph_sha256, options)

    def misfit(self, built: Fingerprint, graph_sha256: str) -> str:
        """Why an engine does not run here, or empty if it does."""
        if built.graph_sha256 != graph_sha256:
            return "it was built from another graph than the bundle's"
        library = self._misfit_of_library(built)
        if library:
            return library
        if built.system != system():
            return f"it was built on {built.system} and this is {system()}"
        if built.gpu is None or self.gpu is None or built.gpu == self.gpu:
            return ""
        if (built.gpu.name, built.gpu.compute_capability) != (self.gpu.name, self.gpu.compute_capability):
            return (
                f"it was built for {built.gpu.name} (compute capability {built.gpu.compute_capability}) and this is "
                f"{self.gpu.name} ({self.gpu.compute_capability})"
            )
        return f"it was built under a driver for CUDA {built.gpu.driver} and this one is for {self.gpu.driver}"

    def _misfit_of_library(self, built: Fingerprint) -> str:
        if (built.library, built.version) == (self.library, self.version):
            return ""
        here = f"{self.library} {self.version}"
        if built.library == "tensorrt" and self.library in ("tensorrt", "tensorrt_lean"):
            if built.options.version_compatible and _numbers(built.version) <= _numbers(self.version):
                return ""
            hint = "" if built.options.version_compatible else " and not with --version-compatible"
            return f"it was built by {built.library} {built.version}{hint}, and here is {here}"
        return f"it was built by {built.library} {built.version} and here is {here}"


def system() -> str:
    """Operating system and processor, such as ``Linux x86_64``."""
    return f"{platform.system()} {platform.machine()}"


def engine_folder(bundle: Bundle, graph: GraphSpec, fingerprint: Fingerprint, profiles: tuple[Profile, ...]) -> Path:
    """Where an engine with this fingerprint and these shapes lies."""
    described = json.dumps(to_mapping([fingerprint, profiles]), sort_keys=True)
    digest = hashlib.sha256(described.encode()).hexdigest()[:12]
    return bundle.path / ENGINES / f"{Path(graph.file).stem}-{digest}"


def timing_cache(bundle: Bundle, machine: Machine) -> Path:
    """What TensorRT measured on a GPU with one version under one driver."""
    gpu = machine.gpu
    words = [machine.library, machine.version, *([gpu.name, gpu.driver] if gpu else [])]
    return bundle.path / ENGINES / f"timing-{re.sub(r'[^A-Za-z0-9.]+', '_', '-'.join(words))}.cache"


def engines_of(bundle: Bundle, graph: GraphSpec) -> tuple[Engine, ...]:
    """Every whole engine that was built from a graph's file, wherever it was built; newest first."""
    found = [engine for engine in _engines(bundle) if engine.record.graph == graph.file]
    return tuple(sorted(found, key=lambda engine: engine.record.created, reverse=True))


def fitting_engines(bundle: Bundle, graph: GraphSpec, machine: Machine) -> tuple[Engine, ...]:
    """The engines of a graph that run on a machine, newest first.

    Raises:
        BackendError: There are none; why not, and what builds one, is said.
    """
    engines = engines_of(bundle, graph)
    sha256 = bundle.manifest.files[graph.file].sha256
    reasons = [machine.misfit(engine.record.fingerprint, sha256) for engine in engines]
    fitting = tuple(engine for engine, reason in zip(engines, reasons, strict=True) if not reason)
    if not fitting:
        why = f"the TensorRT engine of {graph.file} does not fit: {reasons[0]}" if reasons else ""
        raise BackendError(
            f"{bundle.path}: {why or f'there is no TensorRT engine of {graph.file}'}; build one with: "
            f"{command(bundle, graph)}."
        )
    return fitting


def command(bundle: Bundle, graph: GraphSpec) -> str:
    """The line that builds an engine of a graph, and of the others of the bundle, which may need more to be said."""
    together = [g for g in bundle.manifest.graphs if g.precision == graph.precision and "tensorrt" in g.backends]
    size = any(not isinstance(axis, int) for one in together for axis in one.inputs[0].shape[1:3])
    return f"rigpose engine {bundle.path} --precision {graph.precision}{' --frame-size HxW' if size else ''}"


def write_engine(folder: Path, plan: bytes, record: EngineRecord) -> Engine:
    """Put an engine in its place; it has its name only when it is whole.

    Raises:
        BackendError: The disk is full or read-only.
    """
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / PLAN).write_bytes(plan)
        (part / RECORD).write_text(yaml.safe_dump(to_mapping(record), sort_keys=False), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Engine(folder, record)


def write_timing_cache(path: Path, timing: bytes) -> None:
    """Keep what a build measured; raises as ``write_engine``."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(timing)
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def remove_outdated(bundle: Bundle, graph: GraphSpec) -> tuple[Path, ...]:
    """Delete the engines of a graph's file that were built before it was exported again: they fit no machine."""
    sha256 = file_sha256(bundle.file(graph.file))
    outdated = tuple(
        engine.folder for engine in engines_of(bundle, graph) if engine.record.fingerprint.graph_sha256 != sha256
    )
    for folder in outdated:
        shutil.rmtree(folder, ignore_errors=True)
    return outdated


def _unwritable(path: Path, error: OSError) -> BackendError:
    return BackendError(
        f"{path}: cannot be written ({error.strerror}); free space or make the bundle's folder writable."
    )


def _engines(bundle: Bundle) -> Iterator[Engine]:
    for path in sorted((bundle.path / ENGINES).glob(f"[!.]*/{RECORD}")):
        # A record of another format, or a damaged one, is an engine that has to be built again.
        with suppress(OSError, UnicodeDecodeError, yaml.YAMLError, ConfigError):
            record = parse(EngineRecord, yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))
            if record.rigpose_engine == FORMAT:
                yield Engine(path.parent, record)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
