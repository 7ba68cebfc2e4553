"""Values inside of a graph, as ONNX Runtime computes them on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from rigpose.arrays import Array


class InnerValues:
    """Gives floating values of a graph that are none of its outputs.

    Args:
        model: The graph, which is left as it is.
        names: Of the values.
    """

    def __init__(self, model: onnx.ModelProto, names: Sequence[str]) -> None:
        opened = onnx.ModelProto()
        opened.CopyFrom(model)
        del opened.graph.output[:]
        opened.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
        self._names = list(names)
        self._session = onnxruntime.InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])

    def of(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The values of one run, by name."""
        found = self._session.run(self._names, dict(batch))
        return {name: np.asarray(value) for name, value in zip(self._names, found, strict=True)}
