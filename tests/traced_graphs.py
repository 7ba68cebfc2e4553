"""The float32 graphs of small networks, each traced once for all tests of a run, and ways to look at graphs."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import yaml
from detectors_with_boxes import detector_graph
from exported_families import FAMILIES, family_bundle, family_config
from exported_once import made_once
from exported_pairs import drawn
from onnx import TensorProto
from reference_weights import fill
from small_networks import SIZE

from rigpose.analyzers.top_down import DetectorSpec
from rigpose.arrays import Array
from rigpose.bundles.bundle import GraphSpec
from rigpose.schema import parse, to_mapping
from rigpose_export.graphs.onnx_file import write_detector, write_onnx
from rigpose_training.models import build_model
from rigpose_training.pose_graph import PoseGraph
from rigpose_training.spec import model_spec

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# The attributes of the traced modules, by the names that the exporter writes.
NETWORKS = ("model", "pyramid", "detector.model.backbone", "detector.model.rpn.head", "detector.model.head")
NETWORKS += ("detector.model.roi_heads.box_head", "detector.model.roi_heads.box_predictor")


_SHARED: list[Path] = []


def keep_in(shared: Path) -> None:
    """Say where the run's tests share what they make."""
    _SHARED.append(shared)


@cache
def traced(name: str, *, portable: bool = False) -> tuple[bytes, GraphSpec]:
    """The small network of a documented pose model or of a detector: the bytes of its file, and its description."""
    if name in FAMILIES and not portable:
        bundle = family_bundle(_SHARED[-1], name)
        described = bundle.manifest.graph("pose")
        return bundle.file(described.file).read_bytes(), described
    file, described = traced_file(_SHARED[-1], name, portable=portable)
    return file.read_bytes(), described


def traced_file(shared: Path, name: str, *, portable: bool) -> tuple[Path, GraphSpec]:
    """The file itself, in the folder that the tests of a run share."""

    def trace(folder: Path) -> None:
        torch.set_num_threads(1)
        file = folder / "graph.onnx"
        if name in FAMILIES:
            config = family_config(name)
            model = build_model(config).eval()
            fill(model, "family")
            found = write_onnx(PoseGraph(model, config), model_spec(config), file, portable=portable)
        else:
            found = write_detector(detector_graph(name), DetectorSpec(max_animals=2), file, portable=portable)
        (folder / "graph.yaml").write_text(yaml.safe_dump(to_mapping(found)))

    folder = made_once(shared, f"graph of {name}{' portable' * portable}", trace)
    return folder / "graph.onnx", parse(GraphSpec, yaml.safe_load((folder / "graph.yaml").read_text()), where=name)


def graph(name: str) -> onnx.ModelProto:
    """A copy of its own for every test."""
    return onnx.load_from_string(traced(name)[0])


def inputs_of(model: onnx.ModelProto, *, batch: int = 4, first: int = 0, size: tuple[int, int] = (97, 131)) -> Any:
    """Drawn frames, of ``size`` where the graph takes any, and places in them for conditions."""
    fixed = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    height, width = (SIZE, SIZE) if fixed else size
    feeds: dict[str, Array] = {"frames": np.stack([drawn(first + i, height, width) for i in range(batch)])}
    if len(model.graph.input) > 1:
        places = np.random.default_rng(first).uniform(5, SIZE - 5, (batch, 4, 3))
        feeds["conditions"] = places.astype(np.float32)
    return feeds


def run(model: onnx.ModelProto, feeds: Mapping[str, Array], *, as_written: bool = False) -> dict[str, Array]:
    """What a graph gives in ONNX Runtime on the CPU; ``as_written``, without its optimisations."""
    options = onnxruntime.SessionOptions()
    if as_written:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {name: np.asarray(value) for name, value in zip(names, session.run(names, dict(feeds)), strict=True)}


def scope(node: onnx.NodeProto) -> str | None:
    """The module that a node was called from, below the whole graph's; None where the exporter does not say."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            scopes = ast.literal_eval(entry.value)
            return scopes[1] if len(scopes) > 2 else ""
    return None


def is_network(node: onnx.NodeProto) -> bool:
    """Whether the scope, which the product does not read, is a network's."""
    return any((scope(node) or "").startswith(network) for network in NETWORKS)


def value_types(model: onnx.ModelProto) -> dict[str, int]:
    """Name -> element type of every value of a graph."""
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {v.name: v.type.tensor_type.elem_type for v in (*typed.input, *typed.value_info, *typed.output)}
    return found | {constant.name: constant.data_type for constant in typed.initializer}


def float_types(node: onnx.NodeProto, types: Mapping[str, int], *, of: str = "input") -> set[int]:
    """The float types among what a node takes, or gives."""
    values = node.input if of == "input" else node.output
    return {types[value] for value in values if value} & {TensorProto.FLOAT, TensorProto.FLOAT16}
