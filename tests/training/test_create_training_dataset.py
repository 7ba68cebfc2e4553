"""New shuffles: the files that DeepLabCut would have written, and nothing that was there touched."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from projects_on_disk import HEIGHT, WIDTH, write_project

from rigpose.errors import ConfigError, ProjectError
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.project.config import read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.labels import Labels, image_shape, merge_labels
from rigpose_training.project.records import multi_animal_records, single_animal_records
from rigpose_training.project.shuffle import Shuffle, existing_shuffles
from rigpose_training.project.split import read_split


def shuffle_of(root: Path, index: int) -> Shuffle:
    (shuffle,) = [s for s in existing_shuffles(read_project_config(root)) if s.index == index]
    return shuffle


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def own_openfield(openfield: Path, tmp_path: Path) -> Path:
    """A copy of the openfield project that may be written to."""
    copy = tmp_path / openfield.name
    shutil.copytree(openfield, copy, ignore=shutil.ignore_patterns("*.mp4"), copy_function=shutil.copyfile)
    for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    return copy


def test_the_same_split_makes_deeplabcuts_own_data_set(own_openfield: Path) -> None:
    theirs = shuffle_of(own_openfield, 1)
    split = read_split(theirs.split_path)
    (index,) = create_training_dataset(own_openfield, trainIndices=[split.train], testIndices=[split.test])
    ours = shuffle_of(own_openfield, index)
    assert index == 12
    assert read_split(ours.split_path) == split

    expected, found = (scipy.io.loadmat(str(s.dataset_path))["dataset"] for s in (theirs, ours))
    assert found.shape == expected.shape == (1, 110) and found.dtype == expected.dtype
    for a, b in zip(found[0], expected[0], strict=True):
        assert a["image"].tolist() == b["image"].tolist()
        np.testing.assert_array_equal(a["size"], b["size"])
        np.testing.assert_array_equal(a["joints"][0, 0], b["joints"][0, 0])
        assert a["joints"][0, 0].dtype == b["joints"][0, 0].dtype


def test_a_first_shuffle_makes_the_merged_files(own_openfield: Path, openfield: Path) -> None:
    (theirs,) = openfield.glob("training-datasets/iteration-0/*/CollectedData_Pranav.h5")
    shutil.rmtree(own_openfield / "training-datasets")
    shutil.rmtree(own_openfield / "dlc-models-pytorch")
    assert create_training_dataset(own_openfield) == [1]
    ours = own_openfield / theirs.relative_to(openfield)
    expected, found = pd.read_hdf(theirs), pd.read_hdf(ours)
    assert isinstance(expected, pd.DataFrame) and isinstance(found, pd.DataFrame)
    pd.testing.assert_frame_equal(found, expected)
    assert ours.with_suffix(".csv").read_text() == theirs.with_suffix(".csv").read_text()


def test_new_shuffles_count_on_and_touch_nothing(own_openfield: Path) -> None:
    before = contents(own_openfield)
    assert create_training_dataset(own_openfield, num_shuffles=2) == [12, 13]
    after = contents(own_openfield)
    changed = [path.name for path, content in before.items() if after[path] != content]
    assert changed == ["metadata.yaml"]
    assert not [path for path in after if "writing" in path.name]


def test_an_existing_shuffle_is_never_overwritten(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    assert create_training_dataset(root, Shuffles=[4, 2]) == [4, 2]
    before = contents(root)
    for userfeedback in (True, False):
        with pytest.raises(ProjectError, match=r"shuffle 2 .* exists .* leave Shuffles out to get 5"):
            create_training_dataset(root, Shuffles=[9, 2], userfeedback=userfeedback)
    assert contents(root) == before


def test_a_shuffle_of_one_seed_has_the_same_rows_whenever_it_is_made(tmp_path: Path) -> None:
    one, other = write_project(tmp_path / "one"), write_project(tmp_path / "other")
    create_training_dataset(one, num_shuffles=3)
    create_training_dataset(other, Shuffles=[3])
    create_training_dataset(other, Shuffles=[5], seed=1)
    splits = [read_split(shuffle_of(one, index).split_path) for index in (1, 2, 3)]
    assert splits[2] == read_split(shuffle_of(other, 3).split_path)
    assert len({split.train for split in splits}) == 3
    assert read_split(shuffle_of(other, 5).split_path).train_fraction == 0.8


def test_every_training_fraction_gets_its_folder(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    file = root / "config.yaml"
    file.write_text(file.read_text().replace("- 0.8", "- 0.8\n- 0.5"))
    assert create_training_dataset(root) == [1]
    assert [(s.percent, s.index) for s in existing_shuffles(read_project_config(root))] == [(50, 1), (80, 1)]


def test_the_configuration_is_the_projects(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    (index,) = create_training_dataset(root, net_type="hrnet_w32")
    shuffle = shuffle_of(root, index)
    config = read_pose_config(shuffle.pose_config_path)
    assert config["net_type"] == "hrnet_w32"
    assert config["metadata"] == {
        "project_path": str(root),
        "pose_config_path": str(shuffle.pose_config_path),
        "bodyparts": ["nose", "tail"],
        "unique_bodyparts": [],
        "individuals": ["individual_1"],
        "with_identity": None,
    }


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"net_type": "resnet_5"}, ConfigError, "did you mean resnet_50"),
        ({"num_shuffle": 2}, ConfigError, "no option num_shuffle"),
        ({"windows2linx": True}, ConfigError, "did you mean windows2linux"),
        ({"engine": "tensorflow"}, ConfigError, "does not support engine='tensorflow'"),
        ({"weight_init": object()}, ConfigError, "weight_init: expected a mapping"),
        ({"net_type": "dlcrnet_ms5"}, ConfigError, "single-animal project; use resnet_50"),
        ({"net_type": "rtmpose_s", "detector_type": "ssdlight"}, ConfigError, "did you mean ssdlite"),
        ({"net_type": "ctd_coam_w32"}, ConfigError, "name its shuffle with ctd_conditions=NUMBER"),
        ({"net_type": "ctd_coam_w32", "ctd_conditions": 4}, ConfigError, r"no shuffle 4 .there are: none"),
        ({"Shuffles": [1, 1]}, ProjectError, "must be different numbers"),
        ({"trainIndices": [[0]]}, ProjectError, "as many trainIndices and testIndices"),
        ({"trainIndices": [[0, 1]], "testIndices": [[1, 2]]}, ProjectError, "each row once"),
        ({"trainIndices": [[10]], "testIndices": [[1]]}, ProjectError, "from 0 to 9"),
        ({"trainIndices": [[]], "testIndices": [[]]}, ProjectError, "train on some"),
        ({"trainIndices": [[0]], "testIndices": [[1]]}, ProjectError, "add 0.5 to it"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    tmp_path: Path, options: dict, error: type[Exception], says: str
) -> None:
    root = write_project(tmp_path)
    before = contents(root)
    with pytest.raises(error, match=says):
        create_training_dataset(root, **options)
    assert contents(root) == before


def test_deeplabcuts_other_keywords_are_taken(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    create_training_dataset(str(root / "config.yaml"), userfeedback=True, windows2linux=False, augmenter_type=None)


def test_padding_counts_for_the_fraction_and_is_dropped(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    train, test = [*range(6), -1, -1], [6, 7]
    (index,) = create_training_dataset(root, trainIndices=[train], testIndices=[test])
    split = read_split(shuffle_of(root, index).split_path)
    assert (split.train, split.test, split.train_fraction) == (tuple(range(6)), (6, 7), 0.8)


def test_labels_that_move_the_rows_of_other_shuffles_are_refused(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    create_training_dataset(root)
    before = contents(root)
    for i, video in enumerate(("zebra", "ant")):
        shutil.copytree(root / "labeled-data" / "mouse", root / "labeled-data" / video)
        for path in (root / "labeled-data" / video).glob("Collected*"):
            path.unlink()
        table = pd.read_hdf(root / "labeled-data" / "mouse" / "CollectedData_me.h5")
        assert isinstance(table, pd.DataFrame)
        table.index = pd.MultiIndex.from_tuples([("labeled-data", video, row[2]) for row in table.index])
        table.to_hdf(root / "labeled-data" / video / "CollectedData_me.h5", key="df_with_missing", mode="w")
        config = root / "config.yaml"
        config.write_text(config.read_text().replace("video_sets:\n", f"video_sets:\n  {video}.avi:\n"))
        if i == 0:
            # Rows at the end move nobody.
            assert create_training_dataset(root) == [2]
            assert len(read_split(shuffle_of(root, 2).split_path).train) == 16
        else:
            with pytest.raises(ProjectError, match="raise iteration"):
                create_training_dataset(root)
    assert all((path.read_bytes() == before[path]) for path in before if "shuffle1" in path.name)


def test_a_multi_animal_shuffle_has_deeplabcuts_files(tmp_path: Path) -> None:
    root = write_project(
        tmp_path, individuals=("a", "b"), unique=("corner",), config="identity: true\ndefault_net_type: dlcrnet_ms5\n"
    )
    (index,) = create_training_dataset(root)
    shuffle = shuffle_of(root, index)
    config = read_pose_config(shuffle.pose_config_path)
    assert config["net_type"] == "dlcrnet_stride16_ms5"
    assert list(config["model"]["heads"]) == ["bodypart", "unique_bodypart", "identity"]
    assert config["metadata"]["unique_bodyparts"] == ["corner"] and config["metadata"]["with_identity"] is True
    names = read_pose_config(shuffle.model_folder / "test" / "pose_cfg.yaml")
    assert (names["net_type"], names["all_joints_names"]) == ("dlcrnet_stride16_ms5", ["nose", "tail", "corner"])
    tracking = read_pose_config(shuffle.model_folder / "test" / "inference_cfg.yaml")
    assert (tracking["topktoretain"], tracking["withid"], tracking["minimalnumberofconnections"]) == (2, True, 1)
    records = pickle.loads(shuffle.dataset_path.read_bytes())
    assert len(records) == 8 and set(records[0]["joints"]) == {0, 1, 2}


def test_the_files_of_a_shuffle_equal_deeplabcuts(flies: Path, tmp_path: Path) -> None:
    """All nine shuffles of the flies, made again from their split: configurations, data sets and metadata."""
    root = tmp_path / flies.name
    shutil.copytree(flies, root, ignore=shutil.ignore_patterns("*.mp4"), copy_function=shutil.copyfile)
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    for theirs in existing_shuffles(read_project_config(flies)):
        model = read_pose_config(theirs.pose_config_path)
        split = read_split(theirs.split_path)
        backbone_top_down = model["method"] == "td" and model["net_type"].startswith("resnet")
        detector = (model["detector"] or {"model": {}})["model"]
        (index,) = create_training_dataset(
            root,
            trainIndices=[split.train],
            testIndices=[[*split.test, *[-1] * (70 - len(split.test))]],
            net_type=f"top_down_{model['net_type']}" if backbone_top_down else model["net_type"],
            detector_type=detector.get("variant") or ("ssdlite" if detector else None),
            ctd_conditions=1 if model["method"] == "ctd" else None,
        )
        ours = shuffle_of(root, index)
        for file in ("pose_cfg.yaml", "inference_cfg.yaml"):
            found, expected = (read_pose_config(s.model_folder / "test" / file) for s in (ours, theirs))
            assert {**found, "dataset": ""} == {**expected, "dataset": ""}
        assert read_split(ours.split_path).train == split.train
        found, expected = read_pose_config(ours.pose_config_path), model
        assert list(found) == list(expected) and found["model"]["heads"] == expected["model"]["heads"]


def test_conditions_come_from_a_bottom_up_shuffle(tmp_path: Path) -> None:
    root = write_project(tmp_path, individuals=("a", "b"))
    assert create_training_dataset(root, net_type="dekr_w18") == [1]
    assert create_training_dataset(root, net_type="top_down_resnet_50") == [2]
    with pytest.raises(ConfigError, match=r"shuffle 2 of .* has method td"):
        create_training_dataset(root, net_type="ctd_coam_w32", ctd_conditions=2)
    assert create_training_dataset(root, net_type="ctd_coam_w32", ctd_conditions=(1, -1)) == [3]
    conditions = read_pose_config(shuffle_of(root, 3).pose_config_path)["inference"]["conditions"]
    assert (conditions["source"], conditions["shuffle"], conditions["snapshot_index"]) == ("shuffle", 1, -1)
    (root / "poses.h5").touch()
    create_training_dataset(root, net_type="ctd_coam_w32", ctd_conditions=root / "poses.h5")
    conditions = read_pose_config(shuffle_of(root, 4).pose_config_path)["inference"]["conditions"]
    assert conditions == {"source": "file", "filepath": str(root / "poses.h5")}


def test_a_project_whose_labels_are_all_missing_is_refused(tmp_path: Path) -> None:
    root = write_project(tmp_path, individuals=("a", "b"))
    (file,) = root.glob("labeled-data/*/CollectedData_me.h5")
    table = pd.read_hdf(file)
    assert isinstance(table, pd.DataFrame)
    (table * np.nan).to_hdf(file, key="df_with_missing", mode="w")
    before = contents(root)
    with pytest.raises(ProjectError, match=r"10 images .* have not one label of the bodyparts in config\.yaml"):
        create_training_dataset(root)
    assert contents(root) == before


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_damaged_labels_are_refused_with_their_file(tmp_path: Path, damage: str) -> None:
    root = write_project(tmp_path, individuals=("a", "b"))
    (file,) = root.glob("labeled-data/*/CollectedData_me.h5")
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    else:
        single = write_project(tmp_path / "single")
        shutil.copyfile(next(single.glob("labeled-data/*/CollectedData_me.h5")), file)
    with pytest.raises(ProjectError, match=r"CollectedData_me\.h5 (is damaged|has the column levels)"):
        create_training_dataset(root)
    assert not (root / "training-datasets").exists()


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    (root / "labeled-data" / "mouse" / "img004.png").unlink()
    with pytest.raises(ProjectError, match=r"img004\.png does not exist but has labels"):
        create_training_dataset(root)
    (root / "labeled-data" / "mouse" / "img004.png").write_text("not an image")
    with pytest.raises(ProjectError, match=r"img004\.png is not a readable image"):
        create_training_dataset(root)


def test_labels_outside_the_image_and_empty_frames_leave_the_data_set() -> None:
    images = ("labeled-data/m/0.png", "labeled-data/m/1.png")
    xy = np.array([[[[5.9, 6.2], [WIDTH, 6]]], [[[np.nan, np.nan], [3, -1]]]], np.float32)
    labels = Labels(images, xy, np.empty((2, 0, 2), np.float32))
    sizes: dict[str, tuple[int, int, int]] = dict.fromkeys(images, (3, HEIGHT, WIDTH))
    (record,) = single_animal_records(labels, [0, 1], sizes)
    assert record == {"image": ("labeled-data", "m", "0.png"), "size": (3, HEIGHT, WIDTH), "joints": [[0, 5, 6]]}


def test_multi_animal_records_equal_deeplabcuts(flies: Path) -> None:
    config = read_project_config(flies)
    shuffle = existing_shuffles(config)[0]
    # The reference data is trusted; rigpose itself never unpickles this file.
    theirs = pickle.loads(shuffle.dataset_path.read_bytes())
    labels = merge_labels(config)
    sizes = {image: image_shape(flies / image) for image in labels.images}
    ours = multi_animal_records(labels, read_split(shuffle.split_path).train, sizes)
    assert len(ours) == len(theirs) == 30
    for a, b in zip(ours, theirs, strict=True):
        assert (
            a["image"] == b["image"] and list(a["size"]) == list(b["size"]) and list(a["joints"]) == list(b["joints"])
        )
        for owner, joints in b["joints"].items():
            # DeepLabCut keeps two decimals as float32.
            np.testing.assert_allclose(a["joints"][owner], joints, atol=0.005)


def test_unique_bodyparts_follow_the_animals_in_the_records(tmp_path: Path) -> None:
    config = read_project_config(write_project(tmp_path, images=1, individuals=("a", "b"), unique=("corner",)))
    (record,) = multi_animal_records(merge_labels(config), [0], {"labeled-data/mouse/img000.png": (3, HEIGHT, WIDTH)})
    assert record["joints"] == {0: [[0, 1, 2], [1, 3, 4]], 1: [[0, 5, 6], [1, 7, 8]], 2: [[2, 9, 10]]}
