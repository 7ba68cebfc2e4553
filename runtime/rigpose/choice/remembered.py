"""What was chosen before, in small files in the user's cache folder: one for each question.

A file that is broken, of another version of this format, or that answers another question is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rigpose.cache import cache_home
from rigpose.sessions.devices import cuda_devices, describe_gpu, usable_cores
from rigpose.sessions.processor import Processor

FORMAT = 1
_LIBRARIES = ("rigpose", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")


def this_machine() -> dict[str, Any]:
    """What speed depends on: the processor, how many of its cores there are for us, the GPUs, the libraries."""
    return {
        "processor": str(Processor.here()),
        "cores": usable_cores(),
        "gpus": [describe_gpu(i) for i in range(cuda_devices())],
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }


def recall(question: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer to a question that was asked on this machine before; none if there is none that can be used."""
    try:
        held = json.loads(_file(question).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(held, dict) or held.get("format") != FORMAT or held.get("question") != _plain(question):
        return None
    answer = held.get("answer")
    return answer if isinstance(answer, dict) else None


def remember(question: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """Keep an answer; why it could not be kept, or nothing."""
    file = _file(question)
    temporary = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": FORMAT, "question": _plain(question), "answer": _plain(answer)}, indent=1)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        return f"{file}: cannot be written ({error.strerror}), so that the next run measures again"
    return ""


def _file(question: Mapping[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(_plain(question), sort_keys=True).encode()).hexdigest()[:24]
    return cache_home() / "rigpose" / "choices" / f"{name}.json"


def _plain(value: Mapping[str, Any]) -> Any:
    """As it comes back from a file: tuples are lists there."""
    return json.loads(json.dumps(value, default=str))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
