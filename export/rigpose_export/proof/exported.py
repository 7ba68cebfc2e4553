"""The graphs of a bundle in the making, opened on this machine's CPU in every library that has numbers of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx

from rigpose.bundles.bundle import BackendName, GraphSpec
from rigpose.bundles.certificate import Structure
from rigpose.errors import BackendError
from rigpose.sessions import Session
from rigpose.sessions.openvino import OpenVinoSession
from rigpose_export.graphs.files import cpu_session


@dataclass(frozen=True)
class Run:
    """A graph in a library.

    Attributes:
        graph: What runs.
        backend: The library: ``onnxruntime``, or ``openvino``.
        session: The graph there.
    """

    graph: GraphSpec
    backend: BackendName
    session: Session

    @property
    def name(self) -> str:
        """What it is called among all runs, for people."""
        return self.graph.file if self.backend == "onnxruntime" else f"{self.graph.file} in {self.backend}"

    @property
    def stands_for(self) -> tuple[BackendName, ...]:
        """Those of the graph's backends whose numbers these are."""
        return tuple(one for one in self.graph.backends if (one == "openvino") == (self.backend == "openvino"))


@dataclass(frozen=True)
class Exported:
    """The graphs, and what runs them.

    Attributes:
        folder: Where their files are.
        runs: Every graph in ONNX Runtime, but those in int8 for OpenVINO there: it rounds between layers where others
            do not. In fp32 all give the same numbers.
        without_openvino: Why OpenVINO runs none of those; none where it does, or where there are none.
    """

    folder: Path
    runs: tuple[Run, ...]
    without_openvino: str | None = None

    @classmethod
    def opened(cls, folder: Path, graphs: Iterable[GraphSpec]) -> Exported:
        """Load them all."""
        made = list(graphs)
        theirs = [graph for graph in made if graph.precision == "int8" and "openvino" in graph.backends]
        runs = [Run(graph, "onnxruntime", cpu_session(folder, graph)) for graph in made if graph not in theirs]
        try:
            there = [
                Run(graph, "openvino", OpenVinoSession(folder / graph.file, device="cpu", precision="int8"))
                for graph in theirs
            ]
        except BackendError as error:
            return cls(folder, tuple(runs), str(error).rstrip("."))
        return cls(folder, (*runs, *there))

    @property
    def plain(self) -> dict[str, Session]:
        """The fp32 graphs for ONNX Runtime, by role."""
        return {run.graph.role: run.session for run in self.runs if run.graph.file == plain_file(run.graph)}

    def structure(self, graph: GraphSpec) -> Structure:
        """What a file is made of."""
        model = onnx.load(str(self.folder / graph.file), load_external_data=False)
        operators = Counter(node.op_type for node in model.graph.node)
        return Structure(graph.opset, graph.nodes, dict(sorted(operators.items())))


def plain_file(graph: GraphSpec) -> str:
    """The fp32 graph for ONNX Runtime that a graph does the work of."""
    return f"{graph.role}.onnx"
