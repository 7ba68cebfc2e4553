"""What a shuffle's labels say about distances, and that its export keeps it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from rigpose.errors import ConfigError
from rigpose.models.model_spec import PafGrouping
from rigpose_export.source import shuffle_source
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.evaluation.paf_calibration import paf_calibration
from rigpose_training.pose_config.files import read_pose_config, update
from rigpose_training.project.config import read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.scene.project import write_project
from rigpose_training.scene.world import KEYPOINTS
from rigpose_training.spec import model_spec


def new_shuffle(folder: Path, *, frames: int, net_type: str = "resnet_50") -> Path:
    """The ``config.yaml`` of a project with two drawn animals and one shuffle."""
    config = write_project(folder / "lab", seed=5, labelled_frames=frames, size=(96, 128), animals=2)
    create_training_dataset(config, net_type=net_type)
    return config


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_shuffle(tmp_path_factory.mktemp("many"), frames=20)


def test_the_training_images_animals_are_measured(many: Path) -> None:
    loader = DLCLoader(many)
    parts = len(KEYPOINTS)
    table = loader.labels.xy.astype(np.float64)  # (images, animals, K, 2)
    train = table[list(loader.split.train)].reshape(-1, parts, 2)
    whole = train[~np.isnan(train).any(axis=(1, 2))]  # fewer than ten keypoints: no tenth of them can be missing
    measured = paf_calibration(loader)
    assert measured.keypoints == parts and measured.animals == len(whole) < len(table.reshape(-1, parts, 2))
    squared = np.linalg.norm(whole[:, :, None] - whole[:, None], axis=-1) ** 2
    i, j = np.triu_indices(parts, 1)
    np.testing.assert_allclose(measured.mean, squared[:, i, j].mean(axis=0), rtol=1e-12)
    scott = len(whole) ** (-1 / (len(i) + 4))
    np.testing.assert_allclose(measured.variance, squared[:, i, j].var(axis=0, ddof=1) * scott**2, rtol=1e-10)


def test_distances_are_those_of_the_networks_input(many: Path) -> None:
    loader = DLCLoader(many)
    as_is = paf_calibration(loader)
    loader.model_cfg = update(loader.model_cfg, {"data.inference.resize": {"width": 256, "height": 192}})
    np.testing.assert_allclose(paf_calibration(loader).mean, 4 * as_is.mean, rtol=1e-12)
    np.testing.assert_allclose(paf_calibration(loader).precision, as_is.precision / 16, rtol=1e-6)


def test_an_export_keeps_the_calibration_and_does_not_use_it(many: Path) -> None:
    path = DLCLoader(many).model_config_path
    path.with_name("snapshot-001.pt").touch()
    source = shuffle_source(read_project_config(many), shuffle=1)
    assert source.calibration == paf_calibration(DLCLoader(many))
    grouping = model_spec(read_pose_config(path)).regrouped(calibration=source.calibration).grouping
    assert isinstance(grouping, PafGrouping)
    assert grouping.calibration == source.calibration and not grouping.use_calibration


def test_too_few_labels_leave_the_export_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = new_shuffle(tmp_path, frames=3)
    with pytest.raises(ConfigError, match=r"labelled animals are nearly complete, and the \d+ distances"):
        paf_calibration(DLCLoader(config))
    DLCLoader(config).model_config_path.with_name("snapshot-001.pt").touch()
    with caplog.at_level(logging.INFO):
        assert shuffle_source(read_project_config(config), shuffle=1).calibration is None
    assert "gets no calibration" in caplog.text


def test_only_affinity_fields_are_calibrated(many: Path) -> None:
    loader = DLCLoader(many)
    create_training_dataset(many, net_type="dekr_w18", Shuffles=[7])
    other = DLCLoader(many, shuffle=7)
    with pytest.raises(ConfigError, match="of the task dekr is not calibrated"):
        paf_calibration(other)
    assert loader.model_config_path != other.model_config_path
