# pyright: basic
"""ONNX Runtime on the CPU, on a GPU, or on one through TensorRT. What was asked for is what runs, or it raises."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from rigpose.arrays import Array
from rigpose.bundles.engines import ShapeRange
from rigpose.errors import BackendError
from rigpose.sessions.devices import resolve_device, usable_cores
from rigpose.sessions.onnxruntime_binding import BoundRuns
from rigpose.sessions.onnxruntime_tensorrt import check_shapes, provider_options, require_tensorrt_10
from rigpose.sessions.placement import PROBED_BATCHES, Placement, RanNode, prove_placement, read_profile

Provider: TypeAlias = Literal["CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"]
_PROBED = 256
"""Side of the frames that prove the placement [px]; every network's stride divides it, and its maps are 8 or more."""


class OnnxRuntimeSession:
    """A graph loaded by ONNX Runtime; on a GPU one thread at a time may run it.

    Args:
        graph: The ``.onnx`` file.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: CUDA where the driver reports a GPU, else the CPU.
        threads: CPU threads for one operator; none for all the cores this process may use.
        tensorrt: Let TensorRT 10 run it on the GPU, by an engine for inputs of these shapes, which is built once, for
            minutes, and kept; none for ONNX Runtime's own kernels.

    Raises:
        BackendError: The device cannot run this graph; ONNX Runtime itself would quietly take the CPU, for all of it or
            for some nodes.
        ConfigError: No such kind of device.
    """

    def __init__(
        self,
        graph: Path,
        *,
        device: str = "auto",
        threads: int | None = None,
        tensorrt: Mapping[str, ShapeRange] | None = None,
    ) -> None:
        self._name, self._device = graph.name, resolve_device(device)
        self._shapes = tensorrt or {}
        provider = _provider(self._name, self._device, tensorrt=tensorrt is not None)
        if provider == "CPUExecutionProvider":
            self._session = _load(graph, self._device, _options(threads), [(provider, {})])
            self._bound: BoundRuns | None = None
            self._placement: Placement | None = None
        else:
            self._load_on_gpu(graph, provider, threads)
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda:N``."""
        return self._device

    @property
    def placement(self) -> Placement | None:
        """Which provider runs how many nodes, proved when the graph was loaded; none on the CPU, the only one there."""
        return self._placement

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch; outputs by name.

        Raises:
            BackendError: The device cannot, as where its memory is too small for the batch.
        """
        check_shapes(self._name, inputs, self._shapes)
        try:
            if self._bound is not None:
                return self._bound.run(inputs)
            results: list[Any] = list(self._session.run(self._outputs, dict(inputs)))
        except Exception as error:  # ONNX Runtime's exception classes have no common base
            shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in inputs.items())
            raise BackendError(
                f"{self._name}: ONNX Runtime cannot run {shapes} on {self._device} ({_reason(error)}); take a smaller "
                "--batch, or run rigpose doctor."
            ) from error
        return dict(zip(self._outputs, results, strict=True))

    def _load_on_gpu(self, graph: Path, provider: Provider, threads: int | None) -> None:
        index = int(self._device.split(":")[1])
        providers: list[tuple[str, dict[str, str]]] = [("CUDAExecutionProvider", _cuda_options(index))]
        if provider == "TensorrtExecutionProvider":
            require_tensorrt_10(self._name)
            providers.insert(0, (provider, provider_options(graph, index, self._shapes)))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            options = _options(threads)
            options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "placement")
            self._session = _load(graph, self._device, options, providers)
            self._bound = BoundRuns(self._session, "cuda", index)
            try:
                nodes = profiled_nodes(self._session)
            except Exception as error:  # ONNX Runtime's exception classes have no common base
                raise BackendError(
                    f"{self._name}: ONNX Runtime loads it on {self._device} and cannot run it ({_reason(error)}); run "
                    "rigpose doctor, or use --device cpu."
                ) from error
            self._placement = prove_placement(self._name, nodes, provider)


def profiled_nodes(session: Any) -> list[RanNode]:
    """Run blank frames through a session that was loaded with profiling, end the profile, and read it.

    Returns:
        What ``prove_placement`` takes. A graph of a fixed batch runs once, and then no node passes as shape arithmetic.
    """
    inputs = session.get_inputs()
    fixed = any(isinstance(entry.shape[0], int) for entry in inputs)
    for batch in PROBED_BATCHES[:1] if fixed else PROBED_BATCHES:
        session.run(None, {entry.name: _blank(entry, batch) for entry in inputs})
    return read_profile(Path(session.end_profiling()))


def _blank(entry: Any, batch: int) -> Array:
    """Zeros for an input."""
    shape = [axis if isinstance(axis, int) else (_PROBED if place else batch) for place, axis in enumerate(entry.shape)]
    return np.zeros(shape, {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}[entry.type])


def _provider(graph: str, device: str, *, tensorrt: bool) -> Provider:
    import onnxruntime

    if tensorrt and device == "cpu":
        raise BackendError(
            f"{graph}: TensorRT needs an NVIDIA GPU, and the driver reports none or --device cpu was asked for; use "
            "--backend onnxruntime."
        )
    provider: Provider = "CPUExecutionProvider" if device == "cpu" else "CUDAExecutionProvider"
    if tensorrt:
        provider = "TensorrtExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise BackendError(
            f"{graph}: this onnxruntime has no {provider}; install onnxruntime-gpu, or ask for --device cpu."
        )
    return provider


def _options(threads: int | None) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    # Sizes fixed for a video, no arena, no memory pattern, denormals as zero: all within 3 % of the defaults, measured
    # on ResNet-50 (fp32 and int8) and DEKR with one thread, so that the defaults stay.
    # Spinning threads take the cores that decoding and a busy rig's other programs need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _cuda_options(index: int) -> dict[str, str]:
    return {
        "device_id": str(index),
        # TF32 rounds a convolution's inputs to 10 bits: faster, and no longer the training framework's keypoints.
        "use_tf32": "0",
        # The exhaustive search times every kernel anew for each shape, seconds where the number of crops varies, and a
        # stop watch chooses differently in the next run, so that an analysis that is continued would round differently.
        "cudnn_conv_algo_search": "HEURISTIC",
    }


def _load(graph: Path, device: str, options: Any, providers: list[tuple[str, dict[str, str]]]) -> Any:
    """A session that runs what it was given first, and that never takes another provider later."""
    import onnxruntime

    if device != "cpu":
        onnxruntime.preload_dlls()
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exception classes have no common base
        raise BackendError(
            f"{graph.name}: ONNX Runtime cannot load it on {device} ({_reason(error)}); run rigpose doctor."
        ) from error
    running, asked = session.get_providers(), providers[0][0]
    if running[0] != asked:
        raise BackendError(
            f"{graph.name}: asked for {asked}, ONNX Runtime chose {running[0]} because a CUDA or cuDNN library "
            "is missing; run rigpose doctor, or ask for --device cpu."
        )
    return session


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
