"""What runs a bundle's graphs: the words a user may say, and the session that they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from rigpose.bundle import BackendName, Bundle, Role
from rigpose.errors import ConfigError
from rigpose.schema import suggest
from rigpose.sessions import Session
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose.sessions.onnxruntime_version import runnable_graph
from rigpose.sessions.openvino import OpenVinoSession

RunPrecision: TypeAlias = Literal["fp32", "bf16"]
BACKENDS: tuple[BackendName, ...] = ("onnxruntime", "openvino")
PRECISIONS: tuple[str, ...] = get_args(RunPrecision)


@dataclass(frozen=True)
class Backend:
    """What runs graphs, and how it rounds.

    Attributes:
        name: The library.
        precision: Of convolutions and matrix products; coordinates are float32 in each.
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
        if self.name == "onnxruntime" and self.precision != "fp32":
            raise ConfigError(
                f"precision {self.precision!r}: onnxruntime runs a graph in the precision that it was exported in; "
                "leave out --precision, or add --backend openvino."
            )

    @property
    def settings(self) -> dict[str, str]:
        """What changes the rounding of poses."""
        return {"backend": self.name, "precision": self.precision}

    def open(self, bundle: Bundle, role: Role) -> Session:
        """Load a bundle's graph for a role.

        Raises:
            BackendError: It cannot run as it was asked to.
            ConfigError: No such kind of device.
        """
        if self.name == "openvino":
            file = bundle.file(bundle.manifest.graph(role, backend="openvino").file)
            precision: RunPrecision = "bf16" if self.precision == "bf16" else "fp32"
            return OpenVinoSession(file, device=self.device, threads=self.threads, precision=precision)
        graph = bundle.manifest.graph(role)
        return OnnxRuntimeSession(runnable_graph(bundle, graph), device=self.device, threads=self.threads)
