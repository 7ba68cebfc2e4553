"""The reference of a proof: the network in torch, and its own answers under disturbances as small as rounding."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rigpose.arrays import Array
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose_training.detector_graph import DetectorGraph
from rigpose_training.pose_graph import PoseGraph

ROUNDING = 2.0**-18
"""Of the mean size of a layer's numbers: some times what two float32 implementations of a convolution differ by."""


class ReferenceSession:
    """Runs a graph in torch where its weights are, in float32.

    Args:
        graph: Its later weights are seen.
        disturbance: Seed of the disturbance of every layer, or none.
    """

    def __init__(self, graph: PoseGraph | DetectorGraph, *, disturbance: int | None = None) -> None:
        self.graph = graph
        self.disturbance = disturbance

    @property
    def device(self) -> str:
        """The device of the weights."""
        return str(next(self.graph.parameters()).device)

    def disturbed(self, seed: int) -> ReferenceSession:
        """The same network whose layers' numbers are changed at random by as much as rounding might."""
        return ReferenceSession(self.graph, disturbance=seed)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a batch in evaluation mode."""
        self.graph.eval()
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[n])).to(self.device) for n in self.graph.inputs]
        with torch.inference_mode(), _disturbance(self.graph, self.disturbance):
            candidates = self.graph(*tensors)
        return {name: found.cpu().numpy() for name, found in zip(self.graph.outputs, candidates, strict=True)}


@dataclass(frozen=True)
class Reference:
    """A model in torch.

    Attributes:
        spec: Of the pose model.
        pose: Its graph.
        detector_spec: Of its detector, if it has one.
        detector: The detector's graph.
    """

    spec: ModelSpec
    pose: ReferenceSession
    detector_spec: DetectorSpec | None = None
    detector: ReferenceSession | None = None


@contextlib.contextmanager
def _disturbance(network: nn.Module, seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    random = torch.Generator().manual_seed(seed)

    def disturb(_layer: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        noise = torch.rand(output.shape, generator=random).to(output.device) * 2 - 1
        return output + ROUNDING * output.abs().mean() * noise

    layers = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [layer.register_forward_hook(disturb) for layer in network.modules() if isinstance(layer, layers)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
