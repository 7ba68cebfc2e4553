"""Evaluation: DeepLabCut's numbers for its own snapshot, its files, and images of any size in order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Array
from rigpose.errors import ConfigError, MediaError, ResultError, SnapshotError
from rigpose.models.model_spec import ModelSpec
from rigpose.progress import silent
from rigpose_training.data.loaders import DLCLoader, LabelledImage, labelled_images
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.evaluation.evaluate import evaluate_model, evaluate_network
from rigpose_training.models import build_model
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.project.config import read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.labels import read_labels
from rigpose_training.project.shuffle import merged_labels_path
from rigpose_training.scene.project import write_project
from rigpose_training.scene.world import KEYPOINTS
from rigpose_training.torch_session import torch_analyzer

# What DeepLabCut 3.0.2's evaluate_network found with the golden snapshot: x, y [image px], likelihood.
# fmt: off
DEEPLABCUT_POSES = {
    0: [[22.5338, 268.2258, 1.0], [33.348, 266.3339, 1.0], [20.297, 246.8531, 1.0], [86.2844, 153.0342, 0.9492]],
    13: [
        [597.4649, 455.8423, 0.6053],
        [593.0708, 466.6656, 0.5737],
        [602.5876, 457.5344, 0.6043],
        [126.8302, 357.2499, 1.0],
    ],
    103: [[82.0702, 334.8905, 1.0], [75.149, 356.2688, 1.0], [91.0165, 344.3427, 1.0], [176.4806, 410.9044, 1.0]],
    112: [[27.4497, 101.6233, 1.0], [36.8257, 110.897, 1.0], [34.9045, 89.1455, 1.0], [143.8282, 92.2417, 1.0]],
}
# fmt: on
DEEPLABCUT_PER_KEYPOINT = [128.9572, 127.0030, 134.5182, 2.1322]
# DeepLabCut prints and saves errors to 0.01 px; the networks differ by rounding in float32.
SAME_PX = 0.01
# Scores are saved to two decimals.
ROUNDED = 0.0051


class BrightestPixel:
    """A network of a sort: its one keypoint is the brightest pixel. It remembers what it was fed."""

    device = "cpu"

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        frames = inputs["frames"]
        self.shapes.append(frames.shape)
        width = frames.shape[2]
        at = frames[..., 0].reshape(len(frames), -1).argmax(axis=1)
        return {"keypoints": np.stack([at % width, at // width, np.ones_like(at)], -1)[:, None].astype(float)}


def spot_images(folder: Path, sizes: list[tuple[int, int]]) -> list[LabelledImage]:
    """Black images with one white pixel, each at its own place, which is labelled."""
    images = []
    for i, (height, width) in enumerate(sizes):
        frame = np.zeros((height, width, 3), np.uint8)
        x, y = 5 + 3 * i, 4 + 2 * i
        frame[y, x] = 255
        path = folder / f"img{i}.png"
        cv2.imwrite(str(path), frame)
        truth = np.array([[[x, y]]], np.float32)
        images.append(LabelledImage(path, truth, np.empty((0, 2)), size=(height, width)))
    return images


def spot_analyzer() -> tuple[Analyzer, BrightestPixel]:
    session = BrightestPixel()
    spec = ModelSpec(task="single_animal", architecture="brightest", keypoints=("spot",))
    return Analyzer(spec, session), session


def test_images_of_mixed_sizes_run_in_batches_of_one_size_and_come_back_in_order(tmp_path):
    small, large = (40, 60), (64, 48)
    images = spot_images(tmp_path, [small, large, small, small, large, small])
    analyzer, session = spot_analyzer()
    poses, metrics = evaluate_model(analyzer, images, batch=4, show=silent)
    assert metrics.rmse == 0
    for image, found in zip(images, poses, strict=True):
        np.testing.assert_array_equal(found.xy, image.xy)
    assert [shape[:3] for shape in session.shapes] == [(4, *small), (2, *large)]


def test_a_broken_image_is_a_sentence_with_its_name(tmp_path):
    images = spot_images(tmp_path, [(40, 60)] * 2)
    images[1].path.write_bytes(b"no image")
    with pytest.raises(MediaError, match=r"img1\.png.*restore"):
        evaluate_model(spot_analyzer()[0], images, show=silent)
    images[1].path.unlink()
    with pytest.raises(MediaError, match=r"img1\.png.*restore"):
        evaluate_model(spot_analyzer()[0], images, show=silent)


def test_the_golden_snapshot_has_deeplabcuts_errors(golden, openfield):
    folder = golden / "snapshots" / "openfield_resnet_50"
    config = read_pose_config(folder / "pytorch_config.yaml")
    model = build_model(config)
    snapshot = folder / "snapshot-130.pt"
    load_weights(model, read_snapshot(snapshot)["model"], source=snapshot)
    project = read_project_config(openfield)
    labels = read_labels(merged_labels_path(project), project)
    images = labelled_images(project.root, labels, list(DEEPLABCUT_POSES))
    poses, metrics = evaluate_model(torch_analyzer(model, config), images, pcutoff=0.9, batch=2, show=silent)
    for found, recorded in zip(poses, DEEPLABCUT_POSES.values(), strict=True):
        np.testing.assert_allclose(found.to_array()[0], recorded, atol=SAME_PX)
    assert metrics.rmse == pytest.approx(98.1526, abs=SAME_PX)
    assert metrics.rmse_pcutoff == pytest.approx(2.8584, abs=SAME_PX)
    assert (metrics.mAP, metrics.mAR) == pytest.approx((75.2475, 75.0), abs=SAME_PX)
    np.testing.assert_allclose(metrics.per_keypoint, DEEPLABCUT_PER_KEYPOINT, atol=SAME_PX)


@pytest.fixture(scope="module")
def shuffle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``config.yaml`` of a drawn project with a shuffle and two snapshots of random weights."""
    folder = tmp_path_factory.mktemp("project") / "lab"
    config = write_project(folder, seed=3, labelled_frames=6, size=(96, 128))
    [index] = create_training_dataset(config, net_type="resnet_50")
    [train] = folder.glob(f"dlc-models-pytorch/iteration-0/*shuffle{index}/train")
    for epoch, name in ((10, "snapshot-010.pt"), (20, "snapshot-best-020.pt")):
        torch.manual_seed(epoch)
        model = build_model(read_pose_config(train / "pytorch_config.yaml"))
        content = {"metadata": {"epoch": epoch, "metrics": {}, "losses": {}}, "model": model.state_dict()}
        torch.save(content, train / name)
    (train / "learning_stats.csv").write_text(
        "step,losses/train.total_loss,metrics/test.rmse\n1,0.5,\n2,0.2,9.5\n3,0.1,8.0\n"
    )
    return config


