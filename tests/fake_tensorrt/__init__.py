"""The real Python bindings of TensorRT 10 and 11 over a library of our own, so that they run without NVIDIA's.

The bindings are not ours to keep: pip fetches them where it may, and the tests that need them say so where it may not.
Two versions cannot live in one process, so each runs in one of its own; see ``scenarios``.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import types
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BINDINGS = {10: "10.16.1.11", 11: "11.4.0.106"}
"""Major version -> release of ``tensorrt_cu13_bindings`` whose interface the fake has."""

PARTS = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")
_KEPT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rigpose-tests"


class UnavailableError(Exception):
    """Why the bindings cannot run here."""


@dataclass(frozen=True)
class Fake:
    """The bindings' module over the fake library."""

    module: Any
    library: ctypes.CDLL

    def set(self, **switches: int) -> None:
        """Switches of ``fake.c`` without their prefix."""
        for name, value in switches.items():
            ctypes.c_int.in_dll(self.library, f"fake_{name}").value = value

    def read(self, name: str) -> int:
        """A counter of ``fake.c``."""
        kind = ctypes.c_uint64 if name == "workspace" else ctypes.c_uint32
        return kind.in_dll(self.library, f"fake_{name}").value

    def flags(self, name: str, *members: Any) -> bool:
        """Whether exactly these flags were given."""
        return self.read(name) == sum(1 << int(member) for member in members)

    def describe(self, *tensors: tuple[str, str, str, tuple[int, ...]]) -> None:
        """Say what the next graph has: name, ``input`` or ``output``, ``uint8`` or ``float32``, shape with -1."""
        modes, types_ = {"input": 1, "output": 2}, {"float32": 0, "uint8": 5}
        lines = [
            f"{name} {modes[mode]} {types_[dtype]} {len(shape)} {' '.join(map(str, shape))}"
            for name, mode, dtype, shape in tensors
        ]
        assert self.library.fake_describe("\n".join(lines).encode()) == 1


def prepare(major: int, folder: Path) -> None:
    """Put a version's bindings and the compiled fake into ``folder``.

    Raises:
        UnavailableError: No compiler, another processor, or no bindings to be had.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise UnavailableError("the fake library is for Linux on x86-64")
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise UnavailableError("no C compiler (gcc) to compile the fake TensorRT library with")
    with zipfile.ZipFile(_wheel(BINDINGS[major])) as wheel:
        wheel.extractall(folder)
    source = Path(__file__).with_name("fake.c")
    for part in PARTS:
        name = f"{part}.so.{major}"
        code = source if part == "libnvinfer" else "/dev/null"
        options = ["-shared", "-fPIC", "-O1", f"-DTRT={major}", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([compiler, *options, "-x", "c", str(code)], check=True)


def load(major: int, folder: Path) -> Fake:
    """Import the bindings from ``folder`` as ``tensorrt``."""
    libraries = [ctypes.CDLL(str(folder / f"{part}.so.{major}"), mode=ctypes.RTLD_GLOBAL) for part in PARTS]
    # The bindings import this package, NVIDIA's libraries, if it is there, and look for none themselves.
    sys.modules["tensorrt_libs"] = types.ModuleType("tensorrt_libs")
    sys.path.insert(0, str(folder))
    import tensorrt_bindings  # pyright: ignore[reportMissingImports]

    return Fake(tensorrt_bindings, libraries[0])


def _wheel(version: str) -> Path:
    """The bindings' wheel for this Python, fetched once."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    pattern = f"tensorrt_cu13_bindings-{version}-{tag}-*.whl"
    found = sorted(_KEPT.glob(pattern))
    if not found:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--timeout", "20"]
        wanted = ["--retries", "0", "--dest", str(_KEPT), f"tensorrt_cu13_bindings=={version}"]
        done = subprocess.run([*pip, *wanted], check=False, capture_output=True, text=True, timeout=300)
        found = sorted(_KEPT.glob(pattern))
        if not found:
            reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise UnavailableError(f"the Python bindings of TensorRT {version} cannot be fetched ({reason})")
    return found[0]
