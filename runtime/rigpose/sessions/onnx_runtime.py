# pyright: basic
"""ONNX Runtime on the CPU or a CUDA device. The provider that was asked for is the one that runs, or it raises."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rigpose.arrays import Array
from rigpose.errors import BackendError

Device: TypeAlias = Literal["auto", "cpu", "cuda"]


class OnnxRuntimeSession:
    """A graph loaded by ONNX Runtime.

    Args:
        graph: The ``.onnx`` file.
        device: ``cpu``, ``cuda``, or ``auto``: CUDA where the driver reports a GPU, else the CPU.
        threads: CPU threads for one operator; none for all the cores this process may use.

    Raises:
        BackendError: The device cannot run this graph; ONNX Runtime itself would quietly take the CPU.
    """

    def __init__(self, graph: Path, *, device: Device = "auto", threads: int | None = None) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        if device == "auto":
            device = "cuda" if cuda_devices() > 0 else "cpu"
        provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
        if provider not in onnxruntime.get_available_providers():
            raise BackendError(
                f"{graph.name}: this onnxruntime has no {provider}; install onnxruntime-gpu, or ask for --device cpu."
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0)) if _linux() else threads or 0
        options.inter_op_num_threads = 1
        # Spinning threads take the cores that decoding and a busy rig's other programs need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if device == "cuda":
            onnxruntime.preload_dlls()
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                str(graph), options, providers=[(provider, _provider_options(device))]
            )
        except Exception as error:  # ONNX Runtime's exception classes have no common base
            raise BackendError(f"{graph.name}: ONNX Runtime cannot load it on {device}: {_reason(error)}.") from error
        running = self._session.get_providers()
        if running[0] != provider:
            raise BackendError(
                f"{graph.name}: asked for {provider}, ONNX Runtime chose {running[0]}; a CUDA or cuDNN library is "
                "missing: run rigpose doctor, or ask for --device cpu."
            )
        self._device = "cuda:0" if device == "cuda" else "cpu"
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda:0``."""
        return self._device

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch; outputs by name."""
        results: list[Any] = list(self._session.run(self._outputs, dict(inputs)))
        return dict(zip(self._outputs, results, strict=True))


def cuda_devices() -> int:
    """How many GPUs the NVIDIA driver reports; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _provider_options(device: str) -> dict[str, str]:
    # TF32 rounds convolution inputs to 10 bits: faster, but then keypoints are no longer the training framework's.
    return {"use_tf32": "0"} if device == "cuda" else {}


def _linux() -> bool:
    return hasattr(os, "sched_getaffinity")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