def evaluation_folder(config: Path) -> Path:
    [folder] = (config.parent / "evaluation-results-pytorch" / "iteration-0").glob("*shuffle1")
    return folder


def test_evaluating_writes_deeplabcuts_files(shuffle):
    scores = evaluate_network(shuffle, Shuffles=[1], device="cpu", plotting=True, per_keypoint_evaluation=True)
    folder = evaluation_folder(shuffle)
    scorer = "DLC_Resnet50_sceneJan1shuffle1_snapshot_best-20"
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [
            f"{scorer}.h5",
            f"{scorer}-results.csv",
            f"{scorer}-pck-results.csv",
            f"{scorer}-keypoint-results.csv",
            f"{scorer}-keypoint-errors.png",
            f"{scorer}-training-curve.png",
            f"{scorer}-worst-images.png",
            f"LabeledImages_{scorer}",
        ]
    )
    header, row = (folder / f"{scorer}-results.csv").read_text().splitlines()
    assert header == (
        "%Training dataset,Shuffle number,Training epochs,Detector epochs (TD only),pcutoff,"
        "train rmse,train rmse_pcutoff,train mAP,train mAR,test rmse,test rmse_pcutoff,test mAP,test mAR"
    )
    assert row.startswith("0.9,1,20,-1,0.6,")
    assert scores.index.tolist() == [(0.9, 1, 20, -1, 0.6)]
    per_keypoint = pd.read_csv(folder / f"{scorer}-keypoint-results.csv", index_col=0)
    assert per_keypoint.index.tolist() == ["Train error (px)", "Test error (px)"]
    assert per_keypoint.columns.tolist() == list(KEYPOINTS)
    assert per_keypoint.loc["Test error (px)"].to_numpy().mean() == pytest.approx(
        scores["test rmse"].item(), abs=ROUNDED
    )
    pictures = sorted(p.name for p in (folder / f"LabeledImages_{scorer}").iterdir())
    assert len(pictures) == 6
    assert [name.split("-")[0] for name in pictures] == ["Test"] + ["Training"] * 5
    assert pictures[0].startswith("Test-walk-img")


