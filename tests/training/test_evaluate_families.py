"""Evaluation of every family: small random networks, whose scores must follow from the poses in their files."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import projects_on_disk
import pytest
import torch

from rigpose.errors import ConfigError, ResultError, SnapshotError
from rigpose.measures.metrics import evaluate_poses
from rigpose.poses import Poses
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.evaluation.evaluate import evaluate_network
from rigpose_training.models import build_model
from rigpose_training.models.detectors import build_detector
from rigpose_training.pose_config.files import read_mapping, read_pose_config, update, write_pose_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.scene.project import write_project
from rigpose_training.scene.world import KEYPOINTS

PAF, PAIR, TOLD = 1, 2, 3
# Scores are saved to two decimals.
ROUNDED = 0.0051
OUTCOMES = ["rmse", "rmse_pcutoff", "mAP", "mAR"]


def small(section: Any) -> Any:
    """A section of a ResNet's configuration with timm's test network in its place."""
    if isinstance(section, dict):
        named = {key: small(value) for key, value in section.items()}
        return named | ({"model_name": "test_resnet"} if "model_name" in named else {})
    if isinstance(section, list):
        return [small(value) for value in section]
    return 96 if section == 2048 else section


def shrink(config: Path, shuffle: int) -> Path:
    """Make a shuffle's network small; returns its ``pytorch_config.yaml``."""
    path = DLCLoader(config, shuffle=shuffle).model_config_path
    whole = read_pose_config(path)
    write_pose_config(path, whole | {"model": small(whole["model"])})
    return path


def write_weights(path: Path, model: torch.nn.Module, epoch: int) -> None:
    torch.save({"metadata": {"epoch": epoch, "metrics": {}, "losses": {}}, "model": model.state_dict()}, path)


def strengthen(model: torch.nn.Module) -> None:
    """Make a random network's affinities large enough to link peaks, so that it finds animals of a sort."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".paf_head." in name:
                parameter.mul_(30)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``config.yaml`` of two drawn animals with identity, and an untrained shuffle of each method."""
    config = write_project(
        tmp_path_factory.mktemp("families") / "lab", seed=3, labelled_frames=5, size=(96, 128), animals=2
    )
    config.write_text(config.read_text().replace("identity: false", "identity: true"))
    create_training_dataset(config, net_type="resnet_50", Shuffles=[PAF])
    config.write_text(config.read_text().replace("identity: true", "identity: false"))
    create_training_dataset(config, net_type="top_down_resnet_50", Shuffles=[PAIR])
    create_training_dataset(config, net_type="ctd_prenet_rtmpose_s", Shuffles=[TOLD], ctd_conditions=PAF)
    for shuffle in (PAF, PAIR, TOLD):
        torch.manual_seed(shuffle)
        path = shrink(config, shuffle)
        model = build_model(path)
        if shuffle == PAF:
            strengthen(model)
        write_weights(path.with_name("snapshot-007.pt"), model, 7)
    return config


def files_of(config: Path, shuffle: int) -> Path:
    return DLCLoader(config, shuffle=shuffle).evaluation_folder


def by_hand(config: Path, shuffle: int, scorer: str) -> dict[str, float]:
    """The scores that the written predictions deserve."""
    loader = DLCLoader(config, shuffle=shuffle)
    table = pd.read_hdf(loader.evaluation_folder / f"{scorer}.h5", key="df_with_missing")
    assert isinstance(table, pd.DataFrame)
    individuals, bodyparts, unique = loader.individuals, loader.bodyparts, loader.unique_bodyparts
    expected = [
        (scorer, name, part, axis) for name in individuals for part in bodyparts for axis in ("x", "y", "likelihood")
    ]
    expected += [(scorer, "single", part, axis) for part in unique for axis in ("x", "y", "likelihood")]
    assert table.columns.tolist() == expected
    found = {}
    for mode in ("train", "test"):
        images = loader.images(mode)
        rows = table.loc[[image.path.parts[-3:] for image in images]].to_numpy()
        poses = []
        for row in np.where(rows == -1, np.nan, rows):
            animals = row[: 3 * len(bodyparts) * len(individuals)].reshape(len(individuals), -1, 3)
            poses.append(Poses(animals[..., :2], animals[..., 2], unique=row[animals.size :].reshape(-1, 3)))
        metrics = evaluate_poses(
            poses, [i.xy for i in images], unique_truth=[i.unique_xy for i in images] if unique else None
        )
        found |= {f"{mode} {name}": getattr(metrics, name) for name in OUTCOMES}
    return found


