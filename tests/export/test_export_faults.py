"""What goes wrong in an export is one sentence, and leaves no folder that looks like a bundle."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch
from drawn_squares import MOVING, BrightestPixel, SquareDetector, walk
from exported_pairs import Pair, drawn, export_pair, scale_output
from torch import nn

from rigpose.arrays import Array
from rigpose.bundles.bundle import MANIFEST, Bundle
from rigpose.bundles.golden import Told
from rigpose.errors import BundleError, ConfigError, MediaError, ProjectError, RigposeError, SnapshotError
from rigpose.measures.differences import Tolerance
from rigpose.models.model_spec import DetectorSpec
from rigpose.parity.replay import replay
from rigpose.progress import silent
from rigpose_export.evidence import Evidence
from rigpose_export.pack import export_bundle
from rigpose_export.proof.certification import prove_all
from rigpose_export.proof.exported import Exported, Run
from rigpose_export.proof.parity import certify, choose_golden
from rigpose_export.reference import Reference, ReferenceSession
from rigpose_export.source import ExportSource, pair_source
from rigpose_export.whole_folder import whole_folder
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.models import build_model
from rigpose_training.pose_config.files import read_pose_config, write_pose_config
from rigpose_training.pose_graph import PoseGraph


def refused(error: type[RigposeError], words: str, call: Callable[[], object]) -> str:
    """The message of the refusal: one sentence that holds ``words``."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert re.search(words, message), message
    assert "\n" not in message and message.endswith(".") and not re.search(r"[.!?] [A-Z]", message), message
    return message


def manifests(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name == MANIFEST]


