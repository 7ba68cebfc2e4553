"""What must be the same on every machine of a cluster, because it changes numbers or how machines talk."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

_DISTRIBUTIONS = {
    "Python": (),
    "rigpose": (),
    "NumPy": ("numpy",),
    "OpenCV": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "ONNX Runtime": ("onnxruntime-gpu", "onnxruntime"),
    "OpenVINO": ("openvino",),
    "TensorRT": ("tensorrt",),
    "PyAV": ("av",),
    "PyTables": ("tables",),
    "pandas": ("pandas",),
}


def software() -> dict[str, str]:
    """Names and versions of what is installed here."""
    from rigpose import __version__

    found = {name: _version(distributions) for name, distributions in _DISTRIBUTIONS.items()}
    return {**found, "Python": platform.python_version(), "rigpose": __version__}


def difference(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """The first thing that differs, in words; empty if nothing does."""
    for name, expected in here.items():
        if there.get(name) != expected:
            return f"{name} {there.get(name) or 'missing'} in place of {expected or 'none'}"
    return ""


def _version(distributions: tuple[str, ...]) -> str:
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:  # noqa: PERF203
            continue
    return ""