def test_the_prediction_table_has_a_row_per_labelled_image_in_the_labels_order(shuffle):
    scores = evaluate_network(shuffle, 1, device="cpu", snapshotindex=-1)
    scorer = "DLC_Resnet50_sceneJan1shuffle1_snapshot_best-20"
    table = pd.read_hdf(evaluation_folder(shuffle) / f"{scorer}.h5", key="df_with_missing")
    assert isinstance(table, pd.DataFrame)
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert table.columns[:4].tolist() == [
        (scorer, "individual_1", "snout", "x"),
        (scorer, "individual_1", "snout", "y"),
        (scorer, "individual_1", "snout", "likelihood"),
        (scorer, "individual_1", "leftear", "x"),
    ]
    assert table.to_numpy().dtype == np.float32
    labels = pd.read_hdf(merged_labels_path(read_project_config(shuffle)))
    assert isinstance(labels, pd.DataFrame)
    assert table.index.tolist() == labels.index.tolist()
    split = DLCLoader(shuffle).split
    error = np.linalg.norm(table.to_numpy().reshape(6, -1, 3)[..., :2] - labels.to_numpy().reshape(6, -1, 2), axis=-1)
    for mode, rows in (("train", split.train), ("test", split.test)):
        expected = error[list(rows)].mean()
        assert scores[f"{mode} rmse"].item() == pytest.approx(expected, abs=ROUNDED)


def test_the_combined_table_keeps_one_row_per_snapshot_and_cutoff(shuffle):
    combined = evaluation_folder(shuffle).parent / "CombinedEvaluation-results.csv"
    combined.unlink(missing_ok=True)
    both = evaluate_network(shuffle, device="cpu", snapshotindex="all")
    evaluate_network(shuffle, device="cpu", snapshotindex=0, pcutoff=0.1)
    evaluate_network(shuffle, device="cpu", snapshotindex=0, pcutoff=[0.1] * 6)
    evaluate_network(shuffle, device="cpu", snapshotindex=0, pcutoff=0.1)
    table = pd.read_csv(combined)
    assert both.index.get_level_values("Training epochs").tolist() == [10, 20]
    rows = list(zip(table["Training epochs"], table["pcutoff"], strict=True))
    assert rows == [(10, "0.1"), (10, "0.1, 0.1, 0.1, 0.1, 0.1, 0.1"), (10, "0.6"), (20, "0.6")]


def test_a_damaged_combined_table_is_a_sentence(shuffle):
    evaluate_network(shuffle, device="cpu", snapshotindex=0)
    combined = evaluation_folder(shuffle).parent / "CombinedEvaluation-results.csv"
    whole = combined.read_text()
    combined.write_text('"a,b\n1')
    with pytest.raises(ResultError, match=r"CombinedEvaluation.*move it away"):
        evaluate_network(shuffle, device="cpu", snapshotindex=0)
    combined.write_text(whole)


def test_a_cutoff_may_be_given_by_name(shuffle):
    named = evaluate_network(shuffle, device="cpu", snapshotindex=0, pcutoff={"snout": 0.2})
    assert named.index.get_level_values("pcutoff").item() == "0.2, 0.6, 0.6, 0.6, 0.6, 0.6"
    with pytest.raises(ConfigError, match="nose is no body part"):
        evaluate_network(shuffle, device="cpu", pcutoff={"nose": 0.2})
    with pytest.raises(ConfigError, match="2 values for 6 body parts"):
        evaluate_network(shuffle, device="cpu", pcutoff=[0.2, 0.3])


def test_a_snapshot_that_is_not_there_is_a_sentence_that_names_those_that_are(shuffle):
    with pytest.raises(SnapshotError, match=r"snapshotindex 7.*snapshot-010\.pt, snapshot-best-020\.pt"):
        evaluate_network(shuffle, device="cpu", snapshotindex=7)


def test_a_shuffle_that_was_not_trained_is_a_sentence(shuffle):
    [index] = create_training_dataset(shuffle, net_type="resnet_50")
    with pytest.raises(SnapshotError, match="train the shuffle first"):
        evaluate_network(shuffle, index, device="cpu")
