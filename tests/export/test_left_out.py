"""A precision that loses too much, or that nobody could measure, is left out of the bundle, and that is said."""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from drawn_shuffle import write_shuffle
from onnx import TensorProto, numpy_helper

from rigpose.arrays import Array
from rigpose.bundles.bundle import MANIFEST, PARITY, BackendName, Bundle, GraphSpec, Precision, Role, record_files, seal
from rigpose.bundles.certificate import Certificate, EngineTrial, GraphCertificate, LeftOut, Structure, read_certificate
from rigpose.commands import check, inspect_bundle
from rigpose.commands.main import run
from rigpose.measures.differences import Tolerance
from rigpose.parity.replay import precisions_for
from rigpose.schema import to_mapping
from rigpose.sessions.openvino import OpenVinoSession
from rigpose_export import pack
from rigpose_export.commands import EXPORT
from rigpose_export.graphs import files as graph_files
from rigpose_export.proof import exported
from rigpose_export.proof.exported import Exported
from rigpose_export.proof.selection import remaining, unmeasured
from rigpose_export.replaced import held_by
from rigpose_training.project.shuffle import Shuffle

OLDER = """
rigpose_bundle: 2
detector: {max_animals: 3, side: 320, proposals: 200}
graphs:
- {role: pose, file: pose.onnx, precision: fp32, backends: [onnxruntime, openvino, tensorrt]}
- {role: pose, file: pose.fp16.onnx, precision: fp16, backends: [onnxruntime, tensorrt]}
- {role: pose, file: pose.int8-symmetric.onnx, precision: int8, backends: [openvino, tensorrt]}
- {role: pair, file: pair.onnx, precision: fp32, backends: [onnxruntime]}
"""


