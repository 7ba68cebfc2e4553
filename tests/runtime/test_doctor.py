"""What doctor says of machines that are not this one: every line that installs something, and never a traceback."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from rigpose.commands import doctor
from rigpose.sessions.processor import Processor


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What doctor says of TensorRT where these modules are installed, each by a package of a version."""

    def run(modules: dict[str, tuple[str, str]], *, libraries: bool) -> str:
        packages = dict(modules.values())
        find, version = importlib.util.find_spec, doctor._version
        known = ("tensorrt", "cuda")
        monkeypatch.setattr(
            doctor.importlib.util,
            "find_spec",
            lambda name: (object() if name in modules else None) if name.startswith(known) else find(name),
        )
        monkeypatch.setattr(doctor, "packages_distributions", lambda: {m: [p] for m, (p, _) in modules.items()})
        monkeypatch.setattr(
            doctor, "_version", lambda name: packages.get(name) if name.startswith(known) else version(name)
        )
        monkeypatch.setattr(doctor, "missing_libraries", lambda: [] if libraries else list(doctor.LIBRARIES))
        doctor.COMMAND.run(argparse.Namespace())
        return capsys.readouterr().out

    return run


BINDINGS = {"cuda.bindings": ("cuda-bindings", "13.5.0")}


def test_without_tensorrt_each_way_to_it_has_its_line(said: Callable[..., str]) -> None:
    text = said({}, libraries=False)
    assert "installed: none, cuda-bindings MISSING." in text
    assert "pip install 'rigpose[tensorrt]'" in text and "rigpose[tensorrt-rtx]" in text
    assert "takes TensorRT 10 alone, and libnvinfer.so.10 is not there; install it with:" in text
    assert "    pip install 'tensorrt-cu13>=10.16,<11'" in text
    assert "extra tensorrt-check: not installed (tensorrt-rtx-cu13-bindings, tensorrt-rtx-cu13-libs missing)" in text


def test_tensorrt_11_serves_one_of_the_two(said: Callable[..., str]) -> None:
    text = said({"tensorrt": ("tensorrt-cu13", "11.4.0.106"), **BINDINGS}, libraries=False)
    assert "installed: tensorrt 11.4.0.106, cuda-bindings 13.5.0." in text
    assert "rigpose[tensorrt-rtx]" not in text and "(instead of TensorRT 11: pip holds one of them)" in text


def test_tensorrt_10_serves_both(said: Callable[..., str]) -> None:
    text = said({"tensorrt": ("tensorrt-cu13", "10.16.1.11"), **BINDINGS}, libraries=True)
    assert "installed: tensorrt 10.16.1.11, cuda-bindings 13.5.0." in text
    assert (
        "TensorRT 10, and libnvinfer.so.10 and libnvonnxparser.so.10 load." in text and "pip install 'tens" not in text
    )


def test_bindings_alone_and_old_versions_are_told_apart(said: Callable[..., str]) -> None:
    text = said({"tensorrt_rtx_bindings": ("tensorrt-rtx-cu13-bindings", "1.7.1.116"), **BINDINGS}, libraries=False)
    assert "installed: tensorrt_rtx 1.7.1.116, cuda-bindings" in text
    text = said({"tensorrt": ("tensorrt", "10.9.0.34"), **BINDINGS}, libraries=True)
    assert "installed: tensorrt 10.9.0.34 (too old)" in text
    text = said({"tensorrt": ("tensorrt", "11.1"), "tensorrt_lean": ("tensorrt-lean", "11.1")}, libraries=False)
    assert "installed: tensorrt 11.1, tensorrt_lean 11.1, cuda-bindings MISSING." in text


XEON = "avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8"
EPYC = "avx2 avx512f avx512_vnni avx512_bf16 avx_vnni"
CASCADE_LAKE = "avx2 avx512f avx512_vnni"
LAPTOP = "fpu avx avx2"


@pytest.mark.parametrize(
    ("flags", "named", "advised"),
    [
        (XEON, "AMX int8, AMX bf16", "AMX makes --backend openvino about 4 to 6 times"),
        (EPYC, "AVX-512 bf16", "--precision int8 about 2.5 to 4 times as fast; --precision bf16, without AMX"),
        (CASCADE_LAKE, "AVX-512 VNNI", "it has no bf16"),
        (LAPTOP, "AVX2", "int8 about halves the time"),
        ("", "x", "nothing is known"),
    ],
)
def test_the_processor_says_what_is_fastest_on_it(flags: str, named: str, advised: str, tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nmodel name\t: x\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t: amx_int8\n")
    processor = Processor.here(file)
    assert named in str(processor) and advised in processor.advice


def test_systems_without_cpuinfo_and_arm_processors_are_described(tmp_path: Path) -> None:
    elsewhere = Processor.here(tmp_path / "none")
    assert str(elsewhere) and elsewhere.flags == frozenset()
    arm = tmp_path / "arm"
    arm.write_text("processor\t: 0\nFeatures\t: fp asimddp i8mm bf16\n")
    assert "int8 dot products, int8 matrices, bf16" in str(Processor.here(arm))
