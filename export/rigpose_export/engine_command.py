"""``rigpose engine BUNDLE``: build TensorRT engines on the rig, without torch."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from rigpose.bundles.bundle import Bundle, GraphSpec, Precision, Role
from rigpose.bundles.engines import BuildOptions, Gpu, Machine, engine_folder, engines_of, remove_outdated
from rigpose.commands.command import Command
from rigpose.errors import BackendError, ConfigError
from rigpose.models.preprocess import InputSpec, plan
from rigpose.sessions.tensorrt_library import (
    INSTALL,
    LIBRARIES,
    TensorRtLibrary,
    import_library,
    installed_libraries,
    probe_gpu,
)
from rigpose_export.engine import build_engine, profiles_for


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="the bundle's folder")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="of the graphs to build, which the bundle must have (default: %(default)s)",
    )
    parser.add_argument(
        "--batch",
        metavar="N",
        type=int,
        default=8,
        help="most frames or crops that run together; engines are tuned for 1 and for N (default: %(default)s)",
    )
    parser.add_argument(
        "--frame-size",
        metavar="HxW[-HxW]",
        type=_frame_sizes,
        help="of your videos, as 480x640, or from the smallest to the largest; not needed where the bundle fixes the "
        "size of what its networks see",
    )
    parser.add_argument(
        "--library",
        choices=LIBRARIES[:2],
        help="tensorrt (10 or 11), or tensorrt_rtx, TensorRT for RTX, which builds without a GPU (default: what is "
        "installed)",
    )
    parser.add_argument("--device", default="cuda:0", help="the GPU to build for (default: %(default)s)")
    parser.add_argument(
        "--version-compatible",
        action="store_true",
        help="so that newer versions of TensorRT and its lean runtime can run the engines; they are larger and may be "
        "slower",
    )
    parser.add_argument(
        "--workspace", metavar="MIB", type=int, help="most GPU memory for a layer's own use (default: all there is)"
    )
    parser.add_argument("--rebuild", action="store_true", help="even those that are there and fit")


def _run(arguments: argparse.Namespace) -> int:
    return _build(arguments, say=print)


def _build(arguments: argparse.Namespace, *, say: Callable[[str], None]) -> int:
    bundle = Bundle.open(arguments.bundle)
    graphs = _graphs(bundle, arguments.precision)
    if arguments.workspace is not None and arguments.workspace < 1:
        raise ConfigError(f"--workspace: must be at least 1 MiB, found {arguments.workspace}.")
    options = BuildOptions(version_compatible=arguments.version_compatible, workspace_mib=arguments.workspace)
    # What may be wrong with the arguments is said before minutes of building.
    shapes = [
        profiles_for(graph, batch=arguments.batch, sizes=_input_sizes(bundle, graph, arguments.frame_size))
        for graph in graphs
    ]
    library, gpu = _builder(arguments)
    machine = Machine(library.name, library.version, gpu)
    for graph, profiles in zip(graphs, shapes, strict=True):
        for folder in remove_outdated(bundle, graph):
            say(f"{graph.file}: removed {folder.name}, which was built from another graph")
        fingerprint = machine.fingerprint(bundle.manifest.files[graph.file].sha256, options)
        wanted = engine_folder(bundle, graph, fingerprint, profiles)
        there = {engine.folder for engine in engines_of(bundle, graph)}
        if wanted in there and not arguments.rebuild:
            say(f"{graph.file}: {wanted} is there and fits")
            continue
        what = ", ".join(f"{name} {held.max}" for name, held in profiles[-1].shapes.items())
        say(f"{graph.file}: building with {library} for {gpu.name if gpu else 'any RTX GPU'}, up to {what} ...")
        engine = build_engine(bundle, graph, library, gpu, profiles, options=options)
        say(f"  {engine.folder}: {engine.record.bytes / 1e6:.1f} MB in {engine.record.seconds:.0f} s")
    say(f"next: rigpose analyze {bundle.path} VIDEO --backend tensorrt --precision {arguments.precision}")
    return 0


def _graphs(bundle: Bundle, precision: Precision) -> list[GraphSpec]:
    """Those of every role; that of a pair's two networks in one is the bundle's choice to have."""
    manifest = bundle.manifest
    combined = [
        g for g in manifest.graphs if g.role == "pair" and g.precision == precision and "tensorrt" in g.backends
    ]
    needed: list[Role] = [role for role in manifest.roles if role != "pair"]
    return [manifest.graph(role, precision=precision, backend="tensorrt") for role in needed] + combined[:1]


def _builder(arguments: argparse.Namespace) -> tuple[TensorRtLibrary, Gpu | None]:
    names = [arguments.library] if arguments.library else [n for n in installed_libraries() if n != "tensorrt_lean"]
    if not names:
        raise BackendError(
            f"{arguments.bundle}: no TensorRT is installed to build with; run: {INSTALL['tensorrt']} (or, for GeForce "
            f"and RTX cards, {INSTALL['tensorrt_rtx']})."
        )
    if names[0] == "tensorrt_rtx":
        return import_library(names[0]), None
    gpu = probe_gpu(_numbered(arguments.device))
    return import_library(names[0]), gpu


def _numbered(device: str) -> str:
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if not match:
        raise ConfigError(f"device {device!r}: engines are for NVIDIA's GPUs; give cuda or cuda:N.")
    return f"cuda:{match[1] or 0}"


def _frame_sizes(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    match = re.fullmatch(r"(\d+)x(\d+)(?:-(\d+)x(\d+))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no HxW or HxW-HxW, such as 480x640")
    low = int(match[1]), int(match[2])
    high = (int(match[3]), int(match[4])) if match[3] else low
    if min(low) < 1 or high[0] < low[0] or high[1] < low[1]:
        raise argparse.ArgumentTypeError(f"{text!r} must name the smallest size first, and sides of at least 1 px")
    return low, high


def _input_sizes(
    bundle: Bundle, graph: GraphSpec, frames: tuple[tuple[int, int], tuple[int, int]] | None
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """What the graph sees of frames of these sizes."""
    spec = _input(bundle, graph)
    if frames is None:
        if spec.resize is None:
            return None
        frames = ((1, 1), (1, 1))  # whatever their size is
    low, high = (plan(spec, *size).input_size for size in frames)
    # Frames of another shape may become wider and lower.
    return (min(low[0], high[0]), min(low[1], high[1])), (max(low[0], high[0]), max(low[1], high[1]))


def _input(bundle: Bundle, graph: GraphSpec) -> InputSpec:
    manifest = bundle.manifest
    if graph.role == "pose":
        return manifest.model.input
    assert manifest.detector is not None
    return manifest.detector.input


COMMAND = Command(
    "engine",
    "Build TensorRT engines of a bundle for this machine's GPU.",
    _configure,
    _run,
)
