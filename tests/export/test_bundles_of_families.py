"""A model of every family becomes a bundle whose graphs give torch's poses, which the rig's check sees, too."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exported_families import FAMILIES, INDIVIDUALS, family_bundle, family_config, family_source

import rigpose
from rigpose.arrays import Array
from rigpose.bundles.bundle import Bundle
from rigpose.bundles.certificate import read_certificate
from rigpose.bundles.golden import read_golden
from rigpose.commands import check, inspect_bundle
from rigpose.commands.main import run
from rigpose.errors import BundleError
from rigpose.parity.replay import open_sessions, replay
from rigpose.sessions import Session
from rigpose_export.pack import export_bundle
from rigpose_training.models.detectors import build_detector

TASKS = {"resnet_50": "paf", "dekr_w18": "dekr", "ctd_prenet_hrnet_w32": "conditional_top_down"}
SLOW = ("ctd_coam_w32", "tokenpose_base")
TASKS |= {"ctd_coam_w32": "conditional_top_down"}


class Moved:
    """A session whose graph has learnt something else: the first output lies half a pixel to the right."""

    device = "cpu"

    def __init__(self, session: Session) -> None:
        self.session = session

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = dict(self.session.run(inputs))
        first = next(name for name in found if name in ("keypoints", "peaks", "poses", "boxes"))
        found[first] = found[first].copy()
        found[first][..., 0] += 0.5
        return found


def check_bundle(bundle: Bundle, *, task: str) -> None:
    """The certificate holds, this machine passes the replay, and a graph that is half a pixel off does not."""
    assert bundle.manifest.model.task == task
    certificate = read_certificate(bundle)
    assert all(case.difference.beyond == 0 for case in certificate.cases)
    poses = [case for case in certificate.cases if case.what == "keypoints"]
    forms = 1 + (task == "dekr")  # that one comes without DeformConv, too
    assert [case.batch for case in poses] == [1, 3, 8] * forms
    assert sum(case.difference.compared for case in poses) > 20
    assert any(case.what == "candidates" for case in certificate.cases) == (task in ("paf", "dekr"))
    assert sum(c.difference.ties for c in poses) <= sum(c.difference.compared for c in poses) // 5
    sessions = open_sessions(bundle, device="cpu")
    assert tuple(sessions) == bundle.manifest.roles
    assert certificate.versions.keys() == {"rigpose", "torch", "onnx", "onnxruntime"}
    for graph in bundle.manifest.graphs:
        proof = certificate.of(graph.file)
        assert (proof.against, proof.verdict, proof.loss, proof.metric) == ("torch", "passed", None, None)
        assert sum(proof.structure.operators.values()) == proof.structure.nodes == graph.nodes
        assert proof.tensors.keys() == {output.name for output in graph.outputs}
        assert proof.batch_invariance_px <= certificate.tolerance.box_px
    assert all(difference.within for difference in replay(bundle, sessions).values())
    for name in sessions:
        wrong = replay(bundle, {**sessions, name: Moved(sessions[name])})
        assert [graph for graph, difference in wrong.items() if not difference.within] == [name]


@pytest.mark.parametrize(
    "net_type", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in FAMILIES]
)
def test_a_model_of_every_family_becomes_a_bundle(net_type: str, shared: Path) -> None:
    bundle = family_bundle(shared, net_type)
    task = TASKS.get(net_type, "top_down")
    check_bundle(bundle, task=task)
    graph = bundle.manifest.graph("pose")
    model = onnx.load(bundle.file(graph.file))
    operators = [node.op_type for node in model.graph.node]
    assert graph.nodes == len(operators)
    conditional = task == "conditional_top_down"
    assert [i.name for i in graph.inputs] == (["frames", "conditions"] if conditional else ["frames"])
    fixed = task not in ("paf", "dekr")
    assert (graph.inputs[0].shape[1:3] == (64, 64)) == fixed and isinstance(graph.inputs[0].shape[0], str)
    # All keypoints' adaptive convolutions are one operator for each of the two blocks.
    assert operators.count("DeformConv") == (2 if task == "dekr" else 0)
    assert graph.minimum_onnxruntime == ("1.25" if task == "dekr" else "1.17")


def test_keypoints_that_exist_once_and_identities_are_in_the_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = family_source(tmp_path, family_config("resnet_50", with_identity=True))
    bundle = export_bundle(source, tmp_path / "b")
    check_bundle(bundle, task="paf")
    assert [o.name for o in bundle.manifest.graph("pose").outputs] == ["peaks", "affinity", "unique", "identity"]
    assert bundle.manifest.model.individuals == INDIVIDUALS
    golden = read_golden(bundle)
    assert all(p.unique is not None and p.unique.shape == (2, 3) for p in golden.answers[0])
    assert any(p.identity is not None and len(p) for p in golden.answers[0])
    assert len({len(p) for p in golden.answers[0]}) >= 1 and len(golden.answers) >= 4
    assert run(inspect_bundle.COMMAND, argparse.Namespace(bundle=str(bundle.path))) == 0
    printed = capsys.readouterr().out
    assert "grouping     max_animals=3 min_affinity=0.05 " in printed and "add_discarded=false" in printed


@pytest.mark.slow
def test_a_pair_is_one_bundle_of_two_graphs(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = family_bundle(shared, "top_down_resnet_50", detector=True)
    assert bundle.manifest.scorer.endswith("_detector_7_snapshot_5")
    check_bundle(bundle, task="top_down")
    assert bundle.manifest.roles == ("pose", "detector")
    assert bundle.manifest.detector is not None and bundle.manifest.detector.max_animals == len(INDIVIDUALS)
    assert bundle.manifest.provenance.detector == "snapshot-detector-007.pt"
    assert {case.what for case in read_certificate(bundle).of("detector.onnx").cases} == {"boxes"}
    golden = read_golden(bundle)
    found = rigpose.load(bundle, device="cpu").predict(list(golden.frames))
    for poses, right in zip(found, golden.answers[0], strict=True):
        assert len(poses) == len(INDIVIDUALS)
        np.testing.assert_allclose(poses.xy, right.xy, atol=0.01, rtol=2e-6)
    assert run(inspect_bundle.COMMAND, argparse.Namespace(bundle=str(bundle.path))) == 0
    assert (
        run(
            check.COMMAND,
            argparse.Namespace(bundle=str(bundle.path), device="cpu", backend="onnxruntime", precision=None),
        )
        == 0
    )
    printed = capsys.readouterr().out
    for word in (
        "detector graph",
        "scores (batch, 300)",
        "best 3 boxes",
        "snapshot-detector-007.pt",
        "boxes of the golden frames",
    ):
        assert word in printed


@pytest.mark.slow
def test_a_detector_that_tells_nothing_apart_cannot_be_proved(tmp_path: Path) -> None:
    """Without training all scores of torchvision's layers are 0.5, and any choice among the anchors is as good."""
    torch.manual_seed(0)
    config = family_config("top_down_resnet_50")
    source = family_source(tmp_path, config, detector=True)
    assert source.detector is not None
    content = torch.load(source.detector, weights_only=True)
    torch.save({**content, "model": build_detector(config["detector"]["model"]).state_dict()}, source.detector)
    with pytest.raises(BundleError, match=r"the detector network finds nothing .* surer of than of all else"):
        export_bundle(source, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_network_without_its_detector_cannot_look_by_itself(shared: Path) -> None:
    bundle = family_bundle(shared, "top_down_resnet_50")
    assert bundle.manifest.detector is None and bundle.manifest.roles == ("pose",)
    with pytest.raises(BundleError, match="no detector"):
        rigpose.load(bundle, device="cpu").predict(read_golden(bundle).frames[0])