class Coarser(OpenVinoSession):
    """As if OpenVINO moved every keypoint far away."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = super().run(inputs)
        return {"keypoints": found["keypoints"] + np.array([60, 0, 0], np.float32)}


def coarse(model: onnx.ModelProto) -> onnx.ModelProto:
    """As if float16 had 2 bits behind the point."""
    half = _TO_FP16(model)
    for tensor in half.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT16 and values.ndim == 4:
            mantissa, exponent = np.frexp(values.astype(np.float32))
            values = np.ldexp(np.round(mantissa * 4) / 4, exponent).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return half


_TO_FP16 = graph_files.to_fp16


def command(*words: str | Path) -> tuple[int, str]:
    """The exit code of ``rigpose export``, and what it prints."""
    parser, printed = argparse.ArgumentParser(), io.StringIO()
    EXPORT.configure(parser)
    with contextlib.redirect_stdout(printed):
        code = run(EXPORT, parser.parse_args([str(word) for word in words]))
    return code, printed.getvalue()


@dataclass(frozen=True)
class Refusal:
    """An export in which float16, and int8 in OpenVINO, lose too much, over an older bundle that held both."""

    shuffle: Shuffle
    code: int
    printed: str
    bundle: Bundle
    repository: Path


@pytest.fixture(scope="module")
def refusal(tmp_path_factory: pytest.TempPathFactory) -> Refusal:
    folder = tmp_path_factory.mktemp("refused")
    shuffle = write_shuffle(folder / "project")
    (folder / "b").mkdir()
    (folder / "b" / MANIFEST).write_text(OLDER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_files, "to_fp16", coarse)
        patch.setattr(exported, "OpenVinoSession", Coarser)
        words = ["--precision", "fp16", "int8", "--overwrite", "--triton", folder / "models", "-o", folder / "b"]
        code, printed = command(shuffle.config.root, *words)
    return Refusal(shuffle, code, printed, Bundle.open(folder / "b"), folder / "models")


def test_the_bundle_holds_what_passed(refusal: Refusal) -> None:
    graphs = {graph.file: graph.backends for graph in refusal.bundle.manifest.graphs}
    assert graphs == {
        "pose.onnx": ("onnxruntime", "openvino", "tensorrt"),
        "pose.int8.onnx": ("onnxruntime",),
        "pose.int8-symmetric.onnx": ("tensorrt",),
    }
    assert {path.name for path in refusal.bundle.path.glob("*.onnx")} == graphs.keys()
    certificate = read_certificate(refusal.bundle)
    assert {(proof.file, proof.backend) for proof in certificate.graphs} == {(file, "onnxruntime") for file in graphs}
    assert all(proof.verdict == "passed" for proof in certificate.graphs)
    refused = [(one.precision, one.backends) for one in certificate.left_out]
    assert refused == [("fp16", ("onnxruntime", "tensorrt")), ("int8", ("openvino",))]


def test_the_command_fails_and_says_what_is_missing_why_and_what_to_do(refusal: Refusal) -> None:
    assert refusal.code == 1
    lines = refusal.printed.splitlines()
    half, eight = [line for line in lines if line.startswith("left out: ")]
    for word in ("pose.fp16.onnx: loses more", "px (p99; at most 0.1)", "onnxruntime and tensorrt", "--accept-loss"):
        assert word in half
    for word in ("pose.int8-openvino.onnx in openvino: loses more", "px in place of", "at most 5% more",
                 "1 labelled test images", "no int8 for openvino", "--accept-loss"):  # fmt: skip
        assert word in eight
    (replaced,) = [line for line in lines if line.startswith("replaced: ")]
    gone = "fp16 for onnxruntime, fp16 for tensorrt, int8 for openvino, the combined graph in fp32 for onnxruntime"
    assert f"also held {gone}, " in replaced
    (triton,) = [line for line in lines if line.startswith("triton: ")]
    assert "was not written, as it was to serve fp16" in triton and not refusal.repository.exists()
    assert lines[-1].startswith("next: rigpose analyze")


def test_the_rig_is_told_why_and_how_to_get_it(refusal: Refusal, capsys: pytest.CaptureFixture[str]) -> None:
    words: dict[str, Any] = {"bundle": str(refusal.bundle.path), "device": "cpu"}
    assert run(check.COMMAND, argparse.Namespace(**words, backend="openvino", precision="int8")) == 1
    error = capsys.readouterr().err
    assert "has no int8 for openvino, as the export said: pose.int8-openvino.onnx in openvino: loses more" in error
    assert "--accept-loss" in error and error.count("\n") == 1
    for backend in ("openvino", "onnxruntime"):
        assert run(check.COMMAND, argparse.Namespace(**words, backend=backend, precision=None)) == 0
    assert "by onnxruntime in int8: p99" in capsys.readouterr().out
    assert run(inspect_bundle.COMMAND, argparse.Namespace(bundle=str(refusal.bundle.path))) == 0
    assert capsys.readouterr().out.count("left out") == 2


def test_int8_that_an_older_certificate_did_not_measure_in_openvino_is_not_trusted_there(
    refusal: Refusal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(refusal.bundle.path, tmp_path / "b"))
    content = yaml.safe_load((folder / PARITY).read_text())
    del content["left_out"], content["tensorrt"]
    for proof in content["graphs"]:
        del proof["backend"]
    (folder / PARITY).write_text(yaml.safe_dump(content))
    manifest = refusal.bundle.manifest
    symmetric = manifest.graph("pose", precision="int8", backend="tensorrt")
    graphs = tuple(replace(g, backends=("openvino", "tensorrt")) if g == symmetric else g for g in manifest.graphs)
    seal(folder, replace(manifest, graphs=graphs, files=record_files(folder)))
    words: dict[str, Any] = {"bundle": str(folder), "device": "cpu"}
    assert run(check.COMMAND, argparse.Namespace(**words, backend="openvino", precision="int8")) == 1
    printed = capsys.readouterr()
    assert "does not say what it gives in openvino" in printed.err and "export the bundle again" in printed.err
    assert run(check.COMMAND, argparse.Namespace(**words, backend="onnxruntime", precision="int8")) == 0


def test_without_openvino_its_int8_is_left_out_and_the_command_does_not_fail(
    refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    symmetric = refusal.bundle.manifest.graphs[2]
    opened = Exported.opened(refusal.bundle.path, [symmetric, replace(symmetric, backends=("openvino",))])
    assert [run.name for run in opened.runs] == ["pose.int8-symmetric.onnx"]
    assert opened.without_openvino is not None
    left_out = unmeasured(opened.without_openvino)
    for word in ("OpenVINO is not installed", "pip install 'rigpose[openvino]'", "--precision int8"):
        assert word in left_out.reason
    assert left_out.reason.endswith(").") and left_out.reason.count(". ") == 0

    def exports(certificate: Certificate) -> tuple[int, str]:
        folder = Path(shutil.copytree(refusal.bundle.path, tmp_path / "b", dirs_exist_ok=True))
        (folder / PARITY).write_text(yaml.safe_dump(to_mapping(certificate)))
        seal(folder, replace(refusal.bundle.manifest, files=record_files(folder)))
        monkeypatch.setattr(pack, "export_bundle", lambda *_arguments, **_options: Bundle.open(folder))
        return command(refusal.shuffle.config.root, "--precision", "int8", "-o", folder)

    certificate = read_certificate(refusal.bundle)
    code, printed = exports(replace(certificate, left_out=(left_out,)))
    assert code == 0 and f"left out: {left_out.reason}" in printed and "replaced:" not in printed
    trials = (EngineTrial("pose.onnx", 3.2, 5_000_000, None), EngineTrial("pose.int8.onnx", None, None, "a node"))
    code, printed = exports(replace(certificate, left_out=(), tensorrt=trials[:1]))
    assert code == 0 and "pose.onnx: TensorRT for RTX built it in 3 s (5.0 MB)" in printed
    code, printed = exports(replace(certificate, left_out=(), tensorrt=trials))
    assert code == 1 and "pose.int8.onnx: TensorRT refuses it: a node" in printed


# --- what is left out of a pair


def graph(role: Role, file: str, precision: Precision, *backends: BackendName) -> GraphSpec:
    return GraphSpec(role, f"{role}.{file}", backends, precision, 17, 1, "1.17", (), ())


def proof(of: GraphSpec, backend: BackendName = "onnxruntime") -> GraphCertificate:
    structure = Structure(17, 1, {})
    return GraphCertificate(
        of.file, of.role, of.precision, "", structure, {}, (), None, 0.0, None, "passed", backend=backend
    )


def of_pair(left_out: Sequence[LeftOut]) -> tuple[list[GraphSpec], Certificate]:
    graphs = [
        one
        for role in ("pose", "detector")
        for one in (
            graph(role, "onnx", "fp32", "onnxruntime", "openvino", "tensorrt"),
            graph(role, "fp16.onnx", "fp16", "onnxruntime", "tensorrt"),
            graph(role, "int8-openvino.onnx", "int8", "openvino"),
            graph(role, "int8-symmetric.onnx", "int8", "tensorrt"),
        )
    ]
    proofs = [proof(one, "openvino" if "int8-openvino" in one.file else "onnxruntime") for one in graphs]
    certificate = Certificate({}, "", "", "", "", Tolerance(), {}, tuple(proofs), tuple(left_out))
    return remaining(graphs, certificate)


def test_one_graph_of_a_pair_takes_the_other_one_with_it() -> None:
    graphs, certificate = of_pair([LeftOut("fp16", ("onnxruntime", "tensorrt"), "the detector's boxes move.")])
    assert {one.precision for one in graphs} == {"fp32", "int8"} == {one.precision for one in certificate.graphs}
    graphs, certificate = of_pair([LeftOut("int8", ("openvino",), "")])
    assert [one.backends for one in graphs if one.precision == "int8"] == [("tensorrt",), ("tensorrt",)]
    assert "openvino" not in {one.backend for one in certificate.graphs} and len(certificate.graphs) == 6
    graphs, certificate = of_pair([LeftOut("int8", ("tensorrt",), "")])
    assert [one.backends for one in graphs if one.precision == "int8"] == [("openvino",), ("openvino",)]
    assert [one.backend for one in certificate.graphs if one.precision == "int8"] == ["openvino", "openvino"]
    assert of_pair([])[0] == of_pair([LeftOut("int8", ("onnxruntime",), "")])[0] and len(of_pair([])[0]) == 8


# --- what a replaced bundle held


def test_what_a_bundle_of_another_format_held_is_read_from_its_manifest(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(OLDER)
    options = held_by(tmp_path).options
    assert (options.precisions, options.portable, options.combined) == (("fp16", "int8"), False, True)
    assert not options.accept_loss and (options.detector_side, options.detector_proposals) == (320, 200)
    (tmp_path / PARITY).write_text("graphs: [{verdict: passed}, {verdict: accepted}]")
    assert held_by(tmp_path).options.accept_loss


@pytest.mark.parametrize(
    "text", ["", "graphs: 3", "- graphs", "graphs: [3, {}]", "detector: 3\ngraphs: [{backends: 1}]", "{", "\0"]
)
def test_a_manifest_that_says_nothing_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    held = held_by(tmp_path)
    assert held.forms == frozenset() and held.options.precisions == () and not held.options.combined


def test_the_bundle_that_was_made_holds_what_its_manifest_says(refusal: Refusal) -> None:
    held = held_by(refusal.bundle.path)
    assert held.options.precisions == ("int8",) and not held.options.portable and not held.options.combined
    assert len(held.forms) == 5 and precisions_for(refusal.bundle, "openvino") == ("fp32",)
