"""Which of the graphs that were made go into the bundle: those that lose no more than they may, whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rigpose.bundles.bundle import BackendName, GraphSpec
from rigpose.bundles.certificate import Certificate, GraphCertificate, LeftOut
from rigpose_export.proof.exported import Run


def refused(run: Run, proof: GraphCertificate, described: str) -> LeftOut:
    """A graph that loses too much, with the bounds that it broke.

    Args:
        run: The graph, and what ran it.
        proof: What was found out about it.
        described: Which pictures it was measured on.
    """
    assert proof.loss is not None
    precision = run.graph.precision
    better = "" if precision == "fp16" else "calibrate on more varied training images, or "
    return LeftOut(
        precision,
        run.stands_for,
        f"{run.name}: loses more than {precision} may, {' and '.join(proof.loss.beyond)}, measured {described}, so the "
        f"bundle holds no {precision} for {_listed(run.stands_for)}; {better}keep it with --accept-loss, which the "
        "certificate will say.",
    )


def unmeasured(cause: str) -> LeftOut:
    """The int8 of OpenVINO, where that does not run.

    Args:
        cause: Why, a sentence without its full stop.
    """
    return LeftOut(
        "int8",
        ("openvino",),
        f"{cause} (OpenVINO's int8 is only measured in OpenVINO, so the bundle holds none for it; export again with "
        "--precision int8 once OpenVINO runs here).",
    )


def remaining(graphs: Sequence[GraphSpec], certificate: Certificate) -> tuple[list[GraphSpec], Certificate]:
    """The graphs without what is left out, and the certificate of these.

    A pair whose one graph is left out in a precision has no use for the other one in it.
    """
    gone = {(one.precision, backend) for one in certificate.left_out for backend in one.backends}
    kept = [
        replace(graph, backends=tuple(one for one in graph.backends if (graph.precision, one) not in gone))
        for graph in graphs
    ]
    kept = [graph for graph in kept if graph.backends]
    proved = {graph.file: graph for graph in kept}
    proofs = [
        proof for proof in certificate.graphs if proof.file in proved and _needed(proof, proved[proof.file].backends)
    ]
    return kept, replace(certificate, graphs=tuple(proofs))


def _needed(proof: GraphCertificate, backends: Sequence[BackendName]) -> bool:
    """Whether one of a file's backends is held against this proof."""
    if proof.precision == "fp32":
        return True
    return any((backend == "openvino") == (proof.backend == "openvino") for backend in backends)


def _listed(backends: Sequence[BackendName]) -> str:
    return " and ".join(backends)
