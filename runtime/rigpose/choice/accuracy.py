"""How far a backend in a precision moves keypoints: from the certificate, and where that is silent, measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from rigpose.bundles.bundle import Bundle, Precision
from rigpose.bundles.certificate import read_certificate
from rigpose.bundles.golden import Golden
from rigpose.errors import BundleError
from rigpose.measures.drift import Drift, drift
from rigpose.parity.replay import LOST_SHARE, golden_drift
from rigpose.poses import Poses
from rigpose.sessions import Session
from rigpose.sessions.backends import Backend

if TYPE_CHECKING:
    from rigpose.analyzers.analyzer import PoseAnalyzer


@dataclass(frozen=True)
class Accuracy:
    """What a precision costs.

    Attributes:
        p99_px: 99th percentile of the distances of sure keypoints to those in fp32 [px].
        lost: Sure keypoints that are not there any more.
        compared: Of how many.
        source: Where the figures are from, for people.
    """

    p99_px: float
    lost: int
    compared: int
    source: str

    def within(self, bound_px: float) -> bool:
        """Whether keypoints stay where they are, but for the percent that a 99th percentile leaves out."""
        return self.compared > 0 and self.p99_px <= bound_px and self.lost <= LOST_SHARE * self.compared


def accuracy_of_graph(bundle: Bundle, runs: Backend, session: Session, golden: Golden) -> Accuracy:
    """Of the pose graph alone.

    bf16 is how OpenVINO runs the fp32 graph on processors that have it; the export's machine may have none, so that the
    golden frames are replayed here. fp16 and int8 are graphs that the export measured, on more pictures.
    """
    if runs.precision == "fp32":
        return Accuracy(0.0, 0, 1, "the parity certificate")
    if runs.precision != "bf16":
        graph = bundle.manifest.graph("pose", precision=cast("Precision", runs.precision), backend=runs.graphs)
        try:
            loss = read_certificate(bundle).of(graph.file, runs.graphs).loss
        except BundleError:
            loss = None  # not measured in this library: measured now
        if loss is not None:
            return _accuracy(loss.drift, "the certificate")
    return _accuracy(golden_drift(golden, bundle.manifest.model, None, "pose", session), "the golden frames")


def accuracy_of_chain(right: Sequence[Poses], analyzer: PoseAnalyzer, golden: Golden) -> Accuracy:
    """Of everything behind each other, where what the first graph finds decides what the second one sees.

    Args:
        right: Poses of the golden frames in fp32.
        analyzer: What shall be judged.
        golden: The frames.
    """
    return _accuracy(drift(right, analyzer.predict(golden.frames)), "the golden frames through both graphs")


def _accuracy(found: Drift, source: str) -> Accuracy:
    return Accuracy(found.p99_px, found.lost, found.compared, source)
