# pyright: basic
"""What ONNX Runtime's TensorRT provider needs: TensorRT 10's libraries, shapes to build for, a place for engines."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rigpose.arrays import Array
from rigpose.bundles.bundle import TensorSpec, file_sha256
from rigpose.bundles.engines import Shape, ShapeRange
from rigpose.cache import cache_home
from rigpose.errors import BackendError
from rigpose.sessions.devices import describe_gpu

LIBRARIES = (
    ("nvinfer_10.dll", "nvonnxparser_10.dll") if os.name == "nt" else ("libnvinfer.so.10", "libnvonnxparser.so.10")
)
"""What the provider of ONNX Runtime 1.31 is linked to; TensorRT 11's libraries have an 11 there."""
INSTALL = "pip install 'tensorrt-cu13>=10.16,<11'"
_FIXED_SIZE_BATCHES = (1, 8, 32)
"""Least, best and most crops in a batch; most is what a top-down model's crops are cut into."""
_FREE_SIZE_BATCHES = (1, 8, 8)
_SIDES = (64, 512, 1536)
"""Least, best and largest side of frames [px]. TensorRT reserves memory for the largest batch of the largest frames,
some gigabytes for a ResNet-50."""


def shapes_to_build(inputs: Sequence[TensorSpec]) -> dict[str, ShapeRange]:
    """Shapes of a graph's inputs that one engine takes, by input; the first axis is the batch."""
    free_sides = any(isinstance(axis, str) for entry in inputs for axis in entry.shape[1:])
    batches = _FREE_SIZE_BATCHES if free_sides else _FIXED_SIZE_BATCHES

    def chosen(entry: TensorSpec, which: int) -> Shape:
        return tuple(
            (_SIDES if place else batches)[which] if isinstance(axis, str) else axis
            for place, axis in enumerate(entry.shape)
        )

    return {entry.name: ShapeRange(*(chosen(entry, which) for which in range(3))) for entry in inputs}


def require_tensorrt_10(graph: str) -> None:
    """Load TensorRT 10's libraries, so that ONNX Runtime's provider finds them.

    ONNX Runtime itself only logs that its provider did not load, and goes on without it.

    Raises:
        BackendError: One is missing.
    """
    absent = missing_libraries()
    if absent:
        raise BackendError(
            f"{graph}: ONNX Runtime's TensorRT provider needs {absent[0]}, which is not installed (TensorRT 11 does "
            f"not serve it); run: {INSTALL}, or use --backend tensorrt, which takes both."
        )


def missing_libraries() -> list[str]:
    """Those of TensorRT 10's libraries that do not load, from pip's packages or from where the system looks."""
    found = importlib.util.find_spec("tensorrt_libs")
    folders = [] if found is None else [Path(folder) for folder in found.submodule_search_locations or ()]
    return [name for name in LIBRARIES if not any(_loads(str(f / name)) for f in folders) and not _loads(name)]


def provider_options(graph: Path, device: int, shapes: Mapping[str, ShapeRange]) -> dict[str, str]:
    """Options of ``TensorrtExecutionProvider``.

    Precision is in the file: without any of the options that let TensorRT round by itself, the provider builds a
    strongly typed network. TF32 alone has no option, and the whole process is told to do without it.

    Args:
        graph: The ``.onnx`` file.
        device: Index of the GPU.
        shapes: By input.

    Raises:
        BackendError: There is no place for engines.
    """

    def joined(which: str) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, getattr(built, which)))}" for name, built in shapes.items())

    # TensorRT itself would round a convolution's inputs to 10 bits in a float32 graph.
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    cache = str(_engine_folder(graph, device))
    return {
        "device_id": str(device),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": cache,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": cache,
        "trt_profile_min_shapes": joined("min"),
        "trt_profile_opt_shapes": joined("opt"),
        "trt_profile_max_shapes": joined("max"),
    }


def check_shapes(graph: str, inputs: Mapping[str, Array], shapes: Mapping[str, ShapeRange]) -> None:
    """Make sure that a batch runs by the engine that was built.

    Raises:
        BackendError: ONNX Runtime would build another, for minutes, and in the middle of a video.
    """
    for name, built in shapes.items():
        if not built.holds(inputs[name].shape):
            raise BackendError(
                f"{graph}: {name} of shape {_words(inputs[name].shape)} are outside what the TensorRT engine is built "
                f"for ({_words(built.min)} to {_words(built.max)}); take another --batch, or --backend onnxruntime."
            )


def _engine_folder(graph: Path, device: int) -> Path:
    """Where engines of this graph on this machine are; ONNX Runtime tells apart neither weights nor drivers."""
    machine = re.sub(r"[^A-Za-z0-9.]+", "-", describe_gpu(device))
    folder = cache_home() / "rigpose" / "onnxruntime-engines" / machine / file_sha256(graph)[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackendError(
            f"{folder}: cannot hold TensorRT's engines ({error.strerror}); name a writable folder in XDG_CACHE_HOME."
        ) from error
    return folder


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _words(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
