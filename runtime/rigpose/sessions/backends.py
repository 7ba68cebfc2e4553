"""What runs a bundle's graphs: the words a user may say, and the session that they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from rigpose.bundles.bundle import BackendName, Bundle, GraphSpec, Precision, Role
from rigpose.bundles.certificate import explain_left_out
from rigpose.errors import ConfigError
from rigpose.schema import suggest
from rigpose.sessions import Session
from rigpose.sessions.devices import resolve_device
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose.sessions.onnxruntime_tensorrt import shapes_to_build
from rigpose.sessions.onnxruntime_version import runnable_graph
from rigpose.sessions.openvino import OpenVinoSession

BackendWord: TypeAlias = Literal["onnxruntime", "openvino", "tensorrt", "onnxruntime-tensorrt"]
RunPrecision: TypeAlias = Literal["fp32", "fp16", "int8", "bf16"]
BACKENDS: tuple[BackendWord, ...] = get_args(BackendWord)
PRECISIONS: tuple[RunPrecision, ...] = get_args(RunPrecision)

_GRAPHS_FOR: dict[str, BackendName] = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "onnxruntime-tensorrt": "tensorrt",
}
"""ONNX Runtime hands its TensorRT provider the graph as it is, so that TensorRT's files are the ones to give it."""


@dataclass(frozen=True)
class Backend:
    """What runs graphs, and how it rounds.

    Attributes:
        name: The library: ONNX Runtime, OpenVINO on the CPU, TensorRT with engines that were built before, or TensorRT
            inside ONNX Runtime.
        precision: Of convolutions and matrix products; coordinates are float32 in each. ``fp16`` and ``int8`` are
            graphs of their own, and ``bf16`` is how OpenVINO runs the one in fp32.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
        threads: CPU threads of each session; none for all cores.

    Raises:
        ConfigError: No such backend or precision, or a precision that the backend does not have.
    """

    name: str = "onnxruntime"
    precision: str = "fp32"
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        for key, value, known in (("backend", self.name, BACKENDS), ("precision", self.precision, PRECISIONS)):
            if value not in known:
                raise ConfigError(f"{key} {value!r}: is none of {', '.join(known)}{suggest(value, known)}.")
        if self.precision == "bf16" and self.name != "openvino":
            raise ConfigError(
                f"precision 'bf16': {self.name} runs a graph in the precision that it was exported in; leave out "
                "--precision, or add --backend openvino."
            )
        if self.precision == "fp16" and self.name == "openvino":
            # Its kernels for the CPU are float32, bf16 and int8: it would widen weights that were rounded.
            raise ConfigError(
                "precision 'fp16': OpenVINO computes in float32 on the CPU, so that fp16 would be less exact and no "
                "faster; use bf16 where the processor has it, int8, or leave out --precision."
            )

    @property
    def graphs(self) -> BackendName:
        """Whose files of a bundle it takes."""
        return _GRAPHS_FOR[self.name]

    @property
    def settings(self) -> dict[str, str]:
        """What changes the rounding of poses."""
        return {"backend": self.name, "precision": self.precision}

    def open(self, bundle: Bundle, role: Role) -> Session:
        """Load a bundle's graph for a role.

        Raises:
            BackendError: It cannot run as it was asked to.
            ConfigError: No such kind of device, or no graph in this precision.
        """
        precision = cast("Precision", "fp32" if self.precision == "bf16" else self.precision)
        try:
            graph = bundle.manifest.graph(role, precision=precision, backend=self.graphs)
        except ConfigError:
            explain_left_out(bundle, precision, self.graphs)
            raise
        if self.name == "openvino":
            return OpenVinoSession(
                bundle.file(graph.file),
                device=self.device,
                threads=self.threads,
                precision=cast("Literal['fp32', 'int8', 'bf16']", self.precision),
            )
        if self.name == "tensorrt":
            from rigpose.sessions.tensorrt import open_tensorrt

            return open_tensorrt(bundle, graph, device=self.device)
        return self._onnxruntime(bundle, graph)

    def _onnxruntime(self, bundle: Bundle, graph: GraphSpec) -> Session:
        file = runnable_graph(bundle, graph)
        if self.name == "onnxruntime-tensorrt":
            shapes = shapes_to_build(graph.inputs)
            return OnnxRuntimeSession(file, device=self.device, threads=self.threads, tensorrt=shapes)
        if self.precision == "int8" and resolve_device(self.device) != "cpu":
            raise ConfigError(
                "precision 'int8': ONNX Runtime's CUDA provider has no int8 convolutions, so that int8 would be slower "
                "than fp32; add --device cpu, or use --backend tensorrt."
            )
        return OnnxRuntimeSession(file, device=self.device, threads=self.threads)
