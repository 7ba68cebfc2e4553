"""All files of a bundle's graphs: the traced fp32 ones, and the other precisions that are made of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from rigpose.analyzers.top_down import BoxAnalyzer
from rigpose.arrays import Array
from rigpose.bundles.bundle import BackendName, GraphSpec, Precision, Role
from rigpose.bundles.contract import PRECISION
from rigpose.errors import ConfigError
from rigpose.parity.answers import poses_of
from rigpose.progress import Advance, Progress, duration
from rigpose.sessions import Session
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose_export.evidence import Pictures
from rigpose_export.graphs.half_precision import to_fp16
from rigpose_export.graphs.half_rounding import with_half_rounding
from rigpose_export.graphs.onnx_file import describe, write_detector, write_onnx, write_pair
from rigpose_export.graphs.quantisation import quantise
from rigpose_export.graphs.rules import check_structure
from rigpose_export.reference import Reference
from rigpose_export.witness import Witness
from rigpose_training.detector_graph import DetectorGraph
from rigpose_training.pair_graph import PairGraph
from rigpose_training.pose_graph import PoseGraph


@dataclass(frozen=True)
class ExportOptions:
    """What goes into a bundle beside the fp32 graphs.

    Attributes:
        precisions: ``fp16``, ``int8``.
        portable: Also a detector's and a pair's fp32 graphs in the form for TensorRT, where the plain ones hold
            operators that it lacks; they come with any other precision, which is made of them. A pose network's comes
            always, as OpenVINO needs it.
        combined: Also detector, crops and pose network of a pair in one fp32 graph.
        detector_side: The size that a pair's detector sees frames in, see
            ``rigpose_training.detector_graph.look_at_size``; none for the one that it was trained with [px].
        detector_proposals: How many regions a pair's Faster R-CNN looks at again, see
            ``rigpose_training.detector_graph.look_at_proposals``; none for as many as torchvision looks at.
        accept_loss: Keep a precision that loses more than its bounds allow; the certificate says so.
        try_tensorrt: Let TensorRT for RTX build every graph for TensorRT, and note in the certificate what it says.
    """

    precisions: tuple[Precision, ...] = ()
    portable: bool = False
    combined: bool = False
    detector_side: int | None = None
    detector_proposals: int | None = None
    accept_loss: bool = False
    try_tensorrt: bool = False


def write_graphs(
    folder: Path, reference: Reference, options: ExportOptions, calibration: Pictures | None, *, show: Progress
) -> list[GraphSpec]:
    """Write every graph file of a bundle.

    Args:
        folder: Where they go.
        reference: The networks in torch.
        options: Which files there shall be.
        calibration: What int8 is calibrated on.
        show: How progress is shown.

    Raises:
        BundleError: A graph holds an operator that rigs cannot run.
        ConfigError: A combined graph of what is no pair, or of one that does not fit into one graph.
        MediaError: A picture for the calibration is missing or broken.
    """
    if options.combined and reference.detector is None:
        instead = ", or train its detector first" if reference.spec.task == "top_down" else ""
        raise ConfigError(
            f"--combined: puts a detector and a pose network into one graph, and this model of the task "
            f"{reference.spec.task} has no detector; leave it out{instead}."
        )
    roles: tuple[Role, ...] = ("pose",) if reference.detector is None else ("pose", "detector")
    if options.combined:
        roles = (*roles, "pair")
    graphs: list[GraphSpec] = []
    for role in roles:
        plain = general = _traced(folder / f"{role}.onnx", reference, role, show, portable=False)
        wanted = role == "pose" or options.portable or bool(options.precisions)
        if "tensorrt" not in plain.backends and wanted:
            general = _traced(folder / f"{role}.portable.onnx", reference, role, show, portable=True)
            if role == "pose":
                # OpenVINO's deformable convolution takes five times as long as all of DEKR with GridSample does.
                plain = replace(plain, backends=("onnxruntime",))
                general = replace(general, backends=("openvino", "tensorrt"))
        graphs += [plain] if general is plain else [plain, general]
        if role == "pair":
            continue
        if "fp16" in options.precisions:
            graphs.append(_half(folder, general, show))
        if "int8" in options.precisions:
            assert calibration is not None
            fed = _Calibration(reference, calibration)
            # OpenVINO has RoiAlign, which takes a tenth of what the same in GridSample does.
            for_openvino = plain if "openvino" in plain.backends else general
            graphs += [
                _quantised(folder, plain, f"{role}.int8.onnx", "onnxruntime", fed, show),
                _quantised(folder, for_openvino, f"{role}.int8-openvino.onnx", "openvino", fed, show),
                _quantised(folder, general, f"{role}.int8-symmetric.onnx", "tensorrt", fed, show),
            ]
    return graphs


def cpu_session(folder: Path, graph: GraphSpec) -> Session:
    """A session that gives a file's numbers on this machine's CPU, also those of float16."""
    if graph.precision != "fp16":
        return OnnxRuntimeSession(folder / graph.file, device="cpu")
    rounded = folder / f".{graph.file}.rounded"
    try:
        onnx.save(with_half_rounding(onnx.load(str(folder / graph.file))), str(rounded))
        return OnnxRuntimeSession(rounded, device="cpu")
    finally:
        rounded.unlink(missing_ok=True)


@contextlib.contextmanager
def step(title: str, show: Progress) -> Iterator[None]:
    """Show one step of an export, and in the end the time that it took."""
    with show(title, 1, "graphs") as advance:
        begun = time.perf_counter()
        yield
        advance(1, duration(time.perf_counter() - begun))


def _traced(path: Path, reference: Reference, role: Role, show: Progress, *, portable: bool) -> GraphSpec:
    with step(f"Tracing {path.name}", show):
        assert isinstance(reference.pose.graph, PoseGraph)
        if role == "pose":
            graph = write_onnx(reference.pose.graph, reference.spec, path, portable=portable)
        else:
            assert reference.detector is not None
            assert reference.detector_spec is not None
            assert isinstance(reference.detector.graph, DetectorGraph)
            detector, boxes = reference.detector.graph, reference.detector_spec
            if role == "detector":
                graph = write_detector(detector, boxes, path, portable=portable)
            else:
                pair = PairGraph(detector, reference.pose.graph, boxes, reference.spec)
                graph = write_pair(pair, boxes, reference.spec, path, portable=portable)
    return graph


def _half(folder: Path, of: GraphSpec, show: Progress) -> GraphSpec:
    path = folder / f"{of.role}.fp16.onnx"
    with step(f"Making {path.name}", show):
        model = to_fp16(onnx.load(str(folder / of.file)))
        _tell_precision(model, "fp16")
        check_structure(model, path.name)
        onnx.save(model, str(path))
    return describe(path, model, of.role, precision="fp16", backends=("onnxruntime", "tensorrt"))


def _quantised(
    folder: Path, of: GraphSpec, name: str, backend: BackendName, calibration: _Calibration, show: Progress
) -> GraphSpec:
    with show(f"Calibrating {name}", len(calibration.pictures), "pictures") as advance:
        batches = calibration.batches(of.role, OnnxRuntimeSession(folder / of.file, device="cpu"), advance)
        model = quantise(folder / of.file, folder / name, batches, backend=backend, advance=advance)
        _tell_precision(model, "int8")
        onnx.save(model, str(folder / name))
        check_structure(model, name)
    return describe(folder / name, model, of.role, precision="int8", backends=(backend,))


def _tell_precision(model: onnx.ModelProto, precision: Precision) -> None:
    """The contract came along from the fp32 graph, where the precision was another."""
    for entry in model.metadata_props:
        if entry.key == PRECISION:
            entry.value = precision


@dataclass(frozen=True)
class _Calibration:
    """What a graph is fed on the rig, for the pictures of the calibration.

    Attributes:
        reference: Says how frames become inputs.
        pictures: Read one by one, again for each graph.
    """

    reference: Reference
    pictures: Pictures

    def batches(self, role: Role, session: Session, advance: Advance) -> Iterator[Mapping[str, Array]]:
        """The inputs of each run of the graph, through the rig's own preparation and crops."""
        for picture in self.pictures:
            witness = Witness(session)
            if role == "pose":
                poses_of(self.reference.spec, witness, [picture.frame], picture.told)
            else:
                assert self.reference.detector_spec is not None
                BoxAnalyzer(self.reference.detector_spec, witness).predict([picture.frame])
            yield from witness.fed
            advance(1)
