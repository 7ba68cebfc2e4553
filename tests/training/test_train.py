from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_training import DrawnLoader, tiny_config

from rigpose.errors import ConfigError, RigposeError, SnapshotError, TrainingError
from rigpose_training.engine.beginning import Start
from rigpose_training.engine.snapshots import read_snapshot
from rigpose_training.engine.train import Machine, train, train_network
from rigpose_training.pose_config.files import read_pose_config, update
from rigpose_training.project.shuffle import list_snapshots

RANDOM = Start(weights="random")
CPU = Machine(device="cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


def loader(folder: Path, *, train_images: int = 3, **changes: Any) -> DrawnLoader:
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return DrawnLoader(folder, config=update(tiny_config(), {"train_settings.epochs": 1} | dotted), train=train_images)


def log(folder: Path) -> str:
    return (folder / "train.txt").read_text()


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first = train(loader(tmp_path), RANDOM, CPU)
    stamp = first.stat().st_mtime_ns
    assert train(loader(tmp_path), RANDOM, CPU) == first
    assert first.stat().st_mtime_ns == stamp
    assert "Already trained for 1 epochs; give more epochs" in log(tmp_path)


def test_a_finished_training_without_snapshots_says_so(tmp_path: Path) -> None:
    """As after a stop before the first snapshot, when fewer epochs are asked for than there were."""
    train(loader(tmp_path), RANDOM, CPU).unlink()
    with pytest.raises(TrainingError, match="before it kept a snapshot; give more epochs to go on, or resume=False"):
        train(loader(tmp_path), RANDOM, CPU)
    assert train(loader(tmp_path, train_settings__epochs=2), RANDOM, CPU).name == "snapshot-002.pt"


def test_starting_anew_moves_the_earlier_run_aside(tmp_path: Path) -> None:
    train(loader(tmp_path, train_settings__epochs=2), RANDOM, CPU)
    train(loader(tmp_path), Start(weights="random", resume=False), CPU)
    assert [snapshot.epoch for snapshot in list_snapshots(tmp_path)] == [1]
    moved = {path.name for path in (tmp_path / "previous-1").iterdir()}
    assert moved == {"snapshot-001.pt", "snapshot-002.pt", "resume.pt", "learning_stats.csv"}


def test_epochs_are_added_to_those_of_a_given_snapshot(tmp_path: Path) -> None:
    first = train(loader(tmp_path / "first", train_settings__epochs=2), RANDOM, CPU)
    second = loader(tmp_path / "second", train_settings__epochs=2)
    assert train(second, Start(snapshot=first), CPU).name == "snapshot-004.pt"
    # The milestone at epoch 3 counts from the very beginning.
    assert "Epoch 3/4 (lr=0.0001)" in log(tmp_path / "second")
    assert "Epoch 1/2 (lr=0.001)" in log(tmp_path / "first")


def test_snapshots_without_a_resume_file_are_continued_at_their_learning_rate(tmp_path: Path) -> None:
    train(loader(tmp_path, train_settings__epochs=3), RANDOM, CPU)
    (tmp_path / "resume.pt").unlink()
    assert train(loader(tmp_path, train_settings__epochs=4), RANDOM, CPU).name == "snapshot-004.pt"
    assert "Going on from snapshot-003.pt" in log(tmp_path)
    assert "Epoch 4/4 (lr=0.0001)" in log(tmp_path)


def test_the_backbone_alone_starts_a_model_with_other_body_parts(tmp_path: Path) -> None:
    first = train(loader(tmp_path / "first"), RANDOM, CPU)
    other = update(
        tiny_config(),
        {
            "metadata.bodyparts": ["nose", "tail", "ear"],
            "model.heads.bodypart.target_generator.num_heatmaps": 3,
            "model.heads.bodypart.heatmap_config.channels": [96, 3],
            "model.heads.bodypart.locref_config.channels": [96, 6],
            "train_settings.epochs": 1,
        },
    )
    make = lambda: WiderLoader(tmp_path / "second", config=other, train=3)  # noqa: E731
    with pytest.raises(SnapshotError, match="number of body parts"):
        train(make(), Start(snapshot=first), CPU)
    path = train(make(), Start(snapshot=first, load_head_weights=False), CPU)
    assert read_snapshot(path)["model"]["heads.bodypart.heatmap_head.deconv_layers.0.bias"].shape == (3,)


class WiderLoader(DrawnLoader):
    """The drawn images with a third body part that nobody labelled."""

    def _read(self, mode: str) -> Any:
        from dataclasses import replace

        import numpy as np

        missing = np.full((1, 1, 2), np.nan, np.float32)
        return [replace(image, xy=np.concatenate([image.xy, missing], axis=1)) for image in super()._read(mode)]


def test_the_configuration_that_ran_is_the_one_on_disk(tmp_path: Path) -> None:
    small = loader(tmp_path)
    small.model_cfg = update(small.model_cfg, {"train_settings.batch_size": 3})
    train(small, RANDOM, CPU)
    assert read_pose_config(tmp_path / "pytorch_config.yaml")["train_settings"]["batch_size"] == 3


def test_random_weights_are_announced(tmp_path: Path) -> None:
    train(loader(tmp_path), RANDOM, CPU)
    assert "random weights" in log(tmp_path)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"train_settings__batch_size": 0}, ConfigError, "train_settings.batch_size: 0 is too small"),
        ({"train_settings__epochs": 0}, ConfigError, "train_settings.epochs"),
        ({"runner__snapshots": {"save_epoch": 5}}, ConfigError, "did you mean save_epochs"),
        ({"data__train": {"affin": {}}}, ConfigError, "did you mean affine"),
        ({"model__heads": {"bodypart": {"type": "HeatmapHed"}}}, ConfigError, "did you mean HeatmapHead"),
    ],
)
def test_mistakes_are_found_before_work_begins(
    tmp_path: Path, changes: dict[str, Any], error: type[RigposeError], words: str
) -> None:
    whole = tiny_config()
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        section = whole
        for name in parents:
            section = section[name]
        section[last] = value
    with pytest.raises(error, match=words):
        train(DrawnLoader(tmp_path, config=whole), RANDOM, CPU)
    assert not list_snapshots(tmp_path)


