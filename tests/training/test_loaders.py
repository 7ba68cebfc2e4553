"""Labelled images from shuffles, projects and COCO files."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_training import DrawnLoader
from projects_on_disk import HEIGHT, WIDTH, label_table, write_project

from rigpose.errors import ConfigError, ProjectError
from rigpose_training.data import COCOLoader, DLCLoader, Project, build_transforms
from rigpose_training.pose_config.files import write_pose_config
from rigpose_training.pose_config.templates import Metadata, make_pose_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.split import Split, read_split, write_split
from rigpose_training.task import Task


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = write_project(tmp_path / "drawn")
    create_training_dataset(root)
    return root


def relabel(project: Path, table: pd.DataFrame) -> None:
    (merged,) = project.glob("training-datasets/iteration-0/*/CollectedData_me.h5")
    table.to_hdf(merged, key="df_with_missing", mode="w")


def test_images_are_the_rows_of_the_split_with_their_labels(project: Path) -> None:
    loader = DLCLoader(config=str(project / "config.yaml"), trainset_index=0, shuffle=1)
    for mode in ("train", "test"):
        images = loader.images(mode)
        assert [int(image.path.stem[3:]) for image in images] == list(loader.split.rows(mode))
        for row, image in zip(loader.split.rows(mode), images, strict=True):
            np.testing.assert_array_equal(image.xy, [[[1 + row, 2 + row], [3 + row, 4 + row]]])
            assert image.xy.dtype == np.float32 and image.unique_xy.shape == (0, 2)
            assert image.size == (HEIGHT, WIDTH) and image.path.is_file()
    assert loader.image_filenames("test") == [str(image.path) for image in loader.images("test")]
    assert loader.model_cfg["net_type"] == "resnet_50" and loader.snapshots() == []
    assert loader.model_folder == loader.shuffle.train_folder


def test_real_shuffles_load(openfield: Path, flies: Path) -> None:
    loader = DLCLoader(openfield, shuffle=2)
    assert (len(loader.images("train")), len(loader.images("test"))) == (110, 6)
    loader = DLCLoader(flies, shuffle=14)
    assert loader.images("test")[0].xy.shape == (2, 12, 2)
    assert (len(loader.images("train")), len(loader.images("test"))) == (30, 70)


def test_labels_outside_the_image_are_not_visible_and_one_warning_counts_them(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = label_table("mouse", 10)
    loader = DLCLoader(project)
    first, second = loader.split.train[:2]
    table.iloc[first, 0] = 0  # on the border is outside, as in DeepLabCut
    table.iloc[second, 3] = HEIGHT
    relabel(project, table)
    with caplog.at_level(logging.WARNING):
        images = loader.images("train")
        loader.images("train")
    assert np.isnan(images[0].xy[0, 0]).all() and np.isnan(images[1].xy[0, 1]).all()
    assert sum(int(np.isnan(image.xy[..., 0]).sum()) for image in images) == 2
    (record,) = caplog.records
    assert record.getMessage() == f"2 labels lie outside their image and are not used, the first in {images[0].path}."


def test_ground_truth_marks_what_is_visible(project: Path) -> None:
    table = label_table("mouse", 10)
    loader = DLCLoader(project)
    table.iloc[loader.split.test[0], :2] = np.nan
    relabel(project, table)
    truth = loader.ground_truth_keypoints("test")
    assert list(truth) == loader.image_filenames("test")
    array = truth[loader.image_filenames("test")[0]]
    assert array.shape == (1, 2, 3)
    np.testing.assert_array_equal(array[0, :, 2], [0, 2])
    assert np.isnan(array[0, 0, :2]).all() and not np.isnan(array[0, 1]).any()


def test_the_coco_mapping_has_boxes_and_zeros_for_what_is_missing(project: Path) -> None:
    table = label_table("mouse", 10)
    loader = DLCLoader(project)
    empty, half = loader.split.train[:2]
    table.iloc[empty] = np.nan
    table.iloc[half, :2] = np.nan
    relabel(project, table)
    loader.model_cfg["data"]["bbox_margin"] = 2
    coco = loader.load_data("train")
    assert len(coco["images"]) == 8 and len(coco["annotations"]) == 7
    annotation = coco["annotations"][0]
    x, y = 3 + half, 4 + half
    assert annotation["image_id"] == 2 and annotation["num_keypoints"] == 1
    np.testing.assert_array_equal(annotation["keypoints"], [[0, 0, 0], [x, y, 2]])
    assert annotation["bbox"] == [x - 2, y - 2, 4, 4] and annotation["area"] == 16
    assert coco["categories"] == [
        {"id": 1, "name": "animals", "supercategory": "animal", "keypoints": ["nose", "tail"]}
    ]


def test_a_split_of_other_labels_is_refused(project: Path) -> None:
    loader = DLCLoader(project)
    write_split(loader.shuffle.split_path, Split((0, 10), (1,), 0.8), [])
    with pytest.raises(ProjectError, match="names row 10 of 10 labelled images"):
        loader.images("train")
    with pytest.raises(ProjectError, match="use 'train' or 'test'"):
        loader.images("valid")


def test_unique_bodyparts_have_their_own_array_and_category(tmp_path: Path) -> None:
    root = write_project(tmp_path, individuals=("a", "b"), unique=("corner",))
    project = Project(root)
    project.train_test_split(train_fraction=0.5, seed=3)
    assert len(project.train["images"]) == len(project.test["images"]) == 5
    first = [a for a in project.train["annotations"] if a["image_id"] == 1]
    assert [(a["category_id"], a["individual"], a["individual_id"]) for a in first] == [
        (1, "a", 0),
        (1, "b", 1),
        (2, "single", -1),
    ]
    row = project.split.train[0]
    np.testing.assert_array_equal(first[2]["keypoints"], [[9 + row, 10 + row, 2]])


def test_a_project_splits_by_seed_and_writes_nothing(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    files = set(root.rglob("*"))
    project = Project(proj_root=root)
    assert project.train_test_split() == project.split == Project(proj_root=root).train_test_split()
    assert project.train_test_split(seed=1) != Project(proj_root=root).split
    assert len(project.dataframe) == 10 and set(root.rglob("*")) == files


def test_a_shuffle_becomes_a_torch_data_set(project: Path) -> None:
    loader = DLCLoader(config=project / "config.yaml", trainset_index=0, shuffle=1)
    train = loader.create_dataset(
        transform=build_transforms(loader.model_cfg["data"]["train"]), mode="train", task=Task.BOTTOM_UP
    )
    test = loader.create_dataset(mode="test")
    assert (len(train), len(test)) == (8, 2)
    assert tuple(train[0]["image"].shape) == (3, 448, 448)
    assert tuple(test[0]["image"].shape) == (3, HEIGHT, WIDTH)
    np.testing.assert_allclose(test[0]["annotations"]["keypoints"][..., :2], loader.images("test")[0].xy, atol=1e-4)


def test_a_bodypart_added_to_the_project_later_does_not_disturb_a_shuffle(project: Path) -> None:
    before = DLCLoader(project).images("train")
    file = project / "config.yaml"
    file.write_text(file.read_text().replace("- nose", "- whisker\n- nose"))
    for a, b in zip(before, DLCLoader(project).images("train"), strict=True):
        np.testing.assert_array_equal(a.xy, b.xy)


def test_a_configuration_without_names_is_refused(project: Path) -> None:
    path = DLCLoader(project).model_config_path
    write_pose_config(path, {"net_type": "resnet_50", "metadata": None})
    with pytest.raises(ConfigError, match=r"pytorch_config\.yaml has no metadata\.bodyparts"):
        DLCLoader(project)


def write_coco(
    root: Path, annotations: list[dict], images: list[dict] | None = None, keypoints: tuple[str, ...] = ("nose", "tail")
) -> COCOLoader:
    write_project(root, images=2)
    (root / "images").mkdir()
    for i in range(2):
        (root / "labeled-data" / "mouse" / f"img00{i}.png").rename(root / "images" / f"{i}.png")
    (root / "annotations").mkdir()
    images = images or [{"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in range(2)]
    categories = [{"id": 1, "name": "mouse", "keypoints": list(keypoints)}]
    for name, some in (("train", images), ("test", images[:1])):
        content = {"images": some, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"{name}.json").write_text(json.dumps(content))
    write_pose_config(root / "pytorch_config.yaml", make_pose_config("resnet_50", Metadata("", "", ("nose", "tail"))))
    return COCOLoader(root, root / "pytorch_config.yaml")


def test_coco_files_give_the_same_kind_of_images(tmp_path: Path) -> None:
    loader = write_coco(tmp_path, [{"id": 7, "image_id": 1, "category_id": 1, "keypoints": [5, 6, 2, 9, 9, 0]}])
    empty, animal = loader.images("train")
    assert np.isnan(empty.xy).all() and empty.path == tmp_path / "images" / "0.png"
    np.testing.assert_array_equal(animal.xy, [[[5, 6], [np.nan, np.nan]]])
    assert animal.size == (HEIGHT, WIDTH) and len(loader.images("test")) == 1


def test_coco_keypoints_go_by_their_names(tmp_path: Path) -> None:
    animal = {"id": 7, "image_id": 1, "keypoints": [5, 6, 2, 9, 8, 2]}
    loader = write_coco(tmp_path / "turned", [animal], keypoints=("tail", "nose"))
    np.testing.assert_array_equal(loader.images("train")[1].xy, [[[9, 8], [5, 6]]])
    with pytest.raises(ProjectError, match="has the keypoints nose, paw, but the model finds nose, tail"):
        write_coco(tmp_path / "other", [animal], keypoints=("nose", "paw")).images("train")


def test_coco_boxes_are_the_files_and_others_surround_the_keypoints(tmp_path: Path) -> None:
    drawn = {"id": 7, "image_id": 1, "bbox": [2, 3, 100, 4], "iscrowd": 1, "keypoints": [5, 6, 2, 0, 0, -1]}
    loader = write_coco(tmp_path, [drawn, {"id": 8, "image_id": 0, "keypoints": [5, 6, 1, 9, 8, 2]}])
    loader.model_cfg["data"]["bbox_margin"] = 1
    truth = loader.ground_truth_bboxes("train")
    assert list(truth) == loader.image_filenames("train")
    first, second = truth.values()
    assert (first["width"], first["height"]) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(first["bboxes"], [[4, 5, 6, 4]])
    np.testing.assert_array_equal(second["bboxes"], [[2, 3, WIDTH - 2, 4]])
    assert loader.load_data("train")["annotations"][1]["bbox"] == [2, 3, WIDTH - 2, 4]
    items = loader.create_dataset(build_transforms({}), mode="train", task="detect")
    labels = items[1]["annotations"]
    assert labels["is_crowd"].tolist() == [1] and labels["keypoints"][0, :, 2].tolist() == [2, -1]


def test_a_box_without_keypoints_counts_for_the_detector_alone(tmp_path: Path) -> None:
    loader = write_coco(tmp_path, [{"id": 7, "image_id": 1, "bbox": [2, 3, 10, 4], "keypoints": [0] * 6}])
    assert loader.create_dataset(build_transforms({}), task=Task.DETECT)[1]["annotations"]["labels"].tolist() == [1]
    assert len(loader.create_dataset(build_transforms({}), task=Task.TOP_DOWN)) == 0


def test_coco_files_tell_what_a_configuration_needs(tmp_path: Path) -> None:
    animals = [{"id": i, "image_id": image, "keypoints": [1, 1, 2] * 2} for i, image in enumerate((0, 1, 1))]
    category = {"id": 0, "name": "mouse", "keypoints": ["nose", "tail"]}
    train = {"images": [], "annotations": animals, "categories": [category]}
    assert COCOLoader.get_project_parameters(train) == (2, ["nose", "tail"])
    more = {**train, "annotations": animals * 2}
    assert COCOLoader.get_project_parameters(train, more) == (4, ["nose", "tail"])
    with pytest.raises(ProjectError, match="has no annotation"):
        COCOLoader.get_project_parameters({**train, "annotations": []})


def test_a_coco_data_set_trains(tmp_path: Path, one_thread: None) -> None:
    from rigpose_training.engine.beginning import Start
    from rigpose_training.engine.train import Machine, train

    drawn = DrawnLoader(tmp_path / "images")
    (tmp_path / "annotations").mkdir()
    for mode in ("train", "test"):
        coco = drawn.load_data(mode)
        for annotation in coco["annotations"]:
            annotation["keypoints"] = annotation["keypoints"].ravel().tolist()
        (tmp_path / "annotations" / f"{mode}.json").write_text(json.dumps(coco))
    snapshot = train(COCOLoader(tmp_path, drawn.model_config_path), Start(weights="random"), Machine(device="cpu"))
    assert snapshot.name == "snapshot-002.pt"


def test_every_task_has_a_data_set(project: Path) -> None:
    loader = DLCLoader(project)
    data = loader.model_cfg["data"]
    data["train"] = {"top_down_crop": {"width": 48, "height": 32}}
    data["gen_sampling"] = {"keypoint_sigmas": [0.1, 0.2]}
    detection = {"train": {"hflip": True, "collate": None}, "inference": {"normalize_images": True}}
    loader.model_cfg["detector"] = {"data": detection}
    shapes = {}
    for task in Task:
        items = loader.create_dataset(task=task)
        assert len(items) == 8
        shapes[task] = items[0]["image"].shape
        assert ("conditions" in items[0]) == (task is Task.COND_TOP_DOWN)
    assert shapes == {
        Task.BOTTOM_UP: (3, HEIGHT, WIDTH),
        Task.DETECT: (3, HEIGHT, WIDTH),
        Task.TOP_DOWN: (3, 32, 48),
        Task.COND_TOP_DOWN: (3, 32, 48),
    }
    for task, context in ((Task.TOP_DOWN, True), (Task.COND_TOP_DOWN, False)):
        assert loader.create_dataset(task=task).crop.with_context is context
    # The crop's size comes from data.train where data.inference has none, and is 256 px where neither has.
    assert loader.create_dataset(build_transforms({}), "test", "TD")[0]["image"].shape == (3, 32, 48)
    data["train"] = {}
    assert loader.create_dataset(build_transforms({}), "test", "TD")[0]["image"].shape == (3, 256, 256)


def test_sections_that_are_missing_or_misspelt_are_named(project: Path) -> None:
    loader = DLCLoader(project)
    with pytest.raises(ConfigError, match=r"has no detector\.data\.train"):
        loader.create_dataset(task="DT")
    loader.model_cfg["data"]["gen_sampling"] = {"jiter_prob": 0.1}
    with pytest.raises(ConfigError, match=r"data\.gen_sampling\.jiter_prob: unknown key; did you mean jitter_prob"):
        loader.create_dataset(task="CTD")


def test_a_projects_coco_mapping_reads_back(tmp_path: Path) -> None:
    project = Project(write_project(tmp_path / "drawn"))
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    for name, coco in (("train", project.train), ("test", project.test)):
        for annotation in coco["annotations"]:
            annotation["keypoints"] = annotation["keypoints"].ravel().tolist()
        (root / "annotations" / f"{name}.json").write_text(json.dumps(coco))
    write_pose_config(root / "c.yaml", make_pose_config("resnet_50", Metadata("", "", ("nose", "tail"))))
    images = COCOLoader(root, root / "c.yaml").images("train")
    np.testing.assert_array_equal([image.xy for image in images], project.labels.xy[list(project.split.train)])


def test_coco_images_that_are_gone_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = [{"id": 0, "file_name": "0.png"}, {"id": 1, "file_name": "gone.png"}]
    loader = write_coco(tmp_path, [], images)
    with caplog.at_level(logging.WARNING):
        assert [image.path.name for image in loader.images("train")] == ["0.png"]
    assert "gone.png" in caplog.text


@pytest.mark.parametrize(
    ("annotations", "says"),
    [
        ([{"id": 7, "image_id": 1, "keypoints": [5, 6, 2]}], "annotation 7 has 3 keypoint numbers"),
        ([{"id": i, "image_id": 1, "keypoints": [5, 6, 2, 5, 6, 2]} for i in range(2)], "has 2 animals in 1.png"),
    ],
)
def test_coco_annotations_that_do_not_fit_the_model_are_refused(tmp_path: Path, annotations: list, says: str) -> None:
    with pytest.raises(ProjectError, match=says):
        write_coco(tmp_path, annotations).images("train")


def test_a_file_that_is_no_coco_file_is_refused(tmp_path: Path) -> None:
    loader = write_coco(tmp_path, [])
    nameless = '{"images": [{"id": 1}], "annotations": [], "categories": []}'
    for content, says in (
        ("{", "is not readable JSON"),
        ("{}", "has no images"),
        (nameless, "entry 0 of images needs id and file_name"),
    ):
        (tmp_path / "annotations" / "train.json").write_text(content)
        with pytest.raises(ProjectError, match=says):
            loader.images("train")


@pytest.mark.parametrize(
    ("name", "task"),
    [("BU", Task.BOTTOM_UP), ("bu", Task.BOTTOM_UP), ("BottomUp", Task.BOTTOM_UP), ("bottom_up", Task.BOTTOM_UP),
     ("TD", Task.TOP_DOWN), ("Top Down", Task.TOP_DOWN), ("CTD", Task.COND_TOP_DOWN), ("Detect", Task.DETECT)],
)  # fmt: skip
def test_tasks_have_deeplabcuts_aliases(name: str, task: Task) -> None:
    assert Task(name) is task


def test_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean BOTTOM_UP"):
        Task("bottom_upp")


def test_projects_are_read_without_torch(project: Path) -> None:
    paths = [str(Path(__file__).parents[2] / name) for name in ("runtime", "training")]
    program = (
        f"import sys; sys.path[:0] = {paths!r}; sys.modules['torch'] = None\n"
        "from rigpose_training.data import COCOLoader, DLCLoader, Project\n"
        "from rigpose_training import available_models, create_training_dataset\n"
        f"create_training_dataset({str(project)!r}); print(len(DLCLoader({str(project)!r}, shuffle=2).images('train')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "8", done.stderr


def test_the_split_on_disk_is_the_loaders(project: Path) -> None:
    loader = DLCLoader(project)
    assert loader.split == read_split(loader.shuffle.split_path)