def check(scores: pd.DataFrame, expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert scores[name].item() == pytest.approx(value, abs=ROUNDED, nan_ok=True), name


@pytest.fixture(scope="module")
def paf_scores(project: Path) -> pd.DataFrame:
    path = DLCLoader(project, shuffle=PAF).model_config_path
    whole = path.read_text()
    evaluate_network(project, PAF, device="cpu", prune_graph=False)
    assert path.read_text() == whole
    return evaluate_network(project, PAF, device="cpu", plotting="individual")


def test_the_first_evaluation_of_affinity_fields_chooses_their_edges(project, paf_scores):
    path = DLCLoader(project, shuffle=PAF).model_config_path
    predictor = read_pose_config(path)["model"]["heads"]["bodypart"]["predictor"]
    kept = predictor["edges_to_keep"]
    # A tree of six parts has five edges, the whole graph fifteen.
    assert len(predictor["graph"]) == 15 and 5 <= len(kept) == len(set(kept)) < 15
    joined = {part for edge in kept for part in predictor["graph"][edge]}
    assert joined == set(range(len(KEYPOINTS)))
    assert read_mapping(path.parents[1] / "test" / "pose_cfg.yaml")["paf_best"] == kept
    assert not list(path.parent.glob(".*"))
    chosen = path.read_text()
    again = evaluate_network(project, PAF, device="cpu")
    assert path.read_text() == chosen
    pd.testing.assert_frame_equal(again, paf_scores)


def test_affinity_fields_with_identity_write_what_they_found(project, paf_scores):
    scorer = "DLC_Resnet50_sceneJan1shuffle1_snapshot_7"
    check(paf_scores, by_hand(project, PAF, scorer))
    assert np.isfinite(paf_scores["train rmse"].item())
    heads = [f"id_head_{part}_accuracy" for part in KEYPOINTS]
    assert paf_scores.columns.tolist() == [f"{m} {name}" for m in ("train", "test") for name in OUTCOMES + heads]
    accuracies = paf_scores[[f"train {name}" for name in heads]].to_numpy()
    assert ((accuracies >= 0) & (accuracies <= 1)).all()
    assert len(list((files_of(project, PAF) / f"LabeledImages_{scorer}").iterdir())) == 5


def test_a_pair_without_trained_detector_looks_where_the_labels_are(project, caplog):
    with caplog.at_level(logging.WARNING):
        scores = evaluate_network(project, PAIR, device="cpu")
    assert "boxes around the labels" in caplog.text
    assert scores.index.tolist() == [(0.9, PAIR, 7, -1, 0.6)]
    scorer = "DLC_Resnet50_sceneJan1shuffle2_snapshot_7"
    check(scores, by_hand(project, PAIR, scorer))
    folder = files_of(project, PAIR)
    pck = pd.read_csv(folder / f"{scorer}-pck-results.csv", index_col=0)
    assert pck.columns.tolist() == ["PCK@2px", "PCK@5px", "PCK@10px", "PCK@0.05", "PCK@0.1", "PCK@0.2"]
    assert (pck.diff(axis=1)[["PCK@5px", "PCK@10px", "PCK@0.1", "PCK@0.2"]] >= 0).to_numpy().all()
    assert not (folder / f"{scorer}-detector-results.csv").exists()


def test_a_pair_is_named_counted_and_judged_with_its_detector(project):
    path = DLCLoader(project, shuffle=PAIR).model_config_path
    torch.manual_seed(9)
    detector = build_detector(read_pose_config(path)["detector"]["model"])
    weights = path.with_name("snapshot-detector-best-030.pt")
    write_weights(weights, detector, 30)
    try:
        scores = evaluate_network(project, PAIR, device="cpu", plotting=True)
        labels = evaluate_network(project, PAIR, device="cpu", detector_snapshot_index="labels")
        with pytest.raises(SnapshotError, match=r"detector_snapshot_index 4.*snapshot-detector-best-030"):
            evaluate_network(project, PAIR, device="cpu", detector_snapshot_index=4)
    finally:
        weights.unlink()
    assert scores.index.tolist() == [(0.9, PAIR, 7, 30, 0.6)]
    assert labels.index.tolist() == [(0.9, PAIR, 7, -1, 0.6)]
    scorer = "DLC_Resnet50_sceneJan1shuffle2_detector_best-30_snapshot_7"
    check(scores, by_hand(project, PAIR, scorer))
    boxes = pd.read_csv(files_of(project, PAIR) / f"{scorer}-detector-results.csv", index_col=0)
    assert boxes.index.tolist() == ["Train", "Test"]
    assert boxes.columns.tolist() == ["mAP@50:95", "mAP@50", "mAP@75", "mAR@50:95", "mAR@50", "mAR@75"]
    assert (boxes >= 0).to_numpy().all()
    combined = pd.read_csv(files_of(project, PAIR).parent / "CombinedEvaluation-results.csv")
    pairs = combined[combined["Shuffle number"] == PAIR]["Detector epochs (TD only)"].tolist()
    assert pairs == [-1, 30]
    pictures = list((files_of(project, PAIR) / f"LabeledImages_{scorer}").iterdir())
    assert len(pictures) == 5


def test_a_conditional_model_starts_from_its_bottom_up_shuffle_or_from_a_file(project, paf_scores):
    del paf_scores  # the edges of the bottom-up shuffle are chosen
    live = evaluate_network(project, TOLD, device="cpu")
    scorer = "DLC_CtdPrenetRtmposeS_sceneJan1shuffle3_snapshot_7"
    check(live, by_hand(project, TOLD, scorer))
    assert np.isfinite(live["train rmse"].item())
    path = DLCLoader(project, shuffle=TOLD).model_config_path
    whole = read_pose_config(path)
    recorded = files_of(project, PAF) / "DLC_Resnet50_sceneJan1shuffle1_snapshot_7.h5"
    table = pd.read_hdf(recorded)
    assert isinstance(table, pd.DataFrame)
    text = path.with_name("poses.json")
    rows = {
        "/".join(map(str, name)): row.reshape(2, -1, 3) for name, row in zip(table.index, table.to_numpy(), strict=True)
    }
    text.write_text(json.dumps({name: np.where(np.isnan(row), -1, row).tolist() for name, row in rows.items()}))
    try:
        for file in (recorded, text):
            conditions = {"source": "file", "filepath": str(file)}
            write_pose_config(path, update(whole, {"inference.conditions": conditions}))
            pd.testing.assert_frame_equal(evaluate_network(project, TOLD, device="cpu"), live)
        text.write_text("{}")
        assert evaluate_network(project, TOLD, device="cpu")["train mAP"].item() == 0
        text.write_text('{"a.png": [[1, 2]]}')
        with pytest.raises(ResultError, match=r"poses\.json: holds no poses of 6 keypoints"):
            evaluate_network(project, TOLD, device="cpu")
        write_pose_config(path, update(whole, {"inference.conditions": None}))
        with pytest.raises(ConfigError, match=r"inference\.conditions: missing"):
            evaluate_network(project, TOLD, device="cpu")
        conditions = {"source": "shuffle", "shuffle": PAIR}
        write_pose_config(path, update(whole, {"inference.conditions": conditions}))
        with pytest.raises(ConfigError, match="method td; only a bottom-up one"):
            evaluate_network(project, TOLD, device="cpu")
    finally:
        write_pose_config(path, whole)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two animals of two parts, and two parts of the room that they are in."""
    folder = tmp_path_factory.mktemp("unique") / "lab"
    root = projects_on_disk.write_project(folder, images=6, individuals=("a", "b"), unique=("door", "lamp"))
    create_training_dataset(root, net_type="resnet_50")
    path = shrink(root, 1)
    torch.manual_seed(0)
    write_weights(path.with_name("snapshot-001.pt"), build_model(path), 1)
    return root


def test_unique_keypoints_have_columns_distances_and_names_of_their_own(room):
    scores = evaluate_network(room, 1, device="cpu", per_keypoint_evaluation=True, plotting=True)
    scorer = "DLC_Resnet50_drawnNov20shuffle1_snapshot_1"
    check(scores, by_hand(room, 1, scorer))
    assert np.isfinite(scores["test rmse"].item())
    table = pd.read_csv(files_of(room, 1) / f"{scorer}-keypoint-results.csv", index_col=0)
    assert table.columns.tolist() == ["nose", "tail", "door", "lamp"]
    assert np.isfinite(table[["door", "lamp"]].to_numpy()).all()
    picture = cv2.imread(str(next((files_of(room, 1) / f"LabeledImages_{scorer}").glob("Test*"))))
    assert picture is not None and len(np.unique(picture.reshape(-1, 3), axis=0)) > 4


def test_only_the_named_keypoints_count(room):
    everything = evaluate_network(room, 1, device="cpu", per_keypoint_evaluation=True)
    errors = pd.read_csv(
        files_of(room, 1) / "DLC_Resnet50_drawnNov20shuffle1_snapshot_1-keypoint-results.csv", index_col=0
    )
    door = evaluate_network(room, 1, device="cpu", comparison_bodyparts="door")
    assert door["test rmse"].item() == pytest.approx(errors.loc["Test error (px)", "door"], abs=ROUNDED)
    assert door["test rmse"].item() != everything["test rmse"].item()
    table = pd.read_hdf(files_of(room, 1) / "DLC_Resnet50_drawnNov20shuffle1_snapshot_1.h5")
    assert isinstance(table, pd.DataFrame)
    assert table.columns.droplevel(0).tolist() == [("single", "door", axis) for axis in ("x", "y", "likelihood")]


def test_options_that_do_not_exist_are_sentences(room):
    with pytest.raises(ConfigError, match="plotting: 'animal' is none of"):
        evaluate_network(room, 1, device="cpu", plotting="animal")
    with pytest.raises(SnapshotError, match="no snapshot snapshot-9"):
        evaluate_network(room, 1, device="cpu", snapshots_to_evaluate=["snapshot-9"])
