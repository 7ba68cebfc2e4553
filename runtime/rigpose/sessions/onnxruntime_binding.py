# pyright: basic
"""Runs of an ONNX Runtime session whose buffers stay on the device between runs of one shape.

``session.run`` allocates device memory for every input and output of every run, and uploads from pageable memory, which
the driver first copies to memory of its own, piece by piece. Here frames go through page-locked memory that the device
reads by itself, into the same device buffers as before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rigpose.arrays import Array
from rigpose.sessions.devices import page_locked

KEPT_BYTES = 1 << 28
"""Most device memory for inputs that is kept; 32 crops, 31, and so on to one are 100 MiB, and a batch of eight frames
of 1024 x 1024 px is 24 MiB. The last batch is kept whatever its size."""


@dataclass
class _Bound:
    """Buffers for inputs of one shape; the outputs' are known once it ran."""

    binding: Any
    inputs: Mapping[str, Any]
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(value.tensor_size_in_bytes() for value in self.inputs.values())


class BoundRuns:
    """Runs a session over kept buffers; one thread at a time.

    Args:
        session: ONNX Runtime's. Its outputs' shapes follow from its inputs' shapes alone.
        device: ``cuda``, or ``cpu``, where it saves nothing and gives the same numbers.
        index: Of the device.
    """

    def __init__(self, session: Any, device: str, index: int) -> None:
        self._session, self._device, self._index = session, device, index
        self._names = [output.name for output in session.get_outputs()]
        self._bound: OrderedDict[tuple[Any, ...], _Bound] = OrderedDict()
        self._host: dict[str, Array] = {}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch; the arrays returned belong to the caller."""
        key = tuple(sorted((name, array.shape, array.dtype.str) for name, array in inputs.items()))
        bound = self._bound.get(key) or self._bind(inputs)
        for name, array in inputs.items():
            bound.inputs[name].update_inplace(self._staged(name, array))
        self._session.run_with_iobinding(bound.binding)
        if not bound.outputs:
            self._keep_outputs(bound)
        self._bound[key] = bound
        self._bound.move_to_end(key)
        while len(self._bound) > 1 and sum(kept.bytes for kept in self._bound.values()) > KEPT_BYTES:
            self._bound.popitem(last=False)
        return dict(zip(self._names, bound.binding.copy_outputs_to_cpu(), strict=True))

    def _bind(self, inputs: Mapping[str, Array]) -> _Bound:
        """Allocate for inputs of these shapes; the first run over it allocates the outputs."""
        import onnxruntime

        binding = self._session.io_binding()
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                list(array.shape), array.dtype.type, self._device, self._index
            )
            for name, array in inputs.items()
        }
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name in self._names:
            binding.bind_output(name, self._device, self._index)
        return _Bound(binding, values)

    def _keep_outputs(self, bound: _Bound) -> None:
        bound.outputs.update(zip(self._names, bound.binding.get_outputs(), strict=True))
        bound.binding.clear_binding_outputs()
        for name, value in bound.outputs.items():
            bound.binding.bind_ortvalue_output(name, value)

    def _staged(self, name: str, array: Array) -> Array:
        """A copy of an input in page-locked memory, which the next run of any shape overwrites."""
        if self._device == "cpu":
            return np.ascontiguousarray(array)
        host = self._host.get(name)
        if host is None or host.nbytes < array.nbytes:
            host = self._host[name] = page_locked(array.nbytes, self._index)
        staged = host[: array.nbytes].view(array.dtype).reshape(array.shape)
        np.copyto(staged, array)
        return staged
