"""Top-down pairs and conditional models of a project, from its shuffles to the files of a video."""

from __future__ import annotations

import argparse
import json
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from exported_families import FAMILIES
from reference_weights import fill
from small_networks import SIZE, small_config

from rigpose.analyzers.analyzer import PoseAnalyzer
from rigpose.analyzers.top_down import TopDownAnalyzer
from rigpose.commands import analyze
from rigpose.commands.main import run
from rigpose.errors import ConfigError
from rigpose.files.results import ResultFiles
from rigpose.load import load
from rigpose.measures.differences import Tolerance, compare
from rigpose.poses import Poses
from rigpose.videos.retracking import read_assemblies
from rigpose.videos.video import Video
from rigpose_export import analyze_videos
from rigpose_export.graphs.files import ExportOptions
from rigpose_export.pack import export_bundle
from rigpose_export.source import shuffle_source
from rigpose_training.detector_graph import look_at_size
from rigpose_training.engine.snapshots import load_weights, read_snapshot, write_whole
from rigpose_training.models import PoseModel, build_model
from rigpose_training.models.detectors import Detector, build_detector
from rigpose_training.pose_config.files import read_pose_config, write_pose_config
from rigpose_training.project.config import read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import Shuffle, find_shuffle
from rigpose_training.scene.project import write_project, write_video
from rigpose_training.scene.world import Scene
from rigpose_training.torch_detector import conditional_analyzer, top_down_analyzer
from rigpose_training.torch_session import torch_analyzer

pytestmark = pytest.mark.slow
FRAMES, SIDES = 9, (96, 128)
POSE, DETECTOR = "snapshot-010.pt", "snapshot-detector-020.pt"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn project of two animals without a shuffle, and a video beside it."""
    torch.set_num_threads(2)
    folder = tmp_path_factory.mktemp("animals")
    write_project(folder / "project", labelled_frames=6, size=SIDES, animals=2)
    write_video(folder / "new.mp4", Scene(5, size=SIDES, animals=2), FRAMES)
    return folder / "project"


def shuffle_of(project: Path, net_type: str, **options: Any) -> Shuffle:
    """A new shuffle, its network a small one of the family with random weights."""
    (index,) = create_training_dataset(project, net_type=net_type, **options)
    shuffle = find_shuffle(read_project_config(project), index=index)
    config = read_pose_config(shuffle.pose_config_path)
    small = small_config(FAMILIES[net_type], config["metadata"]["bodyparts"])["model"]
    for name, head in small["heads"].items():
        head["predictor"] = config["model"]["heads"][name]["predictor"]
    config["model"] = small
    if config["method"] != "bu":
        config["data"]["inference"]["top_down_crop"] |= {"width": SIZE, "height": SIZE}
    write_pose_config(shuffle.pose_config_path, config)
    pose = build_model(config)
    fill(pose, "family")
    write_whole({"model": pose.state_dict(), "metadata": {"epoch": 10}}, shuffle.train_folder / POSE)
    if config["method"] == "td":
        detector = build_detector(config["detector"]["model"])
        fill(detector, "x")
        write_whole({"model": detector.state_dict(), "metadata": {"epoch": 20}}, shuffle.train_folder / DETECTOR)
    return shuffle


def in_torch(shuffle: Shuffle) -> tuple[PoseModel, dict[str, Any]]:
    """The network of a shuffle as its snapshot has it."""
    config = read_pose_config(shuffle.pose_config_path)
    model = build_model(config)
    load_weights(model, read_snapshot(shuffle.train_folder / POSE)["model"], source=shuffle.train_folder / POSE)
    return model, config


def detector_in_torch(shuffle: Shuffle) -> Detector:
    detector = build_detector(read_pose_config(shuffle.pose_config_path)["detector"]["model"])
    path = shuffle.train_folder / DETECTOR
    load_weights(detector, read_snapshot(path)["model"], source=path)
    return detector


def check_files(files: ResultFiles, right: Sequence[Poses], *, box_scores: bool) -> None:
    """All of DeepLabCut's files are there and hold these poses."""
    found = read_assemblies(files)
    assert found.individuals == ("individual1", "individual2") and len(found.frames) == FRAMES
    places = [None if poses is None else Poses(poses.xy, poses.score) for poses in found.frames]
    assert compare([Poses(p.xy, p.score) for p in right], [p for p in places if p is not None], Tolerance()).within
    assert len({poses.xy.tobytes() for poses in right}) == FRAMES, "poses differ from frame to frame"
    full = pickle.loads(files.detections.read_bytes())
    assert full["metadata"]["nframes"] == FRAMES and len(full) == FRAMES + 1
    for number, poses in enumerate(right):
        entry = full[f"frame{number}"]
        assert ("bbox_scores" in entry) == box_scores
        assert poses.boxes is not None and poses.animal_score is not None
        # Boxes are of detectors or of rough poses, whose rounding is that of a whole network.
        np.testing.assert_allclose(entry["bboxes"][: len(poses)], poses.boxes, atol=Tolerance().box_px)
        if box_scores:
            np.testing.assert_allclose(entry["bbox_scores"][: len(poses)], poses.animal_score, atol=1e-4)
    tracks, table = (pd.DataFrame(pd.read_hdf(path)) for path in (files.tracks("_el"), files.h5))
    for tracked in (tracks, table):
        assert len(tracked) == FRAMES and tracked.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
        assert tracked.columns.get_level_values("individuals").unique().tolist() == ["individual1", "individual2"]
        assert tracked.notna().to_numpy().any()
        check_tracks(tracked, right)
    assert files.tracklets("_el").exists() and files.meta.exists()
    assert not files.partial.exists() and not files.lock.exists()


