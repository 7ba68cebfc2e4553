"""Which graph every other one is made of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rigpose.bundles.bundle import BackendName, GraphSpec, Role
from rigpose.progress import silent
from rigpose_export.graphs import files
from rigpose_export.graphs.files import ExportOptions, write_graphs

TWO: tuple[BackendName, ...] = ("onnxruntime", "openvino")
ALL: tuple[BackendName, ...] = (*TWO, "tensorrt")


def graph(role: Role, file: str, backends: tuple[BackendName, ...]) -> GraphSpec:
    return GraphSpec(role, file, backends, "fp32", 20, 1, "1.17.0", (), ())


@pytest.mark.parametrize(
    ("runs_plain", "made_of"),
    [
        # OpenVINO runs the plain graph of a detector, whose RoiAlign it has, and DEKR's portable one: its deformable
        # convolution is slower than GridSample.
        ({"pose": ALL, "detector": TWO}, {"pose": "pose.onnx", "detector": "detector.onnx"}),
        ({"pose": TWO, "detector": ALL}, {"pose": "pose.portable.onnx", "detector": "detector.onnx"}),
    ],
)
def test_int8_is_made_of_what_its_backend_runs_in_fp32(
    runs_plain: dict[Role, tuple[BackendName, ...]],
    made_of: dict[Role, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: dict[tuple[Role, BackendName], str] = {}

    def traced(path: Path, _reference: Any, role: Role, _show: Any, *, portable: bool) -> GraphSpec:
        return graph(role, path.name, ("tensorrt",) if portable else runs_plain[role])

    def quantised(_folder: Path, of: GraphSpec, name: str, backend: BackendName, *_: Any) -> GraphSpec:
        made[of.role, backend] = of.file
        return graph(of.role, name, (backend,))

    monkeypatch.setattr(files, "_traced", traced)
    monkeypatch.setattr(files, "_quantised", quantised)
    reference: Any = SimpleNamespace(detector=object())
    pictures: Any = object()
    write_graphs(tmp_path, reference, ExportOptions(precisions=("int8",)), pictures, show=silent)
    for role, file in made_of.items():
        for_tensorrt = f"{role}.onnx" if "tensorrt" in runs_plain[role] else f"{role}.portable.onnx"
        assert (made[role, "openvino"], made[role, "tensorrt"]) == (file, for_tensorrt)
        assert made[role, "onnxruntime"] == f"{role}.onnx"
