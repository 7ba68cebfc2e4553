"""Where each node of a graph really runs, read from ONNX Runtime's own profile of two runs.

ONNX Runtime gives every node that its GPU provider does not take to the CPU, and says so only in a log: a network
then runs ten times slower than the GPU, and nobody knows why. Which provider computed each node, and tensors of which
types and shapes came out, stands in the profile that it writes of a run, fused and inserted nodes included.

Some nodes belong on the CPU beside a GPU: those that compute with sizes, such as the numbers that a ``Reshape`` is
given. ONNX Runtime puts them there on purpose, since a shape is needed by the CPU that starts the kernels. They are
told from work on frames by what comes out of them:

- Whatever is computed from frames has entries for each frame, because no graph mixes the frames of a batch. So its
  number of elements grows with the batch, and the profiles of a batch of one and a batch of three show it. A node whose
  outputs stay as large cannot hold anything of a frame.
- A coordinate grid would stay as large, too, and is sent to the GPU in every run. So floating-point outputs on the CPU
  may have no more than ``FEW`` elements.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigpose.errors import BackendError

FEW = 16
"""Most elements of a floating-point output of shape arithmetic: twice the eight numbers that pad a four-axis tensor,
and less than the smallest map, whose sides are 8 or more where a placement is proved."""
PROBED_BATCHES = (1, 3)
_CPU = "CPUExecutionProvider"
_LAYERS = {"Conv", "ConvTranspose", "MatMul", "Gemm", "DeformConv", "FusedConv", "FusedMatMul", "Attention"}
_FLOATS = {"float", "double", "float16", "bfloat16"}
_NAMED = 5


@dataclass(frozen=True)
class RanNode:
    """A node in the profiled runs.

    Attributes:
        name: In the graph, or as ONNX Runtime named what it fused or inserted.
        kind: Operator, such as ``Conv``.
        provider: Who computed it, such as ``CUDAExecutionProvider``.
        outputs: For each run, the type and the shape of every output.
    """

    name: str
    kind: str
    provider: str
    outputs: tuple[tuple[tuple[str, tuple[int, ...]], ...], ...]

    @property
    def holds_sizes_only(self) -> bool:
        """Whether its outputs are shape arithmetic, as defined above."""
        if len(self.outputs) != len(PROBED_BATCHES):
            return False
        first, *others = self.outputs
        sizes = [math.prod(shape) for _, shape in first]
        if any([math.prod(shape) for _, shape in run] != sizes for run in others):
            return False
        return all(kind not in _FLOATS or size <= FEW for (kind, _), size in zip(first, sizes, strict=True))


@dataclass(frozen=True)
class Placement:
    """How many nodes each provider runs.

    Attributes:
        provider: The one that was asked for.
        nodes: By provider.
    """

    provider: str
    nodes: Mapping[str, int]

    def __str__(self) -> str:
        """For people: ``all 214 nodes on CUDA``, or ``181 nodes on CUDA, 33 of shape arithmetic on the CPU``."""
        asked = self.nodes.get(self.provider, 0)
        if len(self.nodes) == 1:
            return (
                f"all in one node on {_short(self.provider)}"
                if asked == 1
                else f"all {_counted(asked)} on {_short(self.provider)}"
            )
        others = [
            f"{count} of shape arithmetic on the CPU" if name == _CPU else f"{count} on {_short(name)}"
            for name, count in sorted(self.nodes.items())
            if name != self.provider
        ]
        return ", ".join([f"{_counted(asked)} on {_short(self.provider)}", *others])


def read_profile(path: Path) -> list[RanNode]:
    """Every node of a profile that ONNX Runtime wrote, in the order in which they first ran."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for event in json.loads(path.read_text(encoding="utf-8")):
        facts = event.get("args", {})
        if event.get("cat") == "Node" and facts.get("provider"):
            name = event["name"].removesuffix("_kernel_time")
            found.setdefault((name, facts.get("node_index", "")), []).append(facts)
    return [
        RanNode(name, runs[0]["op_name"], runs[0]["provider"], tuple(_outputs(facts) for facts in runs))
        for (name, _), runs in found.items()
    ]


def prove_placement(graph: str, nodes: Sequence[RanNode], provider: str) -> Placement:
    """Make sure that a provider runs a whole graph, but for shape arithmetic.

    TensorRT's provider may leave nodes without weights to CUDA on the same GPU, such as the conversion of uint8 frames;
    a convolution or a matrix product that it leaves is an error.

    Args:
        graph: File name, for the sentence.
        nodes: Of ``read_profile``, from one run of each of ``PROBED_BATCHES``.
        provider: The one that was asked for.

    Raises:
        BackendError: Names the nodes that another provider ran.
    """
    elsewhere = [node for node in nodes if not _belongs(node, provider)]
    if not elsewhere and any(node.provider == provider for node in nodes):
        return Placement(provider, Counter(node.provider for node in nodes))
    named = ", ".join(f"{node.name} ({node.kind} on {_short(node.provider)})" for node in elsewhere[:_NAMED])
    more = f" and {len(elsewhere) - _NAMED} more" if len(elsewhere) > _NAMED else ""
    raise BackendError(
        f"{graph}: asked for {_short(provider)}, but ONNX Runtime runs {named or 'none of its nodes there'}{more} "
        "elsewhere, which is slow; upgrade onnxruntime-gpu, or use --device cpu."
    )


def _belongs(node: RanNode, provider: str) -> bool:
    if node.provider == provider or (node.provider == _CPU and node.holds_sizes_only):
        return True
    beside = provider == "TensorrtExecutionProvider" and node.provider == "CUDAExecutionProvider"
    return beside and node.kind not in _LAYERS


def _outputs(facts: Mapping[str, Any]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((kind, tuple(shape)) for output in facts["output_type_shape"] for kind, shape in output.items())


def _counted(nodes: int) -> str:
    return f"{nodes} node" if nodes == 1 else f"{nodes} nodes"


def _short(provider: str) -> str:
    return {"TensorrtExecutionProvider": "TensorRT", _CPU: "the CPU"}.get(
        provider, provider.removesuffix("ExecutionProvider")
    )
