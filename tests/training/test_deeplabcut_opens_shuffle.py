"""DeepLabCut itself opens the shuffles made here: its loader, data set, model and metadata."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from projects_on_disk import write_project

from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.project.config import read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import existing_shuffles
from rigpose_training.project.split import read_split

PYTHON = os.environ.get("RIGPOSE_DEEPLABCUT_PYTHON", "")
SCRIPT = Path(__file__).parents[1] / "deeplabcut" / "check_shuffle_opens.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="RIGPOSE_DEEPLABCUT_PYTHON names no Python that has DeepLabCut 3"),
]


def opened(root: Path, index: int) -> dict[str, Any]:
    done = subprocess.run(
        [PYTHON, str(SCRIPT), str(root / "config.yaml"), str(index)], capture_output=True, text=True, check=False
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert found, done.stderr[-3000:]
    return json.loads(found[0].removeprefix("FOUND "))


@pytest.mark.parametrize("net_type", ["resnet_50", "hrnet_w18"])
def test_deeplabcut_opens_a_shuffle_of_its_own_project(openfield: Path, tmp_path: Path, net_type: str) -> None:
    root = tmp_path / openfield.name
    shutil.copytree(openfield, root, ignore=shutil.ignore_patterns("*.mp4"), copy_function=shutil.copyfile)
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    (index,) = create_training_dataset(root, net_type=net_type)
    found = opened(root, index)
    (shuffle,) = [s for s in existing_shuffles(read_project_config(root)) if s.index == index]
    split = read_split(shuffle.split_path)
    assert found["split"] == {"train": list(split.train), "test": list(split.test)}
    assert (found["train"], found["test"], found["dataset_rows"]) == (110, 6, 110)
    assert found["image_shape"] == [3, 448, 448] and found["keypoints_shape"] == [1, 4, 3]
    assert found["parameters"] == {"resnet_50": 163, "hrnet_w18": 1834}[net_type]
    assert found["sizes"] == [[480, 640]] and found["metadata"] == [1, 2, 3, 11, 12]
    assert found["scorer"] == shuffle.scorer(net_type, Path("snapshot-best-010.pt"))
    assert found["evaluation_folder"] == str(shuffle.evaluation_folder)


def test_deeplabcut_opens_the_first_shuffle_of_a_new_project(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    (index,) = create_training_dataset(root)
    found = opened(root, index)
    assert (found["train"], found["test"], found["metadata"]) == (8, 2, [1])


@pytest.mark.parametrize(
    ("net_type", "options", "expected"),
    [
        # task, training items, image side, keypoints per item (with a centre for DEKR), state entries, detector's
        ("resnet_50", {}, ("BOTTOM_UP", 30, 448, [2, 12, 3], 193, 0)),
        ("dlcrnet_ms5", {}, ("BOTTOM_UP", 30, 448, [2, 12, 3], 387, 0)),
        ("dekr_w18", {}, ("BOTTOM_UP", 30, 448, [2, 13, 3], 2144, 0)),
        ("top_down_hrnet_w18", {}, ("TOP_DOWN", 60, 256, [1, 12, 3], 1834, 476)),
        (
            "rtmpose_x",
            {"detector_type": "fasterrcnn_resnet50_fpn_v2"},
            ("TOP_DOWN", 60, 384, [1, 12, 3], 578, 404),
        ),
        ("tokenpose_base", {}, ("TOP_DOWN", 60, 256, [1, 12, 3], 2036, 476)),
        ("ctd_coam_w32", {"ctd_conditions": 1}, ("COND_TOP_DOWN", 60, 256, [1, 12, 3], 1888, 0)),
        ("ctd_prenet_rtmpose_s", {"ctd_conditions": (1, -1)}, ("COND_TOP_DOWN", 60, 256, [1, 12, 3], 275, 0)),
    ],
)
def test_deeplabcut_opens_multi_animal_shuffles(
    flies: Path, tmp_path: Path, net_type: str, options: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    root = tmp_path / flies.name
    shutil.copytree(flies, root, ignore=shutil.ignore_patterns("*.mp4"), copy_function=shutil.copyfile)
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    (index,) = create_training_dataset(root, net_type=net_type, **options)
    found = opened(root, index)
    shape = found["image_shape"]
    assert (
        shape[1] == shape[2]
        and (
            found["task"],
            found["train"],
            shape[1],
            found["keypoints_shape"],
            found["parameters"],
            found["detector_parameters"],
        )
        == expected
    )
    (shuffle,) = [s for s in existing_shuffles(read_project_config(root)) if s.index == index]
    assert found["split"]["train"] == list(read_split(shuffle.split_path).train)
    stored = read_pose_config(shuffle.pose_config_path)["net_type"]
    assert found["scorer"] == shuffle.scorer(stored, Path("snapshot-best-010.pt"))


def test_deeplabcut_opens_a_shuffle_with_unique_bodyparts_and_identity(tmp_path: Path) -> None:
    root = write_project(tmp_path, individuals=("a", "b"), unique=("corner",), config="identity: true\n")
    (index,) = create_training_dataset(root, net_type="resnet_50")
    found = opened(root, index)
    # The keypoints' head of the flies has as many entries; two heads of one and two deconvolutions come on top.
    assert (found["train"], found["test"], found["parameters"]) == (8, 2, 193 + 4 + 2)
