"""The combined graph of a top-down pair -> ``.onnx``."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rigpose.bundle import GraphSpec
from rigpose.model_spec import DetectorSpec, ModelSpec
from rigpose_export.onnx_file import _any_frames, _trace, _write
from rigpose_training.pair_graph import PairGraph
from rigpose_training.sampling import grid_sampling


def write_pair(
    graph: PairGraph, boxes: DetectorSpec, spec: ModelSpec, path: Path, *, portable: bool = False
) -> GraphSpec:
    """Trace a combined graph to ``path``, for batches and frames of any size, and describe the file.

    Args:
        graph: It is put into evaluation mode.
        boxes: What the file says about its detector.
        spec: What it says about its pose network.
        path: The ``.onnx`` file.
        portable: As in ``rigpose_export.onnx_file.write_onnx``.

    Returns:
        The file's place in the manifest.

    Raises:
        BundleError: The exported graph holds an operator that rigs cannot run.
    """
    frames, axes = _any_frames(boxes.input)
    with grid_sampling() if portable else contextlib.nullcontext():
        model = _trace(graph, [frames], [axes])
    contract = {"rigpose.model": spec, "rigpose.detector": boxes}
    return _write(model, path, "pair", contract, portable=portable)
