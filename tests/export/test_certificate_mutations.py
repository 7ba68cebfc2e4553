"""A graph that is a little wrong fails the certificate at the export, and ``rigpose check`` on the rig."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from exported_families import family_config, family_source
from onnx import helper, numpy_helper

from rigpose.bundles.bundle import Bundle, Precision, record_files, seal
from rigpose.bundles.golden import read_golden
from rigpose.commands import check
from rigpose.commands.main import run
from rigpose.errors import BundleError
from rigpose.progress import silent
from rigpose_export.evidence import gather_evidence, measured_pictures
from rigpose_export.graphs.files import ExportOptions
from rigpose_export.pack import export_bundle
from rigpose_export.proof.certification import Grounds, certificate_of, prove_all
from rigpose_export.proof.exported import Exported
from rigpose_export.proof.selection import remaining
from rigpose_export.reference import Reference, ReferenceSession
from rigpose_export.source import ExportSource, pair_source
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.models import build_model
from rigpose_training.pose_graph import PoseGraph

PLACES = ("keypoints", "peaks", "poses")
CHANGE: dict[str, float] = {"fp32": 2**-8, "fp16": 2**-4}
"""Of a kernel's weights.

In fp32 2^-8 moves keypoints of these networks by 0.02 px to 0.06 px, where rounding moves them by less than 0.0001 px.
fp16 itself rounds weights by 2^-11 and moves keypoints by 0.01 px, and up to 0.1 px is within its bound; 2^-4 moves
the sure keypoints by more than that.
"""


@dataclass(frozen=True)
class Kind:
    """A model of one kind, and its bundle in fp32 and fp16."""

    source: ExportSource
    bundle: Bundle


def other_weights(model: onnx.ModelProto, precision: str) -> None:
    """The kernel that sees the picture is a little larger."""
    kernels = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    tensor = next(t for t in model.graph.initializer if t.name in kernels and len(t.dims) == 4 and t.dims[1] == 3)
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((values * (1 + CHANGE[precision])).astype(values.dtype), tensor.name))


def half_a_pixel(model: onnx.ModelProto, precision: str) -> None:
    """The map's cells are taken for their corners at half a pixel's distance."""
    output = next(value for value in model.graph.output if value.name in PLACES)
    for node in model.graph.node:
        node.output[:] = ["before" if name == output.name else name for name in node.output]
        node.input[:] = ["before" if name == output.name else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.array([0.5, 0, 0], np.float32), "half_a_pixel"))
    model.graph.node.append(helper.make_node("Add", ["before", "half_a_pixel"], [output.name], name="shift"))


def swapped_channels(model: onnx.ModelProto, precision: str) -> None:
    """RGB where BGR belongs."""
    for node in model.graph.node:
        node.input[:] = ["swapped" if name == "frames" else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), "channels"))
    node = helper.make_node("Gather", ["frames", "channels"], ["swapped"], name="swap", axis=3)
    model.graph.node.insert(0, node)


MUTATIONS = (other_weights, half_a_pixel, swapped_channels)


@pytest.fixture(
    scope="module",
    params=[
        "single animal",
        pytest.param("resnet_50", marks=pytest.mark.slow),
        pytest.param("top_down_resnet_50", marks=pytest.mark.slow),
    ],
)
def kind(
    request: pytest.FixtureRequest, tiny_pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Kind:
    folder = tmp_path_factory.mktemp("mutated")
    if request.param == "single animal":
        source = pair_source(*tiny_pair)
    else:
        source = family_source(folder / "source", family_config(request.param))
    return Kind(source, export_bundle(source, folder / "bundle", options=ExportOptions(precisions=("fp16",))))


def copied(kind: Kind, precision: Precision, folder: Path, mutate: Callable[[onnx.ModelProto, str], None]) -> Path:
    """A copy of the bundle with a graph that is wrong in one thing and sealed, as a wrong export would leave it."""
    shutil.copytree(kind.bundle.path, folder)
    file = folder / kind.bundle.manifest.graph("pose", precision=precision).file
    model = onnx.load(str(file))
    mutate(model, precision)
    onnx.save(model, str(file))
    seal(folder, replace(kind.bundle.manifest, files=record_files(folder)))
    return folder


def grounds_of(kind: Kind, folder: Path) -> Grounds:
    """What the export's certificate of the graphs in a folder rests on."""
    config = kind.source.config
    model = build_model(config).eval()
    load_weights(model, read_snapshot(kind.source.snapshot)["model"], source=kind.source.snapshot)
    reference = Reference(kind.bundle.manifest.model, ReferenceSession(PoseGraph(model, config)))
    return Grounds(
        Exported.opened(folder, list(kind.bundle.manifest.graphs)),
        reference,
        gather_evidence(reference, kind.source),
        read_golden(kind.bundle),
        measured_pictures(reference, kind.source),
    )


def certified(kind: Kind, folder: Path) -> str | None:
    """Do as the export does with these graphs; why it leaves one out, if it does."""
    grounds = grounds_of(kind, folder)
    proofs = prove_all(grounds.exported, grounds.reference, grounds.evidence, kind.source, show=silent)
    certificate = certificate_of(grounds, proofs, show=silent)
    graphs, certificate = remaining(kind.bundle.manifest.graphs, certificate)
    assert [one.file for one in certificate.graphs] == [graph.file for graph in graphs]
    assert all(one.verdict == "passed" for one in certificate.graphs)
    if len(graphs) == len(kind.bundle.manifest.graphs):
        return None
    ((refused,), (gone,)) = certificate.left_out, set(kind.bundle.manifest.graphs) - set(graphs)
    assert (refused.precision, refused.backends) == (gone.precision, gone.backends)
    return refused.reason


def check_command(bundle: Path, precision: str | None) -> int:
    words = {"device": "cpu", "backend": "onnxruntime", "precision": precision}
    return run(check.COMMAND, argparse.Namespace(bundle=str(bundle), **words))


def test_the_graphs_as_they_were_exported_pass_both(kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    assert certified(kind, kind.bundle.path) is None
    assert check_command(kind.bundle.path, None) == 0
    printed = capsys.readouterr().out
    assert "PASSED" in printed and "in fp16: p99" in printed and "inf" not in printed


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_graph_that_is_a_little_wrong_fails_the_export_and_the_check(
    kind: Kind,
    precision: str,
    mutate: Callable[[onnx.ModelProto, str], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = copied(kind, cast(Precision, precision), tmp_path / "copy", mutate)
    if precision == "fp32":
        with pytest.raises(BundleError, match="differs from torch"):
            certified(kind, folder)
    else:
        assert "pose.fp16.onnx: loses more than fp16 may" in str(certified(kind, folder))
    assert check_command(folder, precision) == 1
    assert check_command(folder, None) == 1
    printed = capsys.readouterr().out
    assert "FAILED" in printed and "PASSED" not in printed and "inf" not in printed
