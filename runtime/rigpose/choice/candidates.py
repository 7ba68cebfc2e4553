"""Which backends and precisions come into question for the words a user said."""

from __future__ import annotations

from rigpose.choice import AUTO
from rigpose.sessions.backends import Backend
from rigpose.sessions.devices import resolve_device

_ON_CPU = {"onnxruntime": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8")}
"""int8 and bf16 are what CPUs are faster in."""
_ON_GPU = {
    # Its CUDA kernels have no int8 convolutions.
    "onnxruntime": ("fp32", "fp16"),
    "tensorrt": ("fp32", "fp16", "int8"),
    "onnxruntime-tensorrt": ("fp32", "fp16", "int8"),
}


def candidates(backend: str, precision: str, device: str, threads: int | None) -> tuple[Backend, ...]:
    """Everything that the words allow, whether it is installed and in the bundle or not; fp32 first.

    TensorRT inside ONNX Runtime, which builds engines for minutes, only where it was named.

    Args:
        backend: A backend's name, or ``auto``.
        precision: A precision, or ``auto``.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
        threads: CPU threads of each session; none for all cores.

    Raises:
        ConfigError: No such word, or a precision that the backend does not have.
    """
    resolved = "cpu" if backend == "openvino" else resolve_device(device)
    known = _ON_CPU if resolved == "cpu" else _ON_GPU
    names = [name for name in known if name != "onnxruntime-tensorrt"] if backend == AUTO else [backend]
    if precision != AUTO:
        # A word that none of them has must raise, and one that only some have must not.
        fitting = [name for name in names if backend != AUTO or precision in known[name]]
        return tuple(Backend(name, precision, device, threads) for name in fitting or names)
    found = [Backend(name, one, device, threads) for name in names for one in known.get(name, ("fp32",))]
    return tuple(sorted(found, key=lambda runs: runs.precision != "fp32"))
