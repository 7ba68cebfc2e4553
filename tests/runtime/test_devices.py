"""What was asked for is what runs, or it raises."""

from __future__ import annotations

from pathlib import Path

import pytest

import rigpose
from rigpose.errors import BackendError, ConfigError
from rigpose.sessions.devices import cuda_devices, resolve_device


@pytest.mark.parametrize(("asked", "means"), [("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")])
def test_a_device_is_what_was_said(asked: str, means: str) -> None:
    assert resolve_device(asked) == means


@pytest.mark.parametrize("asked", ["gpu", "cuda:", "cuda:x", "CPU ", ""])
def test_another_word_is_refused(asked: str) -> None:
    with pytest.raises(ConfigError, match="auto, cpu, cuda or cuda:N"):
        resolve_device(asked)


@pytest.mark.skipif(cuda_devices() > 0, reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_an_error_and_never_the_cpu(tiny_bundle: Path) -> None:
    """ONNX Runtime itself only logs a line and takes the CPU."""
    with pytest.raises(BackendError, match=r"rigpose doctor|onnxruntime-gpu"):
        rigpose.load(tiny_bundle, device="cuda")
    assert rigpose.load(tiny_bundle, device="auto").session.device == "cpu"