@pytest.fixture
def pair(tiny_pair: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the small network's files that a test may change."""
    folder = tmp_path / "pair"
    folder.mkdir()
    config, snapshot = (Path(shutil.copyfile(path, folder / path.name)) for path in tiny_pair)
    return config, snapshot


def change(config: Path, **changes: Any) -> None:
    mapping = read_pose_config(config)
    mapping["model"] |= changes.pop("model", {})
    mapping["model"]["backbone"] |= changes.pop("backbone", {})
    mapping["model"]["heads"]["bodypart"] |= changes.pop("head", {})
    mapping["data"]["inference"] |= changes.pop("inference", {})
    write_pose_config(config, mapping | changes)


# --- what does not fit


def test_a_snapshot_of_other_keypoints_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    config, snapshot = pair
    layer = {"kernel_size": [3], "strides": [2]}
    head = {"heatmap_config": {"channels": [512, 5], **layer}, "locref_config": {"channels": [512, 10], **layer}}
    change(config, head=head)
    export = lambda: export_bundle(pair_source(*pair), tmp_path / "b")  # noqa: E731
    message = refused(SnapshotError, "another number of body parts", export)
    assert str(snapshot) in message and "heads.bodypart.heatmap_head" in message
    assert not (tmp_path / "b").exists() and not list(tmp_path.glob(".b*"))


def test_a_snapshot_of_another_backbone_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    change(pair[0], backbone={"model_name": "resnet18"})
    refused(SnapshotError, "another net_type", lambda: export_bundle(pair_source(*pair), tmp_path / "b"))
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("keep", [0, 1, 1000, -1000], ids=["empty", "one byte", "beginning", "end missing"])
def test_a_damaged_snapshot_is_refused(pair: tuple[Path, Path], tmp_path: Path, keep: int) -> None:
    pair[1].write_bytes(pair[1].read_bytes()[:keep])
    message = refused(SnapshotError, "", lambda: export_bundle(pair_source(*pair), tmp_path / "b"))
    assert str(pair[1]) in message
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("key", ["affine", "gaussian_noise", "hist_eq", "crop_sampling"])
def test_an_augmentation_at_inference_is_refused(pair: tuple[Path, Path], tmp_path: Path, key: str) -> None:
    change(pair[0], inference={key: True})
    export = lambda: export_bundle(pair_source(*pair), tmp_path / "b")  # noqa: E731
    refused(ConfigError, rf"data\.inference\.{key}", export)
    assert not (tmp_path / "b").exists()


# --- what is not there


def test_missing_files_are_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    config, snapshot = pair
    absent = tmp_path / "absent"
    refused(ConfigError, "absent", lambda: pair_source(absent, snapshot))
    refused(ProjectError, "absent", lambda: pair_source(config, absent))
    refused(ProjectError, "pair", lambda: pair_source(config, tmp_path / "pair"))
    refused(MediaError, "absent", lambda: pair_source(config, snapshot, frames=[absent]))
    refused(ConfigError, "no frames", lambda: pair_source(config, snapshot, frames=[tmp_path / "pair"]))


def test_a_bundle_that_is_there_is_kept_unless_it_may_be_replaced_and_then_its_engines_are(
    tiny_bundle: Path, tiny_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    there = Path(shutil.copytree(tiny_bundle, tmp_path / "b"))
    (there / "notes.txt").write_text("of the old bundle")
    engine = there / "engines" / "pose-0123456789ab" / "engine.plan"
    engine.parent.mkdir(parents=True)
    engine.write_bytes(b"minutes of building")
    source = pair_source(*tiny_pair)
    refused(BundleError, "--overwrite", lambda: export_bundle(source, there))
    assert (there / "notes.txt").exists()
    export_bundle(source, there, overwrite=True)
    assert not (there / "notes.txt").exists()
    # Whether an engine still fits is found at the next build.
    assert engine.read_bytes() == b"minutes of building"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_folder_that_gets_its_name_and_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").write_text("whole")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError(13, "Permission denied")
        return rename(self, target)

    def replace_it() -> None:
        with whole_folder(tmp_path / "b") as part:
            (part / "new").write_text("whole")

    monkeypatch.setattr(Path, "rename", failing)
    refused(BundleError, "Permission denied", replace_it)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["b", "b/old"]


def test_overwriting_never_deletes_a_folder_that_is_no_bundle(tiny_pair: tuple[Path, Path], tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    refused(BundleError, "no bundle", lambda: export_bundle(pair_source(*tiny_pair), tmp_path, overwrite=True))
    refused(BundleError, "no bundle", lambda: export_bundle(pair_source(*tiny_pair), thesis, overwrite=True))
    assert thesis.read_text() == "years of work"


def test_a_folder_that_cannot_be_made_is_said(tiny_pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(BundleError, "cannot be written", lambda: export_bundle(pair_source(*tiny_pair), tmp_path / "file" / "b"))


# --- what stops an export on its way


@contextlib.contextmanager
def full_disk(largest: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, which the system reports as it does a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_no_half_bundle_and_the_old_one(
    tiny_bundle: Path, tiny_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    old = Path(shutil.copytree(tiny_bundle, tmp_path / "old"))
    source = pair_source(*tiny_pair)
    graph = (tiny_bundle / "pose.onnx").stat().st_size
    with full_disk(graph // 2):
        refused(BundleError, "cannot be written", lambda: export_bundle(source, tmp_path / "new"))
        refused(BundleError, "cannot be written", lambda: export_bundle(source, old, overwrite=True))
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert Bundle.open(old).checksum == Bundle.open(tiny_bundle).checksum


class Interrupted(tuple[Any, ...]):
    """Frames during whose reading the user presses Ctrl-C."""

    def __getitem__(self, index: Any) -> Any:
        raise KeyboardInterrupt


def test_an_interrupted_export_leaves_nothing(tiny_pair: tuple[Path, Path], tmp_path: Path) -> None:
    source = dataclasses.replace(pair_source(*tiny_pair), frames=cast(Any, Interrupted()))
    with pytest.raises(KeyboardInterrupt):
        export_bundle(source, tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_a_killed_export_leaves_nothing_under_the_bundles_name_and_the_next_one_tidies_up(
    tiny_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from rigpose_export import export_bundle; from rigpose_export.source import pair_source\n"
        "export_bundle(pair_source(Path(sys.argv[1]), Path(sys.argv[2])), Path(sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, *map(str, tiny_pair), str(tmp_path / "b")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not list(tmp_path.glob(".b.part/golden")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert (tmp_path / ".b.part").is_dir() and not (tmp_path / "b").exists() and not manifests(tmp_path)
    with pytest.raises(BundleError):
        Bundle.open(tmp_path / ".b.part")
    export_bundle(pair_source(*tiny_pair), tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


# --- a graph that is not the network


def other_weight(graph: PoseGraph) -> None:
    with torch.no_grad():
        next(graph.model.backbone.parameters())[0].mul_(1.5)


def other_score(graph: PoseGraph) -> None:
    scale_output(cast(Any, graph.model.heads["bodypart"]).heatmap_head, 1.01)


def half_a_pixel(graph: PoseGraph) -> None:
    class Shifted(nn.Module):
        def __init__(self, dense: nn.Module) -> None:
            super().__init__()
            self.dense = dense

        def forward(self, maps: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"keypoints": self.dense(maps)["keypoints"] + torch.tensor([0.5, 0.0, 0.0])}

    graph.dense = Shifted(graph.dense)


def swapped_colours(graph: PoseGraph) -> None:
    graph.normalise.rgb = torch.tensor([0, 1, 2])


def no_mean(graph: PoseGraph) -> None:
    graph.normalise.shift = torch.zeros_like(graph.normalise.shift)


def swapped_axes(graph: PoseGraph) -> None:
    head = cast(Any, graph.model.heads["bodypart"]).locref_head
    order = torch.arange(8).reshape(4, 2).flip(1).flatten()
    with torch.no_grad():
        head.deconv_layers[-1].weight.copy_(head.deconv_layers[-1].weight[:, order])


def swapped_keypoints(graph: PoseGraph) -> None:
    head = cast(Any, graph.model.heads["bodypart"]).heatmap_head
    with torch.no_grad():
        head.deconv_layers[-1].weight.copy_(head.deconv_layers[-1].weight.flip(1))


class Unsteady(SquareDetector):
    """Its boxes in the first two of the frames hang on rounding alone."""

    def __init__(self, *, disturbed: bool = False) -> None:
        super().__init__()
        self.is_disturbed = disturbed

    def disturbed(self, seed: int) -> Unsteady:  # noqa: ARG002
        return Unsteady(disturbed=True)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = super().run(inputs)
        if self.is_disturbed:
            found["boxes"][:2] += 1
        return found


class Steady(BrightestPixel):
    """Its poses do not."""

    def disturbed(self, seed: int) -> Steady:  # noqa: ARG002
        return self


def test_golden_frames_are_those_that_both_graphs_are_clear_about() -> None:
    frames = walk(8)
    reference = Reference(MOVING, cast(Any, Steady()), DetectorSpec(3), cast(Any, Unsteady()))
    told = Told(boxes=tuple(np.array([[20.0, 20, 40, 40]], np.float32) for _ in frames))
    golden = choose_golden(
        reference, {"pose": Steady(), "detector": Unsteady()}, Evidence(tuple(frames), told, "drawn")
    )
    assert [any(np.array_equal(frame, chosen) for chosen in golden.frames) for frame in frames] == [
        False, False, True, True, True, True, False, False,
    ]  # fmt: skip
    assert len(golden.found) == len(golden.answers) == 4 and len(golden.found[0]) == 4


MUTATIONS = [
    other_weight, other_score, half_a_pixel, swapped_colours, no_mean, swapped_axes, swapped_keypoints,
]  # fmt: skip


EVIDENCE = Evidence(tuple(drawn(i, 96, 128) for i in range(4)), Told(), "drawn")


@pytest.fixture(scope="module")
def calibrated(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return export_pair(tiny_config, tmp_path_factory.mktemp("calibrated"))


def test_parity_passes_for_the_network_that_was_exported(calibrated: Pair) -> None:
    reference = Reference(calibrated.reference.spec, calibrated.torch)
    proof = certify(reference, "pose", calibrated.exported.session, EVIDENCE)
    assert proof.passed
    assert [case.batch for case in proof.cases] == [1, 3, 8]
    assert proof.batch_invariance_px <= Tolerance().position_px
    # float32 keeps 1e-7 of a number, and a network's hundreds of sums some times that.
    assert 0 < proof.tensors["keypoints"] < 1e-5


def test_parity_fails_for_a_graph_that_is_wrong_about_a_frame_by_itself(calibrated: Pair) -> None:
    """The frame by itself is of a size that only a batch of the comparisons with torch has."""
    session = calibrated.exported.session

    class Wrong:
        device = "cpu"

        def run(self, inputs: Any) -> Any:
            batch, height = inputs["frames"].shape[:2]
            off = 0.5 if batch == 1 and height < 90 else 0
            return {"keypoints": session.run(inputs)["keypoints"] + np.array([off, 0, 0], np.float32)}

    proof = certify(Reference(calibrated.reference.spec, calibrated.torch), "pose", Wrong(), EVIDENCE)
    assert not proof.passed and proof.batch_invariance_px == pytest.approx(0.5, abs=0.01)
    assert [case.batch for case in proof.cases if case.difference.beyond] == [1, 1]


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ([0, 0, 0.01], ["away in score (allowed 0.0005)"]),
        ([0.5, 0, 0], ["px away (allowed 0.01 px)"]),
        ([0.5, 0, 0.01], ["0.5 px away (allowed 0.01 px) and", "away in score (allowed 0.0005)"]),
    ],
)
def test_the_refusal_names_every_bound_that_was_broken_and_no_other(
    calibrated: Pair, change: list[float], broken: list[str]
) -> None:
    session = calibrated.exported.session

    class Wrong:
        device = "cpu"

        def run(self, inputs: Any) -> Any:
            return {"keypoints": session.run(inputs)["keypoints"] + np.array(change, np.float32)}

    exported = Exported(calibrated.file.parent, (Run(calibrated.graph, "onnxruntime", Wrong()),))
    reference, source = Reference(calibrated.reference.spec, calibrated.torch), SimpleNamespace(snapshot="weights.pt")
    with pytest.raises(BundleError) as caught:
        prove_all(exported, reference, EVIDENCE, cast(Any, source), show=silent)
    message = str(caught.value)
    assert message.startswith("weights.pt: pose.onnx in ONNX Runtime differs from torch: ")
    assert "keypoints at batch" in message and all(bound in message for bound in broken)
    assert message.count("(allowed ") == len(change) - change.count(0)


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_parity_fails_for_another_network(
    calibrated: Pair, tiny_config: dict[str, Any], mutate: Callable[[PoseGraph], None]
) -> None:
    graph = PoseGraph(copy.deepcopy(calibrated.model), tiny_config)
    mutate(graph)
    other = Reference(calibrated.reference.spec, ReferenceSession(graph))
    proof = certify(other, "pose", calibrated.exported.session, EVIDENCE)
    assert not proof.passed
    assert sum(case.difference.beyond for case in proof.cases) > 0


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_the_golden_frames_fail_for_another_network(
    tiny_bundle: Path, tiny_pair: tuple[Path, Path], mutate: Callable[[PoseGraph], None]
) -> None:
    config, snapshot = tiny_pair
    model = build_model(config).eval()
    load_weights(model, read_snapshot(snapshot)["model"], source=snapshot)
    session = ReferenceSession(PoseGraph(model, read_pose_config(config)))
    bundle = Bundle.open(tiny_bundle)
    assert replay(bundle, {"pose": session})["pose"].within
    mutate(cast(PoseGraph, session.graph))
    assert not replay(bundle, {"pose": session})["pose"].within


def test_an_exporter_that_writes_other_weights_makes_no_bundle(
    tiny_pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter is the third party here: its graph is right in form and its numbers are not."""
    export = torch.onnx.export

    def careless(*arguments: Any, **options: Any) -> Any:
        program = cast(Any, export(*arguments, **options))
        model = onnx.ModelProto.FromString(program.model_proto.SerializeToString())
        for kernel in (tensor for tensor in model.graph.initializer if len(tensor.dims) == 4):
            values = onnx.numpy_helper.to_array(kernel) * np.float32(1.25)
            kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))

        class Program:
            model_proto = model

        return Program()

    monkeypatch.setattr(torch.onnx, "export", careless)
    source: ExportSource = pair_source(*tiny_pair)
    message = refused(BundleError, "differs from torch", lambda: export_bundle(source, tmp_path / "b"))
    assert str(source.snapshot) in message
    assert not list(tmp_path.iterdir())