def check_tracks(table: pd.DataFrame, right: Sequence[Poses]) -> None:
    """Each animal of the table is an animal of the frame."""
    rows = table.to_numpy().reshape(FRAMES, 2, -1, 3)
    for animals, poses in zip(rows, right, strict=True):
        for xy in animals[~np.isnan(animals[..., 0]).all(axis=1), :, :2]:
            distance = np.abs(np.nan_to_num(xy) - np.nan_to_num(poses.xy)).max(axis=(1, 2))
            assert distance.min() < 0.01


def right_poses(analyzer: PoseAnalyzer, video: Path) -> list[Poses]:
    with Video(video) as source:
        return [analyzer.predict(frame.image)[0] for frame in source.frames()]


def kept(project: Path, scorer: str) -> Path:
    return project / "exported-models-rigpose" / "iteration-0" / scorer


def test_a_detector_sees_frames_in_the_size_that_was_asked_for(project: Path, tmp_path: Path) -> None:
    shuffle = shuffle_of(project, "rtmpose_s")
    source = shuffle_source(shuffle.config, shuffle=shuffle.index)
    bundle = export_bundle(source, tmp_path / "b", options=ExportOptions(detector_side=192))
    assert bundle.manifest.detector is not None and bundle.manifest.detector.side == 192
    # In the graph's own words, too.
    told = onnx.load(str(bundle.path / "detector.onnx"), load_external_data=False).metadata_props
    assert json.loads({entry.key: entry.value for entry in told}["rigpose.detector"])["side"] == 192
    model, config = in_torch(shuffle)
    frame = Scene(5, size=SIDES, animals=2).frame(3)[0]
    loaded = load(bundle, device="cpu").model
    assert isinstance(loaded, TopDownAnalyzer)
    [ours] = loaded.detector.predict(frame)
    scores = []
    for side in (192, 320):
        detector = detector_in_torch(shuffle)
        look_at_size(detector, side)
        scores.append(top_down_analyzer(model, detector, config).detector.predict(frame)[0].score)
    np.testing.assert_allclose(ours.score, scores[0], atol=1e-4)
    assert len(scores[1]) != len(ours.score) or np.abs(scores[1] - ours.score).max() > 1e-3


def test_a_conditional_shuffle_from_the_project_to_the_files_of_a_video(project: Path, tmp_path: Path) -> None:
    video = project.with_name("new.mp4")
    rough = shuffle_of(project, "resnet_50")
    shuffle = shuffle_of(project, "ctd_prenet_hrnet_w32", ctd_conditions=rough.index)
    scorer = analyze_videos(project, video, shuffle.index, device="cpu", destfolder=tmp_path / "project")
    files = ResultFiles.of(video, scorer, tmp_path / "project")
    model, config = in_torch(shuffle)
    right = right_poses(conditional_analyzer(model, config, torch_analyzer(*in_torch(rough))), video)
    assert sum(map(len, right)) > FRAMES
    check_files(files, right, box_scores=False)

    # The two bundles that were made on the way, from the command line.
    bundles = project / "exported-models-rigpose" / "iteration-0"
    (partner,) = [path for path in bundles.iterdir() if path.name != scorer]
    parser = argparse.ArgumentParser()
    analyze.COMMAND.configure(parser)
    typed = [kept(project, scorer), video, "--conditions", partner, "--destination", tmp_path / "typed"]
    assert run(analyze.COMMAND, parser.parse_args([*map(str, typed), "--device", "cpu"])) == 0
    again = ResultFiles.of(video, scorer, tmp_path / "typed")
    check_files(again, right, box_scores=False)
    for path in (files.detections, files.assemblies, files.tracklets("_el")):
        assert path.read_bytes() == (again.folder / path.name).read_bytes()


def test_a_top_down_pair_from_the_project_to_the_files_of_a_video(project: Path, tmp_path: Path) -> None:
    video = project.with_name("new.mp4")
    shuffle = shuffle_of(project, "top_down_resnet_50", detector_type="ssdlite")
    scorer = analyze_videos(project, video, shuffle.index, device="cpu", destfolder=tmp_path)
    assert scorer.endswith("_detector_20_snapshot_10")
    model, config = in_torch(shuffle)
    right = right_poses(top_down_analyzer(model, detector_in_torch(shuffle), config), video)
    assert [len(poses) for poses in right] == [2] * FRAMES
    check_files(ResultFiles.of(video, scorer, tmp_path), right, box_scores=True)

    # Another tracker, as the project names it, in place of the first one's files.
    config_path = project / "config.yaml"
    text = re.sub(r"default_track_method:.*\n", "", config_path.read_text())
    config_path.write_text(text + "default_track_method: skeleton\n")
    analyze_videos(project, video, shuffle.index, device="cpu", destfolder=tmp_path, overwrite=True, n_tracks=1)
    files = ResultFiles.of(video, scorer, tmp_path)
    assert not files.tracks("_el").exists()
    assert len(pd.DataFrame(pd.read_hdf(files.tracks("_sk"))).columns.unique("individuals")) == 2
    one = pd.DataFrame(pd.read_hdf(files.h5)).to_numpy().reshape(FRAMES, 2, -1)
    assert np.isfinite(one[:, 0]).any() and np.isnan(one[:, 1]).all()
    config_path.write_text(text + "default_track_method: transformer\n")
    with pytest.raises(ConfigError, match=r"config\.yaml: default_track_method: 'transformer' is none of ellipse"):
        analyze_videos(project, video, shuffle.index, device="cpu", destfolder=tmp_path)
