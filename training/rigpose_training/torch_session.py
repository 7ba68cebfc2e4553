"""A session that runs in torch, so that training's evaluation shares every line with the rig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Array
from rigpose_training.detector_graph import DetectorGraph
from rigpose_training.models import PoseModel
from rigpose_training.pair_graph import PairGraph
from rigpose_training.pose_graph import PoseGraph
from rigpose_training.spec import model_spec

Graph = TypeVar("Graph", PoseGraph, DetectorGraph, PairGraph)


class TorchSession(Generic[Graph]):
    """Runs a ``PoseGraph``, ``DetectorGraph`` or ``PairGraph`` where its weights are, in float32."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @property
    def device(self) -> str:
        """The device of the weights."""
        return str(next(self.graph.parameters()).device)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a batch in evaluation mode; the network stays in that mode afterwards."""
        self.graph.eval()
        missing = [name for name in self.graph.inputs if name not in inputs]
        if missing:
            raise ValueError(f"the network needs {' and '.join(missing)}, too; got only {', '.join(inputs)}")
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[n])).to(self.device) for n in self.graph.inputs]
        with torch.inference_mode():
            candidates = self.graph(*tensors)
        pairs = zip(self.graph.outputs, candidates, strict=True)
        return {name: values.cpu().numpy() for name, values in pairs}


def torch_analyzer(
    model: PoseModel, config: Mapping[str, Any], *, skeleton: Sequence[tuple[str, str]] = ()
) -> Analyzer:
    """The rig's analyzer over a torch network: same preparation, same dense half, same grouping.

    Args:
        model: The network; its device is used, and its later weights are seen.
        config: The whole ``pytorch_config.yaml`` it was built from.
        skeleton: Pairs of keypoint names to draw.
    """
    graph = PoseGraph(model, config).to(next(model.parameters()).device)
    return Analyzer(model_spec(config, skeleton=skeleton), TorchSession(graph))
