"""Whether TensorRT takes a graph: TensorRT for RTX parses it and builds an engine ahead of time, on any CPU.

It has the parser and the compiler of the TensorRT family and no plugins, so that what it builds holds nothing but
operators that every version has. It is not the TensorRT 10 or 11 of a rig: the engine built here is thrown away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from rigpose.bundles.bundle import GraphSpec
from rigpose.bundles.certificate import EngineTrial
from rigpose.bundles.engines import BuildOptions, Profile, ShapeRange
from rigpose.errors import BackendError, BundleError
from rigpose.progress import Progress, silent
from rigpose.sessions.tensorrt_library import TensorRtLibrary, import_library, installed_libraries
from rigpose_export.engine import EngineBuildError, build_plan
from rigpose_export.graphs.files import step

BATCHES = (1, 1, 4)
SIDES = (128, 512, 1024)
"""Smallest, usual and largest free sides [px]: a rig's frames. Larger ones change no kernel's kind."""

_AXIS = re.compile(r"(?:(\d+)\*)?([a-z_]+)")


@dataclass(frozen=True)
class RtxBuild:
    """An engine that was built, and not kept.

    Attributes:
        seconds: For parsing and building.
        plan_bytes: Its size.
    """

    seconds: float
    plan_bytes: int


def try_graphs(folder: Path, graphs: Iterable[GraphSpec], *, show: Progress = silent) -> tuple[EngineTrial, ...]:
    """Build every graph that is for TensorRT.

    Args:
        folder: Where the files are.
        graphs: Of a bundle.
        show: How progress is shown.

    Raises:
        BackendError: TensorRT for RTX is not installed.
    """
    rtx_library()  # Its absence is no property of a graph.
    trials = []
    for graph in graphs:
        if "tensorrt" not in graph.backends:
            continue
        with step(f"Building {graph.file}", show):
            try:
                build = build_with_rtx(folder / graph.file)
            except EngineBuildError as error:
                trials.append(EngineTrial(graph.file, None, None, str(error)))
            else:
                trials.append(EngineTrial(graph.file, build.seconds, build.plan_bytes, None))
    return tuple(trials)


def build_with_rtx(graph: Path, shapes: Mapping[str, ShapeRange] | None = None) -> RtxBuild:
    """Parse a graph and build an engine of it, strongly typed.

    Args:
        graph: The ``.onnx`` file.
        shapes: Of every input; by default its free axes run from a small frame to a large one.

    Raises:
        EngineBuildError: It is refused; says operator, node and reason.
        BackendError: TensorRT for RTX is not installed.
        BundleError: The graph has a free axis that is neither a batch nor a side of the frame.
    """
    library = rtx_library()
    profile = Profile("throughput", dict(shapes or usual_shapes(graph)))
    plan = build_plan(library, graph, [profile], options=BuildOptions())
    return RtxBuild(plan.seconds, len(plan.bytes))


def usual_shapes(graph: Path) -> dict[str, ShapeRange]:
    """Shapes of each input: of free axes the smallest, the usual and the largest, in the multiples that they need."""
    inputs = onnx.load(str(graph), load_external_data=False).graph.input
    shapes = {}
    for value in inputs:
        axes = [_sizes(graph, axis) for axis in value.type.tensor_type.shape.dim]
        least, usual, most = (tuple(sizes) for sizes in zip(*axes, strict=True))
        shapes[value.name] = ShapeRange(least, usual, most)
    return shapes


def _sizes(graph: Path, axis: onnx.TensorShapeProto.Dimension) -> tuple[int, int, int]:
    if not axis.dim_param:
        return axis.dim_value, axis.dim_value, axis.dim_value
    # The exporter writes sides that are multiples as "32*height".
    found = _AXIS.fullmatch(axis.dim_param.replace(" ", ""))
    if found is None or found[2] not in ("batch", "height", "width"):
        raise BundleError(f"{graph.name}: the axis {axis.dim_param!r} is no batch, height or width; export it again.")
    multiple = int(found[1] or 1)
    least, usual, most = BATCHES if found[2] == "batch" else SIDES
    return _up(least, multiple), _up(usual, multiple), _up(most, multiple)


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def rtx_library() -> TensorRtLibrary:
    """TensorRT for RTX.

    Raises:
        BackendError: It is not installed.
    """
    if "tensorrt_rtx" not in installed_libraries():
        raise BackendError(
            "TensorRT for RTX is not installed, which checks graphs for TensorRT on a CPU; run: pip install "
            '"rigpose[tensorrt-check]".'
        )
    return import_library("tensorrt_rtx")
