# pyright: basic
"""Where OpenVINO computes a graph in bf16: convolutions that decoders read, and all behind them, keep float32.

bf16 has 8 significant bits: a heatmap of them has plateaus, on which the best cell is a matter of chance. By itself
OpenVINO keeps what lies behind the last convolution in float32. Where a decoder smooths heatmaps, that is its filter,
and the heatmaps themselves are rounded.
"""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

_CONVOLUTIONS = {
    "Convolution",
    "ConvolutionBackpropData",
    "DeformableConvolution",
    "GroupConvolution",
    "GroupConvolutionBackpropData",
}
_MARK = {"name": "DisablePrecisionConversion", "version": "0", "value": "dynamic:f16"}
"""In OpenVINO's own files, as 2026.4 writes them: it says float16 and holds for bf16."""


def with_float32_ends(core: Any, model: Any) -> Any:
    """The same graph with float32 from the last layers of its network on.

    A network's last layers are those that no other of its layers reads; last matrix products, as in SimCC's heads, stay
    in bf16, because OpenVINO forgets their mark. Where a network puts maps of several resolutions side by side (as DEKR
    does for its heads), float32 begins there: on a trained ``dekr_w18``, 151 of 1,918 keypoints were lost without it.

    Args:
        core: Of OpenVINO.
        model: As it was read.
    """
    operations = model.get_ordered_ops()
    layers = [operation for operation in operations if _is_layer(operation)]
    followed = _before(layers, operations)
    begins = {operation.get_friendly_name() for operation in layers} - followed
    begins |= {operation.get_friendly_name() for operation in operations if _joins_resolutions(operation)}
    return _read_with_marks(core, model, _from(begins, operations))


def _is_layer(operation: Any) -> bool:
    """Whether it multiplies by weights. A filter, the same for every channel, belongs to a decoder."""
    kind = operation.get_type_name()
    if kind == "MatMul":
        return any(source.get_type_name() == "Constant" for source in _sources(operation))
    return kind in _CONVOLUTIONS and not (kind == "GroupConvolution" and _alike(_sources(operation)[1]))


def _alike(weights: Any) -> bool:
    """Whether all groups (first axis) of a convolution have the same weights."""
    while weights.get_type_name() == "Reshape":
        weights = _sources(weights)[0]
    if weights.get_type_name() != "Constant":
        return False
    kernels = weights.get_data()
    return bool((kernels == kernels[:1]).all())


def _joins_resolutions(operation: Any) -> bool:
    return operation.get_type_name() == "Concat" and any(
        source.get_type_name() == "Interpolate" for source in _sources(operation)
    )


def _before(layers: Iterable[Any], operations: Iterable[Any]) -> set[str]:
    """Names of what these layers read, through whatever lies between."""
    ends = {layer.get_friendly_name() for layer in layers}
    before: set[str] = set()
    for operation in reversed(list(operations)):
        name = operation.get_friendly_name()
        if name in ends or name in before:
            before |= {source.get_friendly_name() for source in _sources(operation)}
    return before


def _from(begins: set[str], operations: Iterable[Any]) -> set[str]:
    """Names of these operations and of all that depend on their values."""
    behind = set(begins)
    for operation in operations:
        if any(source.get_friendly_name() in behind for source in _sources(operation)):
            behind.add(operation.get_friendly_name())
    return behind


def _sources(operation: Any) -> list[Any]:
    return [port.get_source_output().get_node() for port in operation.inputs()]


def _read_with_marks(core: Any, model: Any, names: set[str]) -> Any:
    """The graph with these operations marked. OpenVINO has no function for it in Python, but reads marks from files."""
    from openvino import Tensor, serialize

    with tempfile.TemporaryDirectory(prefix="rigpose-openvino-") as folder:
        structure, weights = Path(folder) / "graph.xml", Path(folder) / "graph.bin"
        serialize(model, structure, weights)
        tree = ElementTree.parse(structure)
        constants = np.fromfile(weights, np.uint8)
    for operation in tree.iter("layer"):
        if operation.get("name") in names:
            ElementTree.SubElement(_notes(operation), "attribute", _MARK)
    return core.read_model(model=ElementTree.tostring(tree.getroot()), weights=Tensor(constants))


def _notes(operation: ElementTree.Element) -> ElementTree.Element:
    notes = operation.find("rt_info")
    if notes is None:
        notes = ElementTree.Element("rt_info")
        # Behind its attributes, before its inputs and outputs.
        operation.insert(int(operation.find("data") is not None), notes)
    return notes
