"""Paths and names of shuffles, checked against files that DeepLabCut wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from projects_on_disk import write_project

from rigpose.errors import ProjectError
from rigpose_training.pose_config.files import read_mapping, read_pose_config
from rigpose_training.project.config import read_project_config
from rigpose_training.project.shuffle import (
    Shuffle,
    existing_shuffles,
    find_shuffle,
    list_snapshots,
    scorer_from_paths,
    write_metadata,
)


def test_the_paths_of_real_shuffles_exist(openfield: Path, flies: Path) -> None:
    for root, indices in ((openfield, [1, 2, 3, 11]), (flies, [1, 2, 3, 4, 5, 6, 7, 11, 14])):
        shuffles = existing_shuffles(read_project_config(root))
        assert [shuffle.index for shuffle in shuffles] == indices
        for shuffle in shuffles:
            assert shuffle.pose_config_path.is_file()
            assert shuffle.split_path.is_file()
            assert shuffle.dataset_path.is_file()


def test_every_path_is_deeplabcuts(tmp_path: Path) -> None:
    config = read_project_config(write_project(tmp_path, config="iteration: 3\n"))
    shuffle = Shuffle(config, 7, 0.8, model_prefix="pre")
    name = "drawnNov20-trainset80shuffle7"
    assert shuffle.pose_config_path == tmp_path / f"pre/dlc-models-pytorch/iteration-3/{name}/train/pytorch_config.yaml"
    assert shuffle.evaluation_folder == tmp_path / f"pre/evaluation-results-pytorch/iteration-3/{name}"
    data = tmp_path / "training-datasets/iteration-3/UnaugmentedDataSet_drawnNov20"
    assert shuffle.split_path == data / "Documentation_data-drawn_80shuffle7.pickle"
    assert shuffle.dataset_path == data / "drawn_me80shuffle7.mat"


def test_percentages_are_cut_off_as_deeplabcut_does(tmp_path: Path) -> None:
    config = read_project_config(write_project(tmp_path))
    assert Shuffle(config, 1, 0.29).name.endswith("trainset28shuffle1")


def test_a_missing_shuffle_names_those_there_are(openfield: Path) -> None:
    config = read_project_config(openfield)
    assert find_shuffle(config, index=11).index == 11
    with pytest.raises(ProjectError, match="shuffles of iteration 0: 1, 2, 3, 11"):
        find_shuffle(config, index=4)
    with pytest.raises(ProjectError, match="trainset_index 1 is not in TrainingFraction"):
        find_shuffle(config, index=1, trainset_index=1)


def test_the_best_snapshot_is_last_and_others_count_by_epoch(tmp_path: Path) -> None:
    names = ["snapshot-100.pt", "snapshot-025.pt", "snapshot-best-050.pt", "snapshot-detector-200.pt", "snapshot-1.txt"]
    for name in names:
        (tmp_path / name).touch()
    found = list_snapshots(tmp_path)
    assert [(snapshot.epoch, snapshot.uid) for snapshot in found] == [(25, "25"), (100, "100"), (50, "best-50")]
    assert [s.path.name for s in list_snapshots(tmp_path, prefix="snapshot-detector")] == ["snapshot-detector-200.pt"]
    assert list_snapshots(tmp_path / "nowhere") == []


def test_a_bare_configuration_and_snapshot_have_the_name_deeplabcut_gave(golden: Path) -> None:
    folder = golden / "snapshots" / "openfield_resnet_50"
    path = folder / "pytorch_config.yaml"
    name = scorer_from_paths(path, read_pose_config(path), folder / "snapshot-130.pt")
    assert name == "DLC_Resnet50_openfieldOct30shuffle21_snapshot_130"
    assert (folder / "deeplabcut_output" / f"clip120{name}.h5").is_file()


def test_the_folder_a_configuration_lies_in_outranks_what_it_remembers(tmp_path: Path) -> None:
    remembered = {
        "net_type": "hrnet_w32",
        "metadata": {"pose_config_path": "C:\\p\\oldMay1-trainset95shuffle1\\train\\c.yaml"},
    }
    here = tmp_path / "newNov20-trainset80shuffle5" / "train" / "pytorch_config.yaml"
    assert (
        scorer_from_paths(here, remembered, "snapshot-best-010.pt") == "DLC_HrnetW32_newNov20shuffle5_snapshot_best-10"
    )
    there = tmp_path / "pytorch_config.yaml"
    assert scorer_from_paths(there, remembered, "snapshot-200.pt", "snapshot-detector-050.pt") == (
        "DLC_HrnetW32_oldMay1shuffle1_detector_50_snapshot_200"
    )


def test_a_configuration_from_nowhere_is_named_after_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "mice" / "pytorch_config.yaml"
    assert scorer_from_paths(path, {"net_type": "resnet_50"}, "weights.pt") == "DLC_Resnet50_mice_snapshot_weights"


def test_metadata_is_what_deeplabcut_wrote(openfield: Path, tmp_path: Path) -> None:
    copy = tmp_path / openfield.name
    shutil.copytree(openfield, copy, ignore=shutil.ignore_patterns("*.png", "*.mp4"))
    copy.chmod(0o755)
    (theirs,) = openfield.glob("training-datasets/iteration-0/*/metadata.yaml")
    ours = copy / theirs.relative_to(openfield)
    ours.parent.chmod(0o755)
    ours.unlink()
    write_metadata(read_project_config(copy))
    assert read_mapping(ours) == read_mapping(theirs)
    assert ours.read_text() == theirs.read_text()
