# pyright: basic
"""OpenVINO on the CPU. The precision that was asked for is the one that runs, and coordinates stay in float32."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rigpose.arrays import Array
from rigpose.errors import BackendError
from rigpose.sessions.devices import usable_cores
from rigpose.sessions.openvino_float32 import with_float32_ends
from rigpose.sessions.openvino_operators import Operators
from rigpose.sessions.openvino_precision import RunningStep, computes_in_int8, coordinates_in_bf16

ANY = -1
"""A batch of whatever size."""
INT8_BATCHES = (4, 2, 1)
"""With a batch of any size, OpenVINO 2026.4 gives wrong numbers for some convolutions of int8, so that batches are cut
into these; larger ones gain nothing."""
SIZES_KEPT = 4
"""Input sizes whose compiled graphs are kept; each takes about 1.3 times the memory of the graph's file."""
_PROBED = 256
"""Side of the frames for which a graph is compiled before it sees one [px]; every network's stride divides it."""
_HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}
"""What computes in floating point; which layers compute in integers stands in the graph."""


class OpenVinoSession:
    """A graph loaded by OpenVINO; one thread at a time may run it.

    The graph is compiled anew for each size of its inputs, and for any batch. With free sizes OpenVINO computes them
    inside the graph, in bf16 too, where 1001 / 8 is rounded before it is rounded up.

    A graph with group normalisations is compiled for one frame, and a batch's frames go one after the other: that is
    what their fast form needs, and the maps of a single frame stay in the cache (measured with one thread: eight frames
    in a graph for eight take 1.15 to 1.2 times as long, in one for any batch 1.4 to 1.5 times). Its numbers are then
    the same in every batch, the very bits. Detectors would lose bf16 by it, since OpenVINO takes the suppression at
    their end for a part of the network as soon as the batch is known.

    Args:
        graph: The ``.onnx`` file.
        device: ``cpu``; ``auto`` means the same here.
        threads: CPU threads; none for all the cores this process may use.
        precision: ``fp32``; ``int8`` for a graph that was quantised; or ``bf16`` for convolutions and matrix products,
            faster on processors that have instructions for it, and no longer the training framework's poses.

    Raises:
        BackendError: OpenVINO is not installed or cannot run this graph there, or not in this precision.
    """

    def __init__(
        self,
        graph: Path,
        *,
        device: str = "auto",
        threads: int | None = None,
        precision: Literal["fp32", "int8", "bf16"] = "fp32",
    ) -> None:
        if device not in ("auto", "cpu"):
            raise BackendError(f"{graph.name}: OpenVINO runs on the CPU and not on {device}; leave out --device.")
        self._name, self._precision = graph.name, precision
        try:
            self._core = loaded_core()
        except ImportError as error:
            raise BackendError(
                f"{graph.name}: OpenVINO is not installed; run: pip install 'rigpose[openvino]'."
            ) from error
        except RuntimeError as error:
            raise self._unfit(error) from error
        if precision == "bf16" and "BF16" not in bf16_and_others(self._core):
            raise BackendError(
                f"{graph.name}: this processor has no instructions for bf16; leave out --precision, or run rigpose "
                "doctor to see what it has."
            )
        self._options = {
            # OpenVINO's own choice is bf16 wherever the processor has it.
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or usable_cores(),
            # Pinned threads of a detector's and a pose network's sessions would share the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        operators = Operators(int8=precision == "int8")
        self._core.add_extension(operators.conversions)
        try:
            model = self._core.read_model(graph)
            self._model = with_float32_ends(self._core, model) if precision == "bf16" else model
        except RuntimeError as error:
            raise self._unfit(error) from error
        self._batches: tuple[int, ...] = (ANY,)
        if operators.group_normalisations:
            self._batches = (1,)
        elif precision == "int8":
            self._batches = INT8_BATCHES
        self._compiled = lru_cache(maxsize=SIZES_KEPT * len(self._batches))(self._compile)
        # A graph that cannot run is found now and not in the middle of a night's videos.
        shapes = {port.get_any_name(): port.get_partial_shape() for port in self._model.inputs}
        self._compiled(self._batches[-1], tuple(sorted((name, _probed(shape)) for name, shape in shapes.items())))

    @property
    def device(self) -> str:
        """Always ``cpu``."""
        return "cpu"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch; outputs by name."""
        shapes = tuple(sorted((name, value.shape[1:]) for name, value in inputs.items()))
        count = len(next(iter(inputs.values())))
        found: dict[str, list[Array]] = {}
        start = 0
        while start < count:
            batch = next(size for size in self._batches if size <= count - start)
            request, stop = self._compiled(batch, shapes), count if batch == ANY else start + batch
            some = {name: value[start:stop] for name, value in inputs.items()}
            # Not shared: the next run would write into these arrays.
            results = request.infer(some, share_inputs=True, share_outputs=False)
            for port in request.model_outputs:
                for name in port.get_names():
                    found.setdefault(name, []).append(results[port])
            start = stop
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _compile(self, batch: int, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Any:
        """A request for batches of this size, of inputs of these shapes, each without its first axis."""
        try:
            self._model.reshape({name: [batch, *shape] for name, shape in shapes})
            compiled = self._core.compile_model(self._model, "CPU", self._options)
        except RuntimeError as error:
            raise self._unfit(error) from error
        self._check_precision(compiled)
        return compiled.create_infer_request()

    def _check_precision(self, compiled: Any) -> None:
        running = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        asked = ("bf16", "bfloat16") if self._precision == "bf16" else ("f32", "float32")
        if running not in asked:
            raise BackendError(
                f"{self._name}: asked for {self._precision}, OpenVINO chose {running} on this processor; run rigpose "
                "doctor, or use --backend onnxruntime."
            )
        if self._precision == "int8" and not computes_in_int8(_steps(compiled)):
            raise BackendError(
                f"{self._name}: asked for int8, OpenVINO computes every layer in floating point on this processor; use "
                "--backend onnxruntime, or leave out --precision."
            )
        if self._precision != "bf16":
            return
        rounded = coordinates_in_bf16(_steps(compiled))
        if rounded:
            raise BackendError(
                f"{self._name}: in bf16 OpenVINO would round coordinates to whole pixels and more ({rounded}); leave "
                "out --precision bf16 for this model."
            )

    def _unfit(self, error: RuntimeError) -> BackendError:
        reason = " ".join(str(error).split())[-300:].strip(". ")
        return BackendError(
            f"{self._name}: OpenVINO cannot load it (... {reason}); use --backend onnxruntime for this model."
        )


def loaded_core() -> Any:
    """A core of OpenVINO that has loaded what runs graphs on the CPU.

    Raises:
        ImportError: OpenVINO is not installed.
        RuntimeError: It cannot use this processor.
    """
    import openvino

    core = openvino.Core()
    # The thread in which a core is first asked for the CPU gets another stack for signals. Where cores are released in
    # another order than last made, first released, or by another thread, that thread is left with a stack whose memory
    # is gone, and its next signal, such as Ctrl-C, ends the process. So the asking happens in a thread that ends here.
    with ThreadPoolExecutor(max_workers=1) as aside:
        aside.submit(bf16_and_others, core).result()
    return core


def bf16_and_others(core: Any) -> list[str]:
    """What OpenVINO can use of this processor, such as ``BF16`` and ``INT8``."""
    return list(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _probed(shape: Any) -> tuple[int, ...]:
    return tuple(_PROBED if axis.is_dynamic else axis.get_length() for axis in list(shape)[1:])


def _steps(compiled: Any) -> list[RunningStep]:
    """What really runs, in order."""
    steps = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = node.get_rt_info()
        steps.append(
            RunningStep(
                name=node.get_friendly_name(),
                kind=facts["layerType"].astype(str),
                precision=facts["runtimePrecision"].astype(str),
                reads=tuple(port.get_source_output().get_node().get_friendly_name() for port in node.inputs()),
            )
        )
    return steps