def test_a_split_without_training_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no training images"):
        train(loader(tmp_path, train_images=0), RANDOM, CPU)


def test_mixed_sizes_need_a_crop_or_single_images(tmp_path: Path) -> None:
    from dataclasses import replace

    mixed = loader(tmp_path)
    mixed._drawn["train"][0] = replace(mixed._drawn["train"][0], size=(64, 80))
    with pytest.raises(TrainingError, match=r"64 x 64, 80 x 64 px|80 x 64, 64 x 64 px"):
        train(mixed, RANDOM, CPU)


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such device"):
        train(loader(tmp_path), RANDOM, Machine(device="gpu"))
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="finds no CUDA device"):
            train(loader(tmp_path), RANDOM, Machine(device="cuda"))


def test_a_damaged_resume_file_is_named(tmp_path: Path) -> None:
    train(loader(tmp_path), RANDOM, CPU)
    (tmp_path / "resume.pt").write_bytes(b"half of it")
    with pytest.raises(SnapshotError, match=r"resume.pt: is damaged; delete it"):
        train(loader(tmp_path, train_settings__epochs=2), RANDOM, CPU)


@pytest.mark.slow
def test_a_deeplabcut_project_trains_with_one_call(openfield: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(openfield, project, copy_function=shutil.copyfile)
    for folder in (project, *project.rglob("*/")):
        folder.chmod(0o755)
    path = train_network(
        project / "config.yaml",
        shuffle=1,
        device="cpu",
        batch_size=8,
        epochs=1,
        eval_interval=1,
        weights="random",
        seed=3,
        pytorch_cfg_updates={
            "data.train.crop_sampling.width": 64,
            "data.train.crop_sampling.height": 64,
            "model.backbone.model_name": "test_resnet",
            "model.backbone_output_channels": 96,
            "model.heads.bodypart.heatmap_config.channels": [96, 4],
            "model.heads.bodypart.locref_config.channels": [96, 8],
        },
    )
    assert path.name == "snapshot-best-001.pt"
    metrics = read_snapshot(path)["metadata"]["metrics"]
    assert metrics["metrics/test.rmse"] > 0
    written = read_pose_config(path.parent / "pytorch_config.yaml")
    assert written["train_settings"]["seed"] == 3
