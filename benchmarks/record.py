"""One JSON line per measurement, with the machine, the versions and the commit it was made with."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = "RIGPOSE_BENCHMARK_RESULTS"
"""The environment variable that names another folder for results, such as one for trying things out."""
RESULTS = Path(os.environ.get(FOLDER) or Path(__file__).parent / "results")
PACKAGES = ("numpy", "opencv-python", "onnxruntime-gpu", "onnxruntime", "openvino", "tensorrt", "torch", "timm")


def record(name: str, figures: Mapping[str, Any]) -> Path:
    """Append a line to ``results/{name}.jsonl`` and return that file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**figures, **surroundings()}) + "\n")
    return path


def lines(name: str) -> list[dict[str, Any]]:
    """What ``results/{name}.jsonl`` holds so far, the oldest first."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def measured_here(name: str, case: Mapping[str, Any]) -> bool:
    """Whether a line of this machine and commit has these figures, so that a later run may go on behind it."""
    here = {**json.loads(json.dumps(case)), "machine": machine(), "commit": _commit()}
    return any(all(line.get(key) == value for key, value in here.items()) for line in lines(name))


def machine() -> str:
    """The processor, and the cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} core{'' if cores == 1 else 's'}"


def processor(line: Mapping[str, Any]) -> str:
    """That of a line's machine, whose cores other runs may have had more of."""
    return line["machine"].split(",")[0]


def surroundings() -> dict[str, Any]:
    """Machine, load, versions, commit and time."""
    return {
        "machine": machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": _commit(),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
