# pyright: basic
"""Which TensorRT is installed: version 10 or 11, TensorRT for RTX, or the lean runtime that only runs engines.

They are one Python interface under several module names. What differs is asked of the module and never of numbers:
the values of its flags moved between versions 10 and 11.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from rigpose.bundles.engines import Gpu
from rigpose.errors import BackendError, ConfigError
from rigpose.schema import suggest

LibraryName: TypeAlias = Literal["tensorrt", "tensorrt_rtx", "tensorrt_lean"]
LIBRARIES: tuple[LibraryName, ...] = get_args(LibraryName)

INSTALL = {
    "tensorrt": "pip install 'rigpose[tensorrt]'",
    "tensorrt_rtx": "pip install 'rigpose[tensorrt-rtx]'",
    "tensorrt_lean": "pip install tensorrt-lean-cu13-libs tensorrt-lean-cu13-bindings",
}
"""The line that installs each library."""

_LONGEST_REASON = 600
"""Characters of a library's own words that a message repeats."""
_LINES_KEPT = 100
"""A session may warn in every frame for weeks."""


@dataclass(frozen=True)
class TensorRtLibrary:
    """An imported library.

    Attributes:
        name: Of its kind; NVIDIA's own module name.
        version: Such as ``11.4.0.106``.
        module: What was imported.
    """

    name: LibraryName
    version: str
    module: Any

    @property
    def portable(self) -> bool:
        """Whether its engines are finished on the GPU that loads them, and so can be built without one."""
        return self.name == "tensorrt_rtx"

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def installed_libraries() -> tuple[LibraryName, ...]:
    """The libraries that Python finds, without importing them."""
    return tuple(name for name in LIBRARIES if any(_found(module) for module in _modules(name)))


def importable_libraries() -> Iterator[TensorRtLibrary]:
    """Every installed library, imported.

    Raises:
        BackendError: One is installed and does not load.
    """
    for name in installed_libraries():
        yield import_library(name)


def import_library(name: str) -> TensorRtLibrary:
    """Import a library by its name; this needs no GPU.

    Raises:
        ConfigError: There is no library of that name.
        BackendError: It is not installed, or one of its shared libraries does not load.
    """
    for known in LIBRARIES:
        if known == name:
            break
    else:
        raise ConfigError(f"library {name!r}: is none of {', '.join(LIBRARIES)}{suggest(name, LIBRARIES)}.")
    for module_name in _modules(known):
        if not _found(module_name):
            continue
        try:
            module = importlib.import_module(module_name)
        except (ImportError, OSError) as error:
            reason = one_line(str(error))
            raise BackendError(
                f"{known}: is installed and does not load ({reason}); install it again: {INSTALL[known]}."
            ) from error
        return TensorRtLibrary(known, module.__version__, module)
    raise BackendError(f"{known}: is not installed; run: {INSTALL[known]}.")


def probe_gpu(device: str) -> Gpu:
    """Find the GPU that was asked for, through CUDA alone, and make it the one that this thread talks to.

    TensorRT must not be asked first: without a driver its lean runtime does not raise, it ends the process.

    Args:
        device: ``cuda:N``.

    Raises:
        BackendError: No cuda-bindings, no driver, or no such GPU.
    """
    try:
        runtime: Any = importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise BackendError(
            f"{device}: TensorRT needs cuda-bindings, which is not installed; run: pip install 'cuda-bindings>=13'."
        ) from error
    status, count = runtime.cudaGetDeviceCount()
    if status != runtime.cudaError_t.cudaSuccess:
        reason = runtime.cudaGetErrorString(status)[1].decode()
        raise BackendError(
            f"{device}: TensorRT needs an NVIDIA GPU and CUDA finds none ({reason}); install NVIDIA's driver, or use "
            "--backend onnxruntime."
        )
    index = int(device.split(":")[1])
    if index >= count:
        raise BackendError(f"{device}: there are {count} GPUs, numbered from 0; choose one of them with --device.")
    _answer((*runtime.cudaSetDevice(index), None), device)
    properties = _answer(runtime.cudaGetDeviceProperties(index), device)
    driver = _answer(runtime.cudaDriverGetVersion(), device)
    name = properties.name.split(b"\0")[0].decode()
    return Gpu(name, f"{properties.major}.{properties.minor}", f"{driver // 1000}.{driver % 1000 // 10}")


def _answer(result: tuple[Any, ...], device: str) -> Any:
    status, value = result
    if int(status) != 0:
        raise BackendError(f"{device}: CUDA cannot describe this GPU ({status.name}); run nvidia-smi.")
    return value


@dataclass
class Said:
    """What a library wrote to its logger: the only place where it gives reasons.

    Attributes:
        logger: To be given to the library.
        lines: Severity (smaller is worse) and text, from warnings up.
    """

    logger: Any
    lines: deque[tuple[int, str]]

    def reason(self) -> str:
        """Its complaints since the last call, the worst kind alone, in one line."""
        worst = min((severity for severity, _ in self.lines), default=0)
        kept = dict.fromkeys(one_line(text) for severity, text in self.lines if severity == worst)
        self.lines.clear()
        return one_line("; ".join(kept)) or "it gave no reason"


def listen(library: TensorRtLibrary) -> Said:
    """A logger of the library's own kind that keeps what it is told instead of printing it."""
    base = library.module.ILogger
    lines: deque[tuple[int, str]] = deque(maxlen=_LINES_KEPT)

    class Listener(base):
        def __init__(self) -> None:
            base.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity <= base.WARNING:
                lines.append((int(severity), msg))

    return Said(Listener(), lines)


def one_line(text: str) -> str:
    """A library's words as a part of a sentence."""
    words = " ".join(text.split()).rstrip(". ")
    return words if len(words) <= _LONGEST_REASON else f"{words[:_LONGEST_REASON]} ..."


def _modules(name: LibraryName) -> Sequence[str]:
    """Module names: of NVIDIA's package, and of the bindings that it only passes on."""
    return name, f"{name}_bindings"


def _found(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
