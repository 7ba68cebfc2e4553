"""Which graphs the installed ONNX Runtime is new enough for."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from rigpose.bundles.bundle import Bundle, GraphSpec
from rigpose.errors import BackendError


def runnable_graph(bundle: Bundle, graph: GraphSpec) -> Path:
    """The file of one of a bundle's graphs.

    Raises:
        BackendError: The installed ONNX Runtime lacks an operator of the graph.
    """
    import onnxruntime

    needed, installed = graph.minimum_onnxruntime, onnxruntime.__version__
    if _release(installed) < _release(needed):
        raise BackendError(
            f"{bundle.path}: {graph.file} needs onnxruntime {needed} or newer and {installed} is installed; run: pip "
            f"install --upgrade '{_distribution()}>={needed}' (which may need a newer Python)."
        )
    return bundle.file(graph.file)


def _release(version: str) -> tuple[int, ...]:
    """The first two numbers of a version; they decide, and a release candidate has them, too."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _distribution() -> str:
    """The name under which pip installed ONNX Runtime."""
    try:
        importlib.metadata.version("onnxruntime-gpu")
    except importlib.metadata.PackageNotFoundError:
        return "onnxruntime"
    return "onnxruntime-gpu"
