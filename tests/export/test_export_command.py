"""``rigpose export`` as it is typed, and what the bundle then holds."""

from __future__ import annotations

import argparse
import io
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import yaml
from drawn_shuffle import write_shuffle

import rigpose
from rigpose.bundles.bundle import Bundle, file_sha256
from rigpose.bundles.certificate import Metric, read_certificate
from rigpose.bundles.golden import read_golden
from rigpose.commands.main import run
from rigpose_export.commands import EXPORT, metric_change
from rigpose_export.source import pair_source
from rigpose_training.project.shuffle import Shuffle


def export(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    EXPORT.configure(parser)
    return run(EXPORT, parser.parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def shuffle(tmp_path_factory: pytest.TempPathFactory) -> Shuffle:
    return write_shuffle(tmp_path_factory.mktemp("drawn") / "project")


@pytest.fixture(scope="module")
def of_shuffle(shuffle: Shuffle) -> Bundle:
    """The bundle where the command puts it when nothing else is said."""
    assert export(shuffle.config.root) == 0
    folder = shuffle.config.root / "exported-models-rigpose" / "iteration-0"
    return Bundle.open(folder / "DLC_Resnet50_sceneJan1shuffle1_snapshot_10")


@pytest.fixture(scope="module")
def of_pair(tiny_pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    config, snapshot = tiny_pair
    output = tmp_path_factory.mktemp("pair") / "made" / "tiny.bundle"
    assert export("--config", config, "--snapshot", snapshot, "-o", output) == 0
    return Bundle.open(output)


def test_the_manifest_of_a_shuffle_says_what_the_project_says(of_shuffle: Bundle, shuffle: Shuffle) -> None:
    manifest = of_shuffle.manifest
    assert manifest.scorer == of_shuffle.path.name
    model = manifest.model
    assert (model.task, model.architecture) == ("single_animal", "resnet_50")
    assert model.keypoints == shuffle.config.bodyparts
    assert model.skeleton == shuffle.config.skeleton and len(model.skeleton) > 0
    assert (manifest.display.pcutoff, manifest.display.dot_size) == (0.6, 4)
    made_from = manifest.provenance
    assert (made_from.snapshot, made_from.epoch) == ("snapshot-010.pt", 10)
    assert made_from.snapshot_sha256 == file_sha256(shuffle.train_folder / "snapshot-010.pt")
    assert made_from.config_sha256 == file_sha256(shuffle.pose_config_path)
    assert "sceneJan1-trainset90shuffle1" in made_from.source


def test_the_manifest_describes_the_graph_file(of_shuffle: Bundle) -> None:
    (graph,) = of_shuffle.manifest.graphs
    model = onnx.load(of_shuffle.file(graph.file))
    assert of_shuffle.manifest.roles == ("pose",)
    assert (graph.opset, graph.nodes) == (model.opset_import[0].version, len(model.graph.node))
    assert [v.name for v in graph.inputs] == [v.name for v in model.graph.input] == ["frames"]
    assert [v.name for v in graph.outputs] == [v.name for v in model.graph.output] == ["keypoints"]


def test_every_file_is_recorded_and_none_holds_a_pickle(of_shuffle: Bundle, of_pair: Bundle) -> None:
    for bundle in (of_shuffle, of_pair):
        there = {p.relative_to(bundle.path).as_posix() for p in bundle.path.rglob("*") if p.is_file()}
        pictures = {f"golden/{i:03d}.png" for i in range(4)}
        texts = {"parity.yaml", "pytorch_config.yaml"}
        assert there == {"manifest.yaml", "pose.onnx", "golden/answers.npz", *pictures, *texts}
        assert set(bundle.manifest.files) == there - {"manifest.yaml"}
        with np.load(bundle.file("golden/answers.npz"), allow_pickle=False) as arrays:
            assert all(array.dtype != object for array in dict(arrays).values())
        for name in there - {"golden/answers.npz"}:
            content = (bundle.path / name).read_bytes()
            assert not zipfile.is_zipfile(io.BytesIO(content)) and not content.startswith(b"\x80"), name
        for name in texts | {"manifest.yaml"}:
            yaml.safe_load((bundle.path / name).read_text())


def test_golden_frames_are_labelled_images_of_the_project(of_shuffle: Bundle, shuffle: Shuffle) -> None:
    golden = read_golden(of_shuffle)
    frames, poses = golden.frames, golden.answers[0]
    folder = shuffle.config.root / "labeled-data" / "walk"
    labelled = [np.asarray(cv2.imread(str(path))) for path in sorted(folder.glob("*.png"))]
    assert len(frames) == len(poses) == 4
    for frame, pose in zip(frames, poses, strict=True):
        assert any(np.array_equal(frame, picture) for picture in labelled)
        assert pose.xy.shape == (1, 6, 2) and np.isfinite(pose.xy).all()


def test_the_certificate_says_what_was_compared(of_shuffle: Bundle, of_pair: Bundle) -> None:
    for bundle, frames in ((of_shuffle, "labelled images"), (of_pair, "drawn frames")):
        certificate = read_certificate(bundle)
        assert frames in certificate.frames
        assert certificate.reference.startswith("torch ") and certificate.compared.startswith("onnxruntime ")
        assert [case.batch for case in certificate.cases] == [1, 3, 8]
        assert any(case.height % 2 and case.width % 2 for case in certificate.cases)
        assert all(case.difference.within and case.difference.worst_px < 0.01 for case in certificate.cases)


def test_a_pair_without_a_project_becomes_a_bundle(of_pair: Bundle, tiny_pair: tuple[Path, Path]) -> None:
    manifest = of_pair.manifest
    assert manifest.scorer == f"DLC_Resnet50_{tiny_pair[0].parent.name}_snapshot_7"
    assert manifest.model.keypoints == ("snout", "leftear", "rightear", "tailbase")
    assert manifest.provenance.epoch == 7
    assert len(rigpose.load(of_pair, device="cpu").predict(np.zeros((60, 70, 3), np.uint8))) == 1


def test_parity_is_proved_on_the_frames_that_were_given(
    shuffle: Shuffle, tiny_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    given = shuffle.config.root / "videos" / "walk.mp4"
    config, snapshot = tiny_pair
    assert export("--config", config, "--snapshot", snapshot, "--frames", given, "-o", tmp_path / "b") == 0
    bundle = Bundle.open(tmp_path / "b")
    frames = read_golden(bundle).frames
    assert len(frames) == 4 and frames[0].shape == (96, 128, 3)
    assert given.name in read_certificate(bundle).frames


@pytest.mark.parametrize(("kind", "count"), [("video", 8), ("folder", 6), ("image", 1)])
def test_frames_may_be_a_video_a_folder_or_an_image(
    kind: str, count: int, shuffle: Shuffle, tiny_pair: tuple[Path, Path]
) -> None:
    root = shuffle.config.root
    folder = root / "labeled-data" / "walk"
    given = {"video": root / "videos" / "walk.mp4", "folder": folder, "image": next(folder.glob("*.png"))}[kind]
    source = pair_source(*tiny_pair, frames=[given])
    assert len(source.frames) == count and source.frames[0].shape == (96, 128, 3)
    assert given.name in source.frames_described


def test_the_command_prints_parity_the_place_and_the_next_step(
    shuffle: Shuffle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "b"
    assert export(shuffle.config.path, "--snapshot", "snapshot-010", "--output", output) == 0
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in err.splitlines()] == ["Tracing pose.onnx", "Proving pose.onnx", "Measuring"]
    assert out.count("keypoints, worst") == 3 and "on 1 labelled test images" in out
    assert out.splitlines()[-2:] == [f"bundle: {output}", f"next: rigpose analyze {output} VIDEO"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "either a project or --config"),
        (["PROJECT", "--config", "CONFIG"], "either a project or --config"),
        (["PROJECT", "--shuffle", "7"], "shuffles of iteration 0: 1"),
        (["PROJECT", "--trainset-index", "3"], "TrainingFraction"),
        (["PROJECT", "--snapshot", "snapshot-011"], "there are snapshot-010.pt"),
        (["PROJECT", "--snapshot", "5"], "index 5 is out of range"),
        (["PROJECT", "--detector-snapshot", "-1"], "no top-down model"),
        (["PROJECT", "--frames", "ABSENT"], "--frames: is for --config"),
        (["--config", "CONFIG", "--shuffle", "2"], "--shuffle and --trainset-index"),
        (["PROJECT", "--triton", "HERE"], "HERE: holds the bundle's folder"),
        (["PROJECT", "--triton", "MODEL", "--overwrite"], "is no model repository"),
        (["ABSENT"], "does not exist"),
        (["--config", "ABSENT"], "does not exist"),
        (["--config", "CONFIG"], "no such snapshot"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(
    words: list[str], says: str, shuffle: Shuffle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"PROJECT": shuffle.config.root, "CONFIG": shuffle.pose_config_path, "ABSENT": tmp_path / "absent"}
    places |= {"HERE": tmp_path, "MODEL": shuffle.config.root}
    assert export(*[places.get(word, word) for word in words], "-o", tmp_path / "b") == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("rigpose export: ") and err.count("\n") == 1
    assert says.replace("HERE", str(tmp_path)) in err
    assert not (tmp_path / "b").exists()


def test_there_is_no_combined_graph_of_a_model_without_a_detector(
    shuffle: Shuffle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(shuffle.config.root, "--combined", "-o", tmp_path / "b") == 1
    assert "--combined: puts a detector and a pose network into one graph" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--detector-size", "has no detector to see frames in another size; leave it out."),
        ("--detector-proposals", "has no detector to look at fewer regions; leave it out."),
    ],
)
def test_a_model_without_a_detector_has_no_options_for_one(
    option: str, says: str, shuffle: Shuffle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(shuffle.config.root, option, "256", "-o", tmp_path / "b") == 1
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_metric_is_told_also_where_one_side_finds_nothing() -> None:
    nothing, some = Metric(None, None, 3), Metric(2.0, 90.0, 3)
    assert metric_change("pose", some, some) == "mean error [px] 2 (torch 2), mAP 90 (torch 90)"
    assert metric_change("detector", some, some) == "mAP 90 (torch 90)"
    for right, other in ((nothing, some), (some, nothing)):
        assert metric_change("pose", right, other).count("none, as nothing is found") == 2


def test_a_shuffle_that_was_not_trained_says_so(
    shuffle: Shuffle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(shuffle.config.root, tmp_path / "copy"))
    for snapshot in root.rglob("snapshot-*.pt"):
        snapshot.unlink()
    assert export(root) == 1
    assert "train first with: rigpose train" in capsys.readouterr().err
