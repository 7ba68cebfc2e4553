"""The parity certificate: what was compared, and how far apart it lay, of every graph of a bundle.

Each fp32 graph is held against the training framework on the same frames and, where the pose graph looks into boxes or
starts from rough poses, on the same boxes and rough poses. What lies between the graphs is the same code on both sides.
Graphs in other precisions cannot give the same numbers: they are held against the fp32 graph, within stated bounds.
ONNX Runtime stands for TensorRT, too, as both compute what the graph says. OpenVINO rounds int8 more coarsely than the
graph says, and so has numbers of its own there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import yaml

from rigpose.bundles.bundle import PARITY, BackendName, Bundle, Precision, Role
from rigpose.errors import BundleError, ConfigError
from rigpose.measures.differences import Difference, Tolerance
from rigpose.measures.drift import Drift
from rigpose.schema import parse

Compared: TypeAlias = Literal["keypoints", "candidates", "boxes"]
Verdict: TypeAlias = Literal["passed", "accepted"]


@dataclass(frozen=True)
class Case:
    """One comparison: a batch of frames of one size.

    Attributes:
        what: Keypoints of poses, all candidates that poses are put together from, or boxes.
        batch: Frames at once.
        height: Of the frames [px].
        width: Of the frames [px].
        difference: How far apart the two were.
    """

    what: Compared
    batch: int
    height: int
    width: int
    difference: Difference


@dataclass(frozen=True)
class Structure:
    """What a graph is made of. The checker of onnx and its shape inference passed, or there would be no bundle.

    Attributes:
        opset: ONNX operator set.
        nodes: How many.
        operators: How many of each kind.
    """

    opset: int
    nodes: int
    operators: dict[str, int]


@dataclass(frozen=True)
class Metric:
    """How good predictions are against labels, as ``rigpose evaluate`` says it.

    Attributes:
        px_error: Mean distance to the labels [px]; none for a detector, and where nothing was found.
        mAP: Of poses by object keypoint similarity, of boxes by overlap [0, 100]; none where nothing can be judged.
        labelled: Animals that were labelled.
    """

    px_error: float | None
    mAP: float | None  # noqa: N815 (the name everybody reads)
    labelled: int


@dataclass(frozen=True)
class Bounds:
    """What a graph in another precision may lose against the fp32 graph.

    Attributes:
        p99_px: 99th percentile of the sure keypoints' distances, or of the sure boxes' corners [px]; none where labels
            judge it.
        metric_share: Part of the error, and of the mAP, that it may be worse.
        least_px: A mean error that rises by less is not worse.
    """

    p99_px: float | None
    metric_share: float
    least_px: float


@dataclass(frozen=True)
class Loss:
    """A graph in another precision against the fp32 graph.

    Attributes:
        pictures: How many were looked at.
        drift: In them.
        golden: In the golden frames, against the training framework; a rig is held against this.
        bounds: What was allowed.
        beyond: What lay beyond the bounds, in words; nothing where all lay within.
    """

    pictures: int
    drift: Drift
    golden: Drift
    bounds: Bounds
    beyond: tuple[str, ...]


@dataclass(frozen=True)
class GraphCertificate:
    """What was found out about one file in one library.

    Attributes:
        file: Its name.
        role: ``pose``, ``detector``, or ``pair`` for the combined graph.
        precision: Of its convolutions and matrix products.
        against: What it was held against: the training framework, or the fp32 graph's file.
        structure: What it is made of.
        tensors: Of each output, the largest difference relative to the output's largest number. Where candidates of
            equal score change places, this is large though nothing is wrong; poses and candidates decide.
        cases: Of an fp32 graph: the comparisons with the training framework.
        loss: Of any other: what it loses against the fp32 graph.
        batch_invariance_px: Largest distance between a frame alone and the same frame in a batch [px].
        metric: On the labelled images; none where there are none.
        verdict: ``passed`` where all lies within the tolerance or the bounds, ``accepted`` where it does not and the
            user wanted the graph all the same; no bundle holds any other.
        backend: What ran it: ``onnxruntime``, or ``openvino`` where its numbers are others.
    """

    file: str
    role: Role
    precision: Precision
    against: str
    structure: Structure
    tensors: dict[str, float]
    cases: tuple[Case, ...]
    loss: Loss | None
    batch_invariance_px: float
    metric: Metric | None
    verdict: Verdict
    backend: BackendName = "onnxruntime"


@dataclass(frozen=True)
class LeftOut:
    """What was asked for and is not in the bundle.

    Attributes:
        precision: Which one.
        backends: For which of those that would have had it.
        reason: What it loses, or why nobody could measure that, and what to do; a whole sentence.
    """

    precision: Precision
    backends: tuple[BackendName, ...]
    reason: str


@dataclass(frozen=True)
class EngineTrial:
    """What TensorRT for RTX made of a file: an engine, which was not kept, or a refusal.

    Attributes:
        file: Its name.
        seconds: For parsing and building; none where it was refused.
        plan_bytes: Size of the engine; none where it was refused.
        refusal: Node and reason; none where it was built.
    """

    file: str
    seconds: float | None
    plan_bytes: int | None
    refusal: str | None


@dataclass(frozen=True)
class Certificate:
    """``parity.yaml``.

    Attributes:
        versions: Of rigpose and of the libraries that took part.
        reference: What is right: framework, version and device.
        compared: What was held against it.
        frames: Where the frames came from.
        measured: Which pictures the metric and the loss of precisions were measured on.
        tolerance: What counted as the same in fp32.
        metric: Of the training framework, by role; nothing where there are no labels.
        graphs: One for each of the bundle's graphs, and another one for what gives other numbers in OpenVINO.
        left_out: What was asked for and refused, or could not be measured.
        tensorrt: Of each graph for TensorRT; nothing where the export was not asked to try them.
    """

    versions: dict[str, str]
    reference: str
    compared: str
    frames: str
    measured: str
    tolerance: Tolerance
    metric: dict[str, Metric]
    graphs: tuple[GraphCertificate, ...]
    left_out: tuple[LeftOut, ...] = ()
    tensorrt: tuple[EngineTrial, ...] = ()

    @property
    def cases(self) -> tuple[Case, ...]:
        """All comparisons with the training framework."""
        return tuple(case for graph in self.graphs for case in graph.cases)

    def of(self, file: str, backend: BackendName = "onnxruntime") -> GraphCertificate:
        """What was found out about a file.

        Args:
            file: Its name.
            backend: What shall run it.

        Raises:
            BundleError: Nobody measured it, or not in this backend.
        """
        measured_in = "openvino" if backend == "openvino" else "onnxruntime"
        proofs = [graph for graph in self.graphs if graph.file == file]
        for graph in proofs:
            if graph.backend == measured_in:
                return graph
        if proofs:
            raise BundleError(
                f"{file}: {PARITY} does not say what it gives in {measured_in}, where the export did not measure it; "
                "export the bundle again."
            )
        raise BundleError(f"{file}: has no entry in {PARITY}, so nobody knows what it gives; export the bundle again.")


def read_certificate(bundle: Bundle) -> Certificate:
    """The certificate that the export wrote."""
    path = bundle.file(PARITY)
    try:
        return parse(Certificate, yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))
    except (OSError, yaml.YAMLError, ConfigError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); export the bundle again.") from error


def explain_left_out(bundle: Bundle, precision: str, backend: BackendName) -> None:
    """Say why the export left a precision out, where it did.

    Raises:
        ConfigError: It did; gives the reason and the next step.
    """
    if PARITY not in bundle.manifest.files:
        return
    for one in read_certificate(bundle).left_out:
        if one.precision == precision and backend in one.backends:
            raise ConfigError(f"{bundle.path}: has no {precision} for {backend}, as the export said: {one.reason}")
