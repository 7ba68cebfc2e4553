"""``rigpose doctor``: what this machine has, what is missing, and the lines that install it."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import re
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from rigpose import __version__
from rigpose.commands.command import Command
from rigpose.sessions.devices import cuda_devices, usable_cores
from rigpose.sessions.onnxruntime_tensorrt import INSTALL as INSTALL_TENSORRT_10
from rigpose.sessions.onnxruntime_tensorrt import LIBRARIES, missing_libraries
from rigpose.sessions.processor import Processor
from rigpose.sessions.tensorrt_library import INSTALL as INSTALL_TENSORRT

_RUNTIME = ("numpy", "opencv-python", "scipy", "pyyaml", "rich", "pandas", "tables")
_EXTRAS = {
    "train": ("torch", "torchvision", "timm", "matplotlib"),
    "export": ("onnx", "onnxscript"),
    "openvino": ("openvino",),
    "tensorrt-check": ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs"),
}
_WHAT_FOR = {
    "train": "to train and evaluate",
    "export": "to export bundles",
    "openvino": "to run bundles with --backend openvino",
    "tensorrt-check": "to try on a CPU whether TensorRT takes exported graphs",
}


def _configure(parser: argparse.ArgumentParser) -> None:
    del parser


def _run(arguments: argparse.Namespace) -> int:
    del arguments
    processor = Processor.here()
    print(f"rigpose {__version__}, Python {platform.python_version()}, {platform.platform()}")
    print(f"processor: {usable_cores()} cores usable, {processor}")
    print(f"    {processor.advice}")
    missing = []
    for name in _RUNTIME:
        found = _version(name)
        print(f"  {name:<16} {found or 'MISSING'}")
        if found is None:
            missing.append(name)
    healthy = _report_onnxruntime()
    for extra, packages in _EXTRAS.items():
        absent = [name for name in packages if _version(name) is None]
        if absent:
            print(f"extra {extra}: not installed ({', '.join(absent)} missing); {_WHAT_FOR[extra]}:")
            print(f'    pip install "rigpose[{extra}]"    (in a clone of rigpose: pip install ".[{extra}]")')
        else:
            print(f"extra {extra}: " + ", ".join(f"{name} {_version(name)}" for name in packages))
    _report_openvino()
    _report_tensorrt()
    if missing:
        print(f"MISSING: {', '.join(missing)}; install again with: pip install --force-reinstall rigpose")
    return 0 if healthy and not missing else 1


def _report_onnxruntime() -> bool:
    """Versions, providers and GPUs; false if the rig cannot run what its hardware offers."""
    name = next((n for n in ("onnxruntime-gpu", "onnxruntime") if _version(n)), None)
    if name is None or importlib.util.find_spec("onnxruntime") is None:
        print("  onnxruntime      MISSING; install it with: pip install onnxruntime-gpu (onnxruntime without NVIDIA)")
        return False
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    print(
        f"  {name:<16} {_version(name)}: built with {', '.join(p.removesuffix('ExecutionProvider') for p in providers)}"
    )
    gpus = cuda_devices()
    if gpus == 0:
        print("GPU: the NVIDIA driver reports none, so --device auto means the CPU.")
        return True
    if "CUDAExecutionProvider" not in providers:
        print(f"GPU: {gpus} found, but this onnxruntime has no CUDA; install: pip install onnxruntime-gpu")
        return False
    absent = _missing_cuda_libraries()
    if absent:
        print(f"GPU: {gpus} found, but these libraries are missing: {', '.join(absent)}; install them with:")
        print('    pip install "onnxruntime-gpu[cuda,cudnn]"')
        return False
    print(f"GPU: {gpus} found, CUDA and cuDNN libraries load, so --device auto means the GPU.")
    return True


def _report_openvino() -> None:
    """What OpenVINO makes of this processor."""
    if _version("openvino") is None:
        return
    from rigpose.sessions.openvino import bf16_and_others, loaded_core

    try:
        offers = bf16_and_others(loaded_core())
    except RuntimeError as error:
        print(f"openvino: cannot use this processor ({' '.join(str(error).split())[-200:]})")
        return
    bf16 = "has" if "BF16" in offers else "has no"
    print(f"openvino: this processor {bf16} bf16, so --precision bf16 {'runs' if bf16 == 'has' else 'is refused'}.")


def _report_tensorrt() -> None:
    """Which of the two ways to TensorRT is open."""
    found = [module for name in INSTALL_TENSORRT if (module := _tensorrt_module(name))]
    bindings = _version("cuda-bindings")
    print(
        "--backend tensorrt takes TensorRT 10.16 or newer, 11, or TensorRT for RTX; installed: "
        f"{', '.join(found) or 'none'}, cuda-bindings {bindings or 'MISSING'}."
    )
    if not found or bindings is None:
        print(f"    {INSTALL_TENSORRT['tensorrt']}    (TensorRT 11)")
        print(f"    {INSTALL_TENSORRT['tensorrt_rtx']}    (TensorRT for RTX, for GeForce RTX and RTX workstations)")
        print(f"    {INSTALL_TENSORRT_10} cuda-bindings    (TensorRT 10)")
    absent = missing_libraries()
    if not absent:
        print(f"--backend onnxruntime-tensorrt takes TensorRT 10, and {' and '.join(LIBRARIES)} load.")
        return
    print(f"--backend onnxruntime-tensorrt takes TensorRT 10 alone, and {absent[0]} is not there; install it with:")
    print(f"    {INSTALL_TENSORRT_10}    (instead of TensorRT 11: pip holds one of them)")


def _tensorrt_module(name: str) -> str | None:
    """A TensorRT and its version as pip knows it, without importing it: that needs all of its libraries."""
    for module in (name, f"{name}_bindings"):
        if importlib.util.find_spec(module) is None:
            continue
        known = [number for package in packages_distributions().get(module, ()) if (number := _version(package))]
        old = " (too old)" if name == "tensorrt" and known and _release(known[0]) < (10, 16) else ""
        return f"{name} {known[0] if known else '(version unknown)'}{old}"
    return None


def _release(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", number)[:2])


def _missing_cuda_libraries() -> list[str]:
    """Shared libraries that ONNX Runtime's CUDA provider links to and the loader cannot find."""
    import ctypes

    import onnxruntime

    onnxruntime.preload_dlls()
    provider = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    shared = provider.with_name("libonnxruntime_providers_shared.so")
    if not provider.exists():
        return []
    try:
        ctypes.CDLL(str(shared), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(provider))
    except OSError as error:
        return [str(error).split(":")[0]]
    return []


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


COMMAND = Command(
    "doctor",
    "Show versions, devices and what is missing, with the lines that install it.",
    _configure,
    _run,
)
