# pyright: basic
"""ONNX Runtime on the CPU or a CUDA device. The provider that was asked for is the one that runs, or it raises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rigpose.arrays import Array
from rigpose.errors import BackendError
from rigpose.sessions.devices import resolve_device, usable_cores


class OnnxRuntimeSession:
    """A graph loaded by ONNX Runtime.

    Args:
        graph: The ``.onnx`` file.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: CUDA where the driver reports a GPU, else the CPU.
        threads: CPU threads for one operator; none for all the cores this process may use.

    Raises:
        BackendError: The device cannot run this graph; ONNX Runtime itself would quietly take the CPU.
        ConfigError: No such kind of device.
    """

    def __init__(self, graph: Path, *, device: str = "auto", threads: int | None = None) -> None:
        self._device = resolve_device(device)
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        cuda = self._device.startswith("cuda")
        provider = "CUDAExecutionProvider" if cuda else "CPUExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            raise BackendError(
                f"{graph.name}: this onnxruntime has no {provider}; install onnxruntime-gpu, or ask for --device cpu."
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        # Spinning threads take the cores that decoding and a busy rig's other programs need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        details: dict[str, str] = {}
        if cuda:
            onnxruntime.preload_dlls()
            # TF32 rounds a convolution's inputs to 10 bits: faster, and no longer the training framework's keypoints.
            details = {"device_id": self._device.split(":")[1], "use_tf32": "0"}
        try:
            self._session = onnxruntime.InferenceSession(str(graph), options, providers=[(provider, details)])
        except Exception as error:  # ONNX Runtime's exception classes have no common base
            reason = " ".join(str(error).split())[:300].rstrip(".")
            raise BackendError(
                f"{graph.name}: ONNX Runtime cannot load it on {self._device} ({reason}); run rigpose doctor."
            ) from error
        running = self._session.get_providers()
        if running[0] != provider:
            raise BackendError(
                f"{graph.name}: asked for {provider}, ONNX Runtime chose {running[0]} because a CUDA or cuDNN library "
                "is missing; run rigpose doctor, or ask for --device cpu."
            )
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda:N``."""
        return self._device

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch; outputs by name."""
        results: list[Any] = list(self._session.run(self._outputs, dict(inputs)))
        return dict(zip(self._outputs, results, strict=True))
